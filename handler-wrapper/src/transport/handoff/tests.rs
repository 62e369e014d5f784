use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use tracestitch_wire::handoff::Decoder;

use super::*;

fn handoff(path: &Path) -> Handoff {
    Handoff::new(&Config::of_tests(path), true)
}

/// Returns the frames that the extension reads on a connection until it ends or is empty.
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

    /// Accepts the data and the signal connection.
    fn accept(&self) -> (UnixStream, UnixStream) {
        (
            self.listener.accept().unwrap().0,
            self.listener.accept().unwrap().0,
        )
    }
}

#[test]
fn documents_use_the_data_and_ends_the_signal_connection() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (mut data, mut signal) = extension.accept();

    assert!(handoff.announce("r-1").is_empty());
    let id = SegmentId::new();
    assert!(handoff.open(id, b"{}").is_empty());
    assert!(handoff.close(id, b"{..}").is_empty());
    assert_eq!(
        read(&mut signal),
        ["Hello"],
        "nothing wakes the extension during the handler"
    );
    assert!(handoff.end("r-1").is_empty());
    assert_eq!(read(&mut data), ["Hello", "Begin", "open 2", "close 4"]);
    assert_eq!(read(&mut signal), ["End"]);
}

#[test]
fn discards_share_one_write() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (mut data, _signal) = extension.accept();
    let ids = [(); 3].map(|()| SegmentId::new());
    assert!(handoff.discard(&ids).is_empty());
    let Link::Up(connection) = &handoff.link else {
        panic!("{:?}", handoff.link);
    };
    assert!(connection.unread < 2 * WRITE_OVERHEAD, "one write");
    assert_eq!(read(&mut data), ["Hello", "Discard", "Discard", "Discard"]);
}

/// If the process died now, the extension would have the discarded documents but not the discards.
#[test]
fn discards_behind_a_full_socket_are_signalled_too() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (_data, mut signal) = extension.accept();
    let id = SegmentId::new();
    let full = |handoff: &Handoff| match &handoff.link {
        Link::Up(connection) => !connection.waiting.is_empty(),
        other => panic!("{other:?}"),
    };
    while !full(&handoff) {
        assert!(handoff.open(id, &[b' '; 50_000]).is_empty());
    }
    assert!(handoff.discard(&[id, SegmentId::new()]).is_empty());
    let mut said = read(&mut signal);
    said.retain(|message| message != "Drain");
    assert_eq!(said, ["Hello", "Discard", "Discard"]);
}

#[test]
fn documents_are_returned_without_an_extension() {
    let folder = tempfile::tempdir().unwrap();
    let mut handoff = handoff(&folder.path().join("absent"));
    assert!(handoff.open(SegmentId::new(), b"{}").is_empty());
    assert_eq!(handoff.close(SegmentId::new(), b"{}"), [b"{}".to_vec()]);
    assert!(handoff.end("r-1").is_empty());
}

#[test]
fn late_extension_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut handoff = handoff(&path);
    let listener = UnixListener::bind(&path).unwrap();
    handoff.begin();
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    assert_eq!(
        read(&mut listener.accept().unwrap().0),
        ["Hello", "close 2"]
    );
}

#[test]
fn foreign_socket_is_rejected() {
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
        assert_eq!(handoff.close(SegmentId::new(), b"{}").len(), 1, "{reason}");
    }
}

#[test]
fn dead_extension_returns_the_document() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    drop(extension.accept());
    assert_eq!(handoff.close(SegmentId::new(), b"{}"), [b"{}".to_vec()]);
    assert_eq!(
        handoff.close(SegmentId::new(), b"{}").len(),
        1,
        "it stays that way"
    );
}

#[test]
fn burst_is_signalled_and_arrives_whole() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (mut data, mut signal) = extension.accept();
    // More than the kernel buffers.
    let document = vec![b'x'; 1000];
    for _ in 0..1000 {
        assert!(handoff.close(SegmentId::new(), &document).is_empty());
    }
    assert!(read(&mut signal).contains(&"Drain".to_owned()));
    assert_eq!(
        handoff.flush(),
        (Flushed::Nothing, Vec::new()),
        "it is full"
    );

    // All reads feed the decoder of one connection.
    data.set_nonblocking(true).unwrap();
    let (mut decoder, mut closed) = (Decoder::default(), 0);
    while closed < 1000 {
        let mut bytes = vec![0; 1 << 20];
        match data.read(&mut bytes) {
            Ok(length) => decoder.push(&bytes[..length]),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                handoff.flush();
            }
        }
        while let Some(message) = decoder.next().unwrap() {
            closed += usize::from(matches!(message, Message::Close { .. }));
        }
    }
    assert_eq!((closed, decoder.unfinished()), (1000, 0));
}

/// Reads the available frames and returns the number of closed documents.
fn closed(stream: &mut UnixStream) -> usize {
    read(stream)
        .iter()
        .filter(|line| line.starts_with("close"))
        .count()
}

#[test]
fn unread_documents_go_another_way_and_none_goes_both() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (mut data, mut signal) = extension.accept();
    handoff.open(SegmentId::new(), b"{}");
    for _ in 0..1000 {
        assert!(handoff.close(SegmentId::new(), &[b'x'; 1000]).is_empty());
    }
    assert_eq!(handoff.flush(), (Flushed::Nothing, Vec::new()));
    let given_back = handoff.end("r-1");
    assert!(given_back.iter().all(|document| document.len() == 1000));
    let handed = handoff.counts().handed as usize;
    assert_eq!(handed + given_back.len(), 1000);

    // The extension reads again: all that it was handed, and that the rest is withdrawn.
    assert_eq!(closed(&mut data), handed);
    let signals = read(&mut signal);
    assert_eq!(
        signals.last().map(String::as_str),
        Some("Leave"),
        "{signals:?}"
    );
    assert_eq!(
        handoff.close(SegmentId::new(), b"{}").len(),
        1,
        "so does all that comes later"
    );
}

#[test]
fn leave_is_signalled_past_unread_signals() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (_data, mut signal) = extension.accept();
    let mut ends = 0;
    while matches!(handoff.link, Link::Up(_)) {
        handoff.end(&format!("a-request-id-of-the-usual-36-bytes-{ends}"));
        ends += 1;
        assert!(ends < 10_000, "the kernel takes no end of signals");
    }
    assert_eq!(read(&mut signal).last().map(String::as_str), Some("Leave"));
}

#[test]
fn given_up_extension_is_used_again_after_it_closed_the_connection() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (data, signal) = extension.accept();
    for _ in 0..1000 {
        handoff.close(SegmentId::new(), &[b'x'; 1000]);
    }
    handoff.end("r-1");
    extension.listener.set_nonblocking(true).unwrap();
    assert!(handoff.begin().is_empty());
    let nobody = extension.listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::WouldBlock, "it still hangs");
    drop((data, signal));
    assert!(handoff.begin().is_empty());
    let (mut data, _signal) = extension.accept();
    assert!(handoff.close(SegmentId::new(), b"{}").is_empty());
    assert_eq!(read(&mut data), ["Hello", "close 2"]);
}

#[test]
fn documents_wait_if_there_is_no_other_way() {
    let extension = Extension::listen();
    let mut handoff = Handoff::new(&Config::of_tests(&extension.path()), false);
    let (mut data, _signal) = extension.accept();
    for _ in 0..1000 {
        assert!(handoff.close(SegmentId::new(), &[b'x'; 1000]).is_empty());
    }
    assert!(handoff.end("r-1").is_empty());
    data.set_nonblocking(true).unwrap();
    let mut bytes = vec![0; 1 << 20];
    while handoff.flush().0 != Flushed::All {
        let _ = data.read(&mut bytes).unwrap();
    }
    assert_eq!(handoff.counts().handed, 1000);
}

#[test]
fn other_version_is_detected_before_the_first_document() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    drop(extension.accept());
    assert!(handoff.begin().is_empty());
    assert_eq!(handoff.close(SegmentId::new(), b"{}").len(), 1);
    extension.listener.set_nonblocking(true).unwrap();
    assert!(handoff.begin().is_empty());
    let nobody = extension.listener.accept().unwrap_err();
    assert_eq!(
        nobody.kind(),
        ErrorKind::WouldBlock,
        "it is not tried again"
    );
}

#[test]
fn folder_writable_by_others_is_rejected() {
    let extension = Extension::listen();
    let mode =
        |mode| fs::set_permissions(extension.folder.path(), fs::Permissions::from_mode(mode));
    for (bits, taken, reason) in [
        (0o700, true, "ours alone"),
        (0o755, true, "others may look"),
        (0o770, false, "the group may write"),
        (0o777, false, "all may write"),
    ] {
        mode(bits).unwrap();
        let mut handoff = handoff(&extension.path());
        let returned = handoff.close(SegmentId::new(), b"{}");
        assert_eq!(returned.is_empty(), taken, "{reason}");
    }
    let link = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(extension.folder.path(), link.path().join("l")).unwrap();
    mode(0o700).unwrap();
    let mut handoff = handoff(&link.path().join("l/s"));
    let returned = handoff.close(SegmentId::new(), b"{}");
    assert_eq!(returned.len(), 1, "a link in place of the folder");
}

#[test]
fn hung_extension_costs_bounded_memory() {
    let extension = Extension::listen();
    let mut handoff = handoff(&extension.path());
    let (_data, _signal) = extension.accept();
    let mut given_back = 0;
    for _ in 0..200 {
        given_back += handoff.close(SegmentId::new(), &[b'x'; 60_000]).len();
    }
    assert!(matches!(handoff.link, Link::Left(_)), "given up");
    assert_eq!(given_back + handoff.counts().handed as usize, 200);
}
