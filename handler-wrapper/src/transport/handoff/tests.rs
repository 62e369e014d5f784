use std::fs;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::*;

fn handoff(path: &Path) -> Handoff {
    Handoff::new(&Config {
        enabled: true,
        function_name: "f".to_owned(),
        socket: path.to_owned(),
        daemon: Some("127.0.0.1:2000".parse().unwrap()),
        route: Route::Auto,
        concurrent: false,
        sources: crate::incoming::Sources::default(),
        sampling: crate::SamplingRules::default(),
        errors_always: false,
    })
}

/// What the extension reads on a connection until it ends or nothing more is there.
fn read(stream: &mut UnixStream) -> Vec<String> {
    stream.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    let mut messages = Vec::new();
    while let Some(message) = decoder.next().unwrap() {
        messages.push(match message {
            Message::Open { document, .. } => format!("open {}", document.len()),
            Message::Close { document, .. } => format!("close {}", document.len()),
            other => format!("{other:?}")
                .split(['(', ' '])
                .next()
                .unwrap()
                .to_owned(),
        });
    }
    messages
}

struct Extension {
    listener: UnixListener,
    folder: tempfile::TempDir,
}

impl Extension {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            listener: UnixListener::bind(folder.path().join("s")).unwrap(),
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Data and signal connection.
    fn accept(&self) -> (UnixStream, UnixStream) {
        (
            self.listener.accept().unwrap().0,
            self.listener.accept().unwrap().0,
        )
    }
}

#[test]
fn documents_go_by_data_and_the_end_by_signal() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (mut data, mut signal) = extension.accept();

    let id = SegmentId::new();
    assert!(handoff.open(id, b"{}").is_empty());
    assert!(handoff.close(id, b"{..}".to_vec()).is_empty());
    assert_eq!(
        read(&mut signal),
        ["Hello"],
        "nothing wakes the extension during the handler"
    );
    assert!(handoff.end("r-1").is_empty());
    assert_eq!(read(&mut data), ["Hello", "open 2", "close 4"]);
    assert_eq!(read(&mut signal), ["End"]);
}

#[test]
fn without_an_extension_documents_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut handoff = handoff(&folder.path().join("absent"));
    assert!(handoff.open(SegmentId::new(), b"{}").is_empty());
    assert_eq!(
        handoff.close(SegmentId::new(), b"{}".to_vec()),
        [b"{}".to_vec()]
    );
    assert!(handoff.end("r-1").is_empty());
}

#[test]
fn an_extension_that_comes_late_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut handoff = handoff(&path);
    let listener = UnixListener::bind(&path).unwrap();
    handoff.connect();
    assert!(handoff.close(SegmentId::new(), b"{}".to_vec()).is_empty());
    assert_eq!(
        read(&mut listener.accept().unwrap().0),
        ["Hello", "close 2"]
    );
}

#[test]
fn what_is_not_our_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let link = folder.path().join("link");
    let extension = Extension::listen();
    std::os::unix::fs::symlink(extension.path(), &link).unwrap();
    for (path, reason) in [
        (&file, "a regular file"),
        (&link, "a link, even to our socket"),
    ] {
        let mut handoff = handoff(path);
        assert_eq!(
            handoff.close(SegmentId::new(), b"{}".to_vec()).len(),
            1,
            "{reason}"
        );
    }
}

#[test]
fn an_extension_that_died_gives_the_document_back() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    drop(extension.accept());
    assert_eq!(
        handoff.close(SegmentId::new(), b"{}".to_vec()),
        [b"{}".to_vec()]
    );
    assert_eq!(
        handoff.close(SegmentId::new(), b"{}".to_vec()).len(),
        1,
        "it stays that way"
    );
}

#[test]
fn a_burst_is_signalled_and_arrives_whole_once_it_is_read() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (mut data, mut signal) = extension.accept();
    // Far more than the kernel takes unread.
    let document = vec![b'x'; 1000];
    for _ in 0..1000 {
        assert!(handoff.close(SegmentId::new(), document.clone()).is_empty());
    }
    assert!(read(&mut signal).contains(&"Drain".to_owned()));
    let connection = handoff.connection.as_ref().unwrap();
    assert!(!connection.waiting.is_empty(), "the socket is full");

    // The decoder of one connection is fed by all reads.
    data.set_nonblocking(true).unwrap();
    let (mut decoder, mut closed) = (Decoder::default(), 0);
    while closed < 1000 {
        let mut bytes = vec![0; 1 << 20];
        match data.read(&mut bytes) {
            Ok(length) => decoder.push(&bytes[..length]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                handoff.connection.as_mut().unwrap().flush().unwrap();
            }
        }
        while let Some(message) = decoder.next().unwrap() {
            closed += usize::from(matches!(message, Message::Close { .. }));
        }
    }
    assert_eq!((closed, decoder.unfinished()), (1000, 0));
}

#[test]
fn what_was_not_read_by_the_end_still_goes_the_same_way() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (mut data, _signal) = extension.accept();
    for _ in 0..1000 {
        assert!(handoff.close(SegmentId::new(), vec![b'x'; 1000]).is_empty());
    }
    assert_eq!(handoff.flush(), (false, Vec::new()));
    assert!(
        handoff.end("r-1").is_empty(),
        "sent by another way, it could arrive twice"
    );
    data.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; 1 << 20];
    while !handoff.flush().0 {
        let _ = data.read(&mut bytes).unwrap();
    }
}

#[test]
fn a_hung_extension_costs_bounded_memory() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (_data, _signal) = extension.accept();
    let mut given_back = 0;
    for _ in 0..200 {
        given_back += handoff.close(SegmentId::new(), vec![b'x'; 60_000]).len();
    }
    assert!(handoff.connection.is_none(), "given up");
    assert!(given_back > 60, "{given_back} of 12 MB came back");
}
