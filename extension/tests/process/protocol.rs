//! Functions of other versions, and what is none.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tracestitch_wire::handoff::{Channel, Hello, Message, VERSION};

use super::support::{PATIENCE, World, say, segment};

const CALL: &str = "53995c3f42cd8ad8";
const HANDLER: &str = "4c721bf33e3caf8f";

/// True when the extension closes the connection.
fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_function_of_another_version_is_told_at_once_and_nothing_is_held() {
    let mut world = World::started();
    let mut streams = [Channel::Data, Channel::Signal].map(|channel| {
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        let hello = Hello {
            version: VERSION + 1,
            channel,
            session: 1,
            daemon: None,
        };
        say(&mut stream, &Message::Hello(hello));
        stream
    });
    // Before any invocation: the function hears of it while it initialises.
    assert!(streams.iter_mut().all(is_closed));
    world.invoke("r-1");
    world.wait_until_asked(2);
    let log = world.spin_down();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("handoff version 2"), "{log}");
}

/// What is wrong with a function must be said, also when a stranger has knocked before.
#[test]
fn each_complaint_comes_once_whatever_else_was_wrong() {
    let mut world = World::started();
    let other_version = Message::Hello(Hello {
        version: VERSION + 1,
        channel: Channel::Data,
        session: 1,
        daemon: None,
    });
    for message in [&Message::Drain, &other_version, &Message::Drain] {
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        say(&mut stream, message);
        assert!(is_closed(&mut stream));
    }
    let log = world.spin_down();
    for (n, complaint) in ["began without a hello", "handoff version 2"]
        .into_iter()
        .enumerate()
    {
        let line = log.lines().nth(n).unwrap_or_default();
        assert!(line.contains(complaint), "{log}");
    }
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn frames_of_a_later_version_are_passed_over() {
    let mut world = World::started();
    let mut function = world.function(1);
    world.invoke("r-1");
    for stream in [&mut function.data, &mut function.signal] {
        say(stream, &Message::Unknown(200));
        stream.write_all(&[0, 0, 0, 4, 99, 1, 2, 3]).unwrap();
    }
    function.close(CALL);
    function.end("r-1");
    world.wait_until_asked(2);
    assert_eq!(world.document_already_there()["id"], CALL);
    let log = world.spin_down();
    assert_eq!(log, "");
}

#[test]
fn a_length_of_gigabytes_ends_the_connection_and_takes_no_memory() {
    let mut world = World::started();
    let mut function = world.function(1);
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    function.data.write_all(&u32::MAX.to_be_bytes()).unwrap();
    function.drain();
    assert!(is_closed(&mut function.signal));
    world.wait_until_asked(2);
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.id())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kilobytes: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 64 * 1024, "{peak}");
    assert_eq!(world.document()["id"], CALL);
    world.shutdown("failure");
    let (_, log) = world.end();
    let report: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let counts = &report["tracestitch"];
    assert_eq!(
        (&counts["unreadable"], &counts["sent"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        counts["interrupted"], 0,
        "the function lives and tells the daemon itself how it ends"
    );
}

/// The function gave it up while it hung, and finishes elsewhere what it had opened here.
#[test]
fn a_function_that_left_is_not_told_twice() {
    let mut world = World::started();
    let mut function = world.function(1);
    // When this is over, both connections have been heard.
    world.invoke("r-0");
    function.end("r-0");
    world.wait_until_asked(2);
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    // A document that goes the other way, cut off.
    let mut frame = Vec::new();
    let message = Message::Close {
        id: segment(HANDLER),
        document: b"{}",
    };
    message.encode(&mut frame);
    function.data.write_all(&frame[..9]).unwrap();
    say(&mut function.signal, &Message::Leave);
    drop(function);
    world.wait_until_asked(3);
    assert_eq!(world.document_already_there()["id"], CALL);
    world.shutdown("failure");
    let (status, log) = world.end();
    assert!(status.success(), "{status}");
    assert_eq!(log, "", "nothing is lost and nothing is a fault");
    world
        .daemon
        .set_read_timeout(Some(Duration::from_millis(1)))
        .unwrap();
    let more = world.daemon.recv(&mut [0; 1024]);
    assert!(more.is_err(), "nothing else was sent");
}

/// Threads that connect and hang up as fast as they can hold nothing up, and cost the function
/// neither its connections nor a document.
#[test]
fn a_storm_of_connections_holds_no_invocation() {
    let mut world = World::started();
    let over = Arc::<AtomicBool>::default();
    let storm = [(); 2].map(|()| {
        let (path, over) = (world.socket(), Arc::clone(&over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                // A full queue refuses some.
                drop(UnixStream::connect(&path));
            }
        })
    });
    let mut function = world.function(1);
    for n in 1..=20 {
        let request_id = format!("r-{n}");
        world.invoke(&request_id);
        function.close(CALL);
        function.end(&request_id);
        world.wait_until_asked(n + 1);
    }
    for _ in 0..20 {
        assert_eq!(world.document()["id"], CALL);
    }
    over.store(true, Ordering::Relaxed);
    for thread in storm {
        thread.join().unwrap();
    }
    drop(function);
    let log = world.spin_down();
    assert!(!log.contains('{'), "something is reported as lost: {log}");
}
