use std::net::UdpSocket;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracestitch_wire::handoff::Message;

use super::*;
use crate::{
    settings::config::Route,
    tests::{alone::alone, extension::Extension},
};

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
    assert_eq!(transport.counts().delivery.sent, 2_000);
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
    assert_eq!(transport.counts().delivery.sent, 100);
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
    assert!(counts.delivery.lost.of(Loss::NotSent) >= 9, "{counts}");
    assert_eq!(
        counts.delivery.sent + counts.delivery.lost.of(Loss::NotSent),
        10
    );
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
    assert_eq!(counts.lost.of(Loss::TooLarge), 1);
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
    while nobody.counts().delivery.lost.of(Loss::DaemonUnknown) == 0 {
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

/// Settings of a function whose extension and daemon are the test.
fn both(extension: &Extension) -> (UdpSocket, Config) {
    let (daemon, config) = daemon();
    daemon.set_nonblocking(true).unwrap();
    let config = Config {
        route: Route::Auto,
        socket: extension.path(),
        ..config
    };
    (daemon, config)
}

/// Sends all waiting documents, and returns what the daemon received.
fn flush_to(daemon: &UdpSocket, transport: &Transport) -> Vec<Vec<u8>> {
    let (mut read, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while transport.flush() != Flushed::All {
        assert!(Instant::now() < deadline, "it never gets done");
        read_all(daemon, &mut read);
    }
    read_all(daemon, &mut read);
    read
}

#[test]
fn document_goes_one_way_whenever_the_extension_stops_reading() {
    let document = |n: usize| format!("{n:06}{}", "x".repeat(10_000)).into_bytes();
    // Number of documents that the extension reads before it hangs.
    for reads in [0, 1, 57, 400] {
        let extension = Extension::listen();
        let (daemon, config) = both(&extension);
        let transport = Transport::new(&config);
        let mut session = extension.accept();
        let (mut handed, mut sent) = (Vec::new(), Vec::new());
        for n in 0..1_000 {
            transport.open(SegmentId::new(), b"{}");
            transport.close(SegmentId::new(), &document(n));
            if n < reads {
                handed.extend(session.closed());
            }
            read_all(&daemon, &mut sent);
        }
        sent.extend(flush_to(&daemon, &transport));
        transport.end("r-1");
        handed.extend(session.closed());
        let counts = transport.counts();
        assert_eq!(counts.handed as usize, handed.len(), "{reads}");
        assert_eq!(counts.delivery.sent as usize, sent.len(), "{reads}");
        assert_eq!(counts.documents, 1_000, "{reads}");
        let mut all = [handed, sent].concat();
        all.sort();
        assert!(all == (0..1_000).map(document).collect::<Vec<_>>());
    }
}

/// The extension sends what it releases. It dies at any moment between reading and releasing, and
/// another one may take its place.
#[test]
fn document_arrives_once_whenever_the_extension_dies() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut extension = Extension::listen();
        let (daemon, config) = both(&extension);
        let transport = Transport::new(&config);
        let mut session = extension.try_accept();
        let (mut arrived, mut read, mut documents) = (Vec::new(), Vec::new(), 0);
        for invocation in 0..20 {
            let request_id = invocation.to_string();
            transport.begin();
            session = extension.try_accept().or(session);
            transport.announce(&request_id);
            for _ in 0..random.usize(..10) {
                match (random.u8(..10), &mut session) {
                    (0, _) => {
                        session = None;
                        read.clear();
                    }
                    (1, _) => {
                        session = None;
                        read.clear();
                        extension.restart();
                    }
                    (2, Some(session)) => session.peek(|message| {
                        if let Message::Close { document, .. } = message {
                            read.push(document.to_vec());
                        }
                    }),
                    (3, Some(session)) => {
                        arrived.append(&mut read);
                        arrived.extend(session.closed());
                    }
                    _ => {
                        let id = SegmentId::new();
                        transport.open(id, b"{}");
                        transport.close(id, format!("{documents}").as_bytes());
                        documents += 1;
                    }
                }
            }
            transport.end(&request_id);
            arrived.extend(flush_to(&daemon, &transport));
        }
        if let Some(session) = &mut session {
            arrived.append(&mut read);
            arrived.extend(session.closed());
        }
        arrived.sort_by_key(|document| String::from_utf8_lossy(document).parse::<usize>().unwrap());
        let expected: Vec<_> = (0..documents)
            .map(|n: usize| n.to_string().into_bytes())
            .collect();
        assert_eq!(arrived, expected, "seed {seed}");
        let counts = transport.counts();
        assert_eq!(
            counts.documents + counts.taken_back,
            counts.handed + counts.delivery.sent,
            "{counts}"
        );
    }
}

#[test]
fn forked_process_leaves_ring_and_socket_to_its_parent() {
    let name = "transport::dispatch::tests::forked_process_leaves_ring_and_socket_to_its_parent";
    alone(name, || {
        let extension = Extension::listen();
        let (daemon, config) = both(&extension);
        let transport = Transport::new(&config);
        let mut session = extension.accept();
        let invoke = |request_id: &str| {
            transport.begin();
            transport.announce(request_id);
            let id = SegmentId::new();
            transport.open(id, b"{}");
            transport.close(id, request_id.as_bytes());
            transport.discard(&[SegmentId::new()]);
            transport.end(request_id);
        };
        invoke("parent");
        match fork::fork().unwrap() {
            fork::Fork::Child => {
                invoke("child");
                std::process::exit(0);
            }
            fork::Fork::Parent(child) => assert_eq!(fork::waitpid(child).unwrap(), 0),
        }
        invoke("parent again");
        let sent = receive(&daemon, 1, PATIENCE);
        assert_eq!(sent, [b"child"]);
        assert_eq!(session.messages(), ["Hello", "End", "End"]);
        assert_eq!(session.closed(), [&b"parent"[..], b"parent again"]);
        assert!(extension.try_accept().is_none(), "one session");
        drop(transport);
        assert!(session.is_over(), "the child holds no socket");
    });
}

#[test]
fn document_that_may_go_nowhere_else_is_counted() {
    let extension = Extension::listen();
    let (_daemon, config) = both(&extension);
    let transport = Transport::new(&Config {
        route: Route::Extension,
        ..config
    });
    let session = extension.accept();
    transport.close(SegmentId::new(), b"{}");
    drop(session);
    transport.end("r-1");
    let counts = transport.counts();
    assert_eq!(counts.delivery.lost.of(Loss::NoExtension), 1, "{counts}");
}

#[test]
fn large_documents_are_split_and_trimmed_before_they_leave() {
    let extension = Extension::listen();
    let (_daemon, config) = both(&extension);
    let transport = Transport::new(&config);
    let mut session = extension.accept();
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
        let read = session.closed();
        assert_eq!(read.len(), documents, "{reason}");
        for document in &read {
            assert!(document.len() <= MAX_DOCUMENT, "{reason}");
            let document: Value = serde_json::from_slice(document).unwrap();
            let mark = &document["metadata"]["tracestitch"]["trimmed"];
            assert_eq!(mark.is_string(), trimmed == 1, "{reason}");
        }
        let after = transport.counts();
        let change = after.since(&before).delivery;
        assert_eq!(change.trimmed, trimmed, "{reason}");
        let lost = change.lost.of(Loss::TooLarge);
        assert_eq!(lost, u64::from(documents == 0), "{reason}");
    }
    let counts = transport.counts();
    assert_eq!(
        counts.documents + counts.delivery.split,
        counts.handed + counts.delivery.lost.of(Loss::TooLarge),
        "{counts}"
    );
}
