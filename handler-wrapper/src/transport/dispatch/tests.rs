use std::net::UdpSocket;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracestitch_wire::handoff::{Decoder, Message};

use super::*;
use crate::settings::config::Route;

/// Longest time that a step may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time after which no further datagram arrives.
const IDLE: Duration = Duration::from_millis(500);

fn daemon() -> (UdpSocket, Config) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let config = Config {
        daemon: Some(socket.local_addr().unwrap().to_string().parse().unwrap()),
        route: Route::Direct,
        ..Config::of_tests(Path::new("/nowhere/s"))
    };
    (socket, config)
}

fn document(n: usize) -> Vec<u8> {
    format!("{{\"n\":{n},\"k\":\"{}\"}}", "x".repeat(480)).into_bytes()
}

/// Receives datagrams until there are `count`, or none arrives any more.
fn receive(socket: &UdpSocket, count: usize, idle: Duration) -> Vec<Vec<u8>> {
    let (mut read, mut last) = (Vec::new(), Instant::now());
    while read.len() < count && last.elapsed() < idle {
        let length = read.len();
        read_all(socket, &mut read);
        if read.len() > length {
            last = Instant::now();
        }
    }
    read
}

/// Adds the datagrams that have arrived to `read`; waits a little if there are none.
fn read_all(socket: &UdpSocket, read: &mut Vec<Vec<u8>>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = socket.recv(&mut buffer) {
        read.push(datagram::decode(&buffer[..length]).unwrap().to_vec());
    }
}

/// The receiver has the kernel's default buffer and runs on this thread, so it reads while the
/// sender pauses, on a busy machine too.
#[test]
fn burst_of_thousands_reaches_the_daemon_whole() {
    let documents: Vec<_> = (0..2_000).map(document).collect();
    let (socket, config) = daemon();
    socket.set_nonblocking(true).unwrap();
    let transport = Transport::new(&config);
    let mut read = Vec::new();
    for document in &documents {
        transport.close(SegmentId::new(), document);
        read_all(&socket, &mut read);
    }
    let deadline = Instant::now() + PATIENCE;
    while transport.flush() == Flushed::Some {
        assert!(Instant::now() < deadline, "it never gets done");
        read_all(&socket, &mut read);
    }
    transport.end("r-1");
    read_all(&socket, &mut read);
    assert_eq!(transport.counts().sent, 2_000);
    assert_eq!((read.len(), read == documents), (2_000, true));
}

#[test]
fn waiting_documents_leave_at_the_end() {
    let (socket, config) = daemon();
    let transport = Transport::new(&config);
    for n in 0..100 {
        transport.close(SegmentId::new(), &document(n));
    }
    transport.end("r-1");
    assert_eq!(transport.counts().sent, 100);
    assert_eq!(
        receive(&socket, 100, IDLE).len(),
        100,
        "they fit its buffer"
    );
}

#[test]
fn absent_daemon_costs_only_the_documents() {
    let (socket, config) = daemon();
    drop(socket);
    let transport = Transport::new(&config);
    for n in 0..10 {
        transport.close(SegmentId::new(), &document(n));
    }
    transport.end("r-1");
    let counts = transport.counts();
    // The kernel reports the last one with the next send only.
    assert!(counts.lost(Loss::NotSent) >= 9, "{counts}");
    assert_eq!(counts.sent + counts.lost(Loss::NotSent), 10);
}

#[test]
fn document_too_large_for_the_path_is_made_smaller() {
    let (socket, config) = daemon();
    let direct = Direct::new(&config.daemon.unwrap());
    let filler = "x".repeat(70_000);
    // More than any datagram over IPv4 carries.
    direct
        .send(format!(r#"{{"name":"n","metadata":{{"default":{{"k":"{filler}"}}}}}}"#).as_bytes());
    direct.send(filler.as_bytes());
    direct.finish();
    let read = receive(&socket, 1, IDLE);
    assert!(String::from_utf8_lossy(&read[0]).contains("trimmed"));
    let counts = direct.counts();
    assert_eq!((counts.sent, counts.trimmed), (1, 1));
    assert_eq!(counts.lost(Loss::TooLarge), 1);
}

#[test]
fn name_is_resolved_beside_the_handler() {
    let (socket, config) = daemon();
    let port = socket.local_addr().unwrap().port();
    let named = |host: &str| Config {
        daemon: Some(format!("{host}:{port}").parse().unwrap()),
        ..config.clone()
    };
    let deadline = Instant::now() + PATIENCE;

    let transport = Transport::new(&named("localhost"));
    transport.close(SegmentId::new(), &document(1));
    while transport.flush() != Flushed::All {
        assert!(Instant::now() < deadline, "localhost has no address");
        thread::yield_now();
    }
    assert_eq!(receive(&socket, 1, IDLE), [document(1)]);

    let nobody = Transport::new(&named("nobody.invalid"));
    nobody.close(SegmentId::new(), &document(2));
    while nobody.counts().lost(Loss::DaemonUnknown) == 0 {
        nobody.end("r-1");
        assert!(Instant::now() < deadline, "it is still being looked for");
        thread::yield_now();
    }
}

#[test]
fn socket_is_reopened_after_a_restore() {
    let (socket, config) = daemon();
    let snapshot = Config {
        snapshot: true,
        ..config
    };
    let transport = Transport::new(&snapshot);
    let sender = |n| {
        transport.close(SegmentId::new(), &document(n));
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.recv_from(&mut [0; 1024]).unwrap().1
    };
    let before = sender(1);
    transport.begin();
    let after = sender(2);
    assert_ne!(before, after);
    transport.begin();
    assert_eq!(sender(3), after, "only for the first invocation");
}

/// An extension that reads on request.
struct Extension {
    listener: UnixListener,
    _folder: tempfile::TempDir,
    config: Config,
    _daemon: UdpSocket,
}

impl Extension {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (daemon, config) = daemon();
        Self {
            listener: UnixListener::bind(&path).unwrap(),
            _folder: folder,
            config: Config {
                route: Route::Auto,
                socket: path,
                ..config
            },
            _daemon: daemon,
        }
    }

    fn accept(&self) -> (UnixStream, UnixStream) {
        let data = self.listener.accept().unwrap().0;
        data.set_nonblocking(true).unwrap();
        (data, self.listener.accept().unwrap().0)
    }
}

/// Returns the closed documents among the frames on `data`.
fn closed(mut data: &UnixStream, decoder: &mut Decoder) -> Vec<Vec<u8>> {
    let (mut documents, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(length) = data.read(&mut chunk) {
        if length == 0 {
            break;
        }
        decoder.push(&chunk[..length]);
        while let Some(message) = decoder.next().unwrap() {
            if let Message::Close { document, .. } = message {
                documents.push(document.to_vec());
            }
        }
    }
    documents
}

#[test]
fn document_goes_one_way_whenever_the_extension_stops_reading() {
    // Number of documents that the extension reads before it hangs.
    for reads in [0, 1, 57, 400] {
        let extension = Extension::listen();
        let transport = Transport::new(&extension.config);
        let (data, _signal) = extension.accept();
        let mut decoder = Decoder::default();
        let mut read = Vec::new();
        for n in 0..1_000 {
            transport.close(SegmentId::new(), &document(n));
            if n < reads {
                read.extend(closed(&data, &mut decoder));
            }
        }
        let stuck = transport.flush();
        assert_eq!(stuck, Flushed::Nothing);
        transport.end("r-1");
        read.extend(closed(&data, &mut decoder));
        let counts = transport.counts();
        assert_eq!(counts.handed as usize, read.len());
        assert_eq!(counts.handed + counts.sent, 1_000);
        assert_eq!((counts.documents, counts.gave_up), (1_000, 1));
        read.sort();
        let before = read.len();
        read.dedup();
        assert_eq!(read.len(), before);
    }
}

#[test]
fn large_documents_are_split_and_trimmed_before_they_leave() {
    let extension = Extension::listen();
    let transport = Transport::new(&extension.config);
    let (data, _signal) = extension.accept();
    let mut decoder = Decoder::default();
    let filler = |bytes| "x".repeat(bytes);
    let frame = r#"{"path":"src/main.rs","line":1,"label":"main"}"#;
    let stack = vec![frame; 10_000].join(",");
    let child = |n| format!(r#"{{"name":"c","id":"{n}","k":"{}"}}"#, filler(50_000));
    let tree = (0..60).map(child).collect::<Vec<_>>().join(",");
    for (text, documents, trimmed, reason) in [
        (
            format!(
                r#"{{"name":"n","metadata":{{"default":{{"k":"{}"}}}}}}"#,
                filler(200_000)
            ),
            1,
            1,
            "a metadata value of 200 KB",
        ),
        (
            format!(r#"{{"name":"n","cause":{{"exceptions":[{{"id":"1","stack":[{stack}]}}]}}}}"#),
            1,
            1,
            "a stack of 10,000 frames",
        ),
        (
            format!(r#"{{"name":"n","id":"1","trace_id":"2","subsegments":[{tree}]}}"#),
            61,
            0,
            "a tree of 3 MB",
        ),
        (
            format!(r#"{{"name":"{}"}}"#, filler(200_000)),
            0,
            0,
            "only a name",
        ),
    ] {
        let id = SegmentId::new();
        let before = transport.counts();
        transport.open(id, text.as_bytes());
        transport.close(id, text.as_bytes());
        let mut read = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let flushed = transport.flush();
            read.extend(closed(&data, &mut decoder));
            if flushed == Flushed::All && read.len() >= documents {
                break;
            }
            assert!(Instant::now() < deadline, "{reason}: {}", read.len());
        }
        assert_eq!(read.len(), documents, "{reason}");
        for document in &read {
            assert!(document.len() <= MAX_DOCUMENT, "{reason}");
            let document: Value = serde_json::from_slice(document).unwrap();
            let mark = &document["metadata"]["tracestitch"]["trimmed"];
            assert_eq!(mark.is_string(), trimmed == 1, "{reason}");
        }
        let after = transport.counts();
        assert_eq!(after.trimmed - before.trimmed, trimmed, "{reason}");
        let lost = after.lost(Loss::TooLarge) - before.lost(Loss::TooLarge);
        assert_eq!(lost, u64::from(documents == 0), "{reason}");
    }
    let counts = transport.counts();
    assert_eq!(
        counts.documents + counts.split,
        counts.handed + counts.lost(Loss::TooLarge),
        "{counts}"
    );
}

#[test]
fn documents_beyond_the_waiting_limit_go_to_the_daemon() {
    let extension = Extension::listen();
    let transport = Transport::new(&extension.config);
    let (data, _signal) = extension.accept();
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(50_000));
    for _ in 0..100 {
        transport.close(SegmentId::new(), large.as_bytes());
    }
    let deadline = Instant::now() + PATIENCE;
    while transport.flush() != Flushed::All {
        assert!(Instant::now() < deadline, "{}", transport.counts());
    }
    let read = closed(&data, &mut Decoder::default()).len();
    let counts = transport.counts();
    assert_eq!(
        (counts.handed, counts.gave_up),
        (read as u64, 1),
        "{counts}"
    );
    assert_eq!(counts.sent, 100 - counts.handed, "{counts}");
}
