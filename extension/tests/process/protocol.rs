//! Functions of other versions, strangers, and sessions that do not serve the invocation.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracestitch_ring::{CAPACITY, Writer, send_file};
use tracestitch_wire::handoff::{Message, VERSION};

use super::support::{PATIENCE, World, hello, send};

const CALL: &str = "53995c3f42cd8ad8";
const HANDLER: &str = "4c721bf33e3caf8f";

/// Returns true if the extension closes the connection.
pub(super) fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    match stream.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn function_of_another_version_is_closed_at_once_and_holds_nothing() {
    let mut world = World::started();
    let mut stream = UnixStream::connect(world.socket()).unwrap();
    let ring = Writer::sealed(CAPACITY).unwrap();
    send_file(&stream, &hello(VERSION + 1, None), &ring).unwrap();
    // Before any invocation: the function notices it while it initialises.
    assert!(is_closed(&mut stream));
    world.invoke("r-1");
    world.wait_until_asked(2);
    let log = world.spin_down();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("handoff version 3"), "{log}");
}

/// A stranger's fault must not hide the function's.
#[test]
fn each_warning_is_given_once() {
    let mut world = World::started();
    let mut drain = Vec::new();
    Message::Drain.encode(&mut drain);
    for bytes in [&drain, &hello(VERSION + 1, None), &drain] {
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(is_closed(&mut stream));
    }
    let log = world.spin_down();
    for (n, warning) in ["began without a hello", "handoff version 3"]
        .into_iter()
        .enumerate()
    {
        let line = log.lines().nth(n).unwrap_or_default();
        assert!(line.contains(warning), "{log}");
    }
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn frames_of_a_later_version_are_skipped() {
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.publish(&Message::Unknown(200));
    let _ = function.ring.push(&[&[99, 1, 2, 3]]).unwrap();
    send(&mut function.socket, &Message::Unknown(200));
    function
        .socket
        .write_all(&[0, 0, 0, 4, 99, 1, 2, 3])
        .unwrap();
    function.close(CALL);
    function.end("r-1");
    world.wait_until_asked(2);
    assert_eq!(world.document_already_there()["id"], CALL);
    let log = world.spin_down();
    assert_eq!(log, "");
}

#[test]
fn length_of_gigabytes_ends_the_connection_and_takes_no_memory() {
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    function.socket.write_all(&u32::MAX.to_be_bytes()).unwrap();
    assert!(is_closed(&mut function.socket));
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
        "the function lives and sends its documents itself"
    );
}

/// The function gave the extension up while it hung, and sends the documents that it had opened
/// here by itself.
#[test]
fn documents_of_a_function_that_left_are_not_sent_twice() {
    let mut world = World::started();
    let mut function = world.function();
    // After this, the connection has been read.
    function.begin("r-0");
    world.invoke("r-0");
    function.end("r-0");
    world.wait_until_asked(2);
    function.begin("r-1");
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    send(&mut function.socket, &Message::Leave);
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

/// Threads that connect and hang up as fast as they can delay nothing, and cost the function
/// neither its connections nor a document.
#[test]
fn storm_of_connections_holds_no_invocation() {
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
    let mut function = world.function();
    for n in 1..=20 {
        let request_id = format!("r-{n}");
        function.begin(&request_id);
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
    assert!(!log.contains('{'), "a loss is reported: {log}");
}

/// A process that only polls a queue, a handler that is never called, a silent stranger: connected,
/// and without a begin message. The deadline is 40 s away.
#[test]
fn sessions_that_announce_nothing_do_not_hold_an_invocation() {
    let mut world = World::started();
    let mut poller = world.function();
    let _handler_is_not_called = world.function();
    let _silent = UnixStream::connect(world.socket()).unwrap();
    let mut strangers = Vec::new();
    let began = Instant::now();
    for n in 1..=20 {
        poller.open(&format!("{n:016x}"));
        poller.end("");
        strangers.push(UnixStream::connect(world.socket()).unwrap());
        world.invoke(&format!("r-{n}"));
        world.wait_until_asked(n + 1);
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    world.spin_down();
}

/// A function that announced all invocations before, and one whose event does not deserialise.
#[test]
fn invocation_that_is_not_announced_is_released_and_later_ones_are_held_again() {
    let mut world = World::started();
    let mut function = world.function();
    for n in 1..=9 {
        let request_id = format!("r-{n}");
        if n % 3 == 0 {
            world.invoke(&request_id);
        } else {
            function.begin(&request_id);
            world.invoke(&request_id);
            function.close(CALL);
            function.end(&request_id);
        }
        world.wait_until_asked(n + 1);
        if n % 3 == 2 {
            // It was waited for: not in vain before, and again after an end.
            assert_eq!(world.document_already_there()["id"], CALL);
        } else if n % 3 == 1 {
            assert_eq!(world.document()["id"], CALL);
        }
    }
    world.spin_down();
}

/// Functions that send no begin messages lose nothing.
#[test]
fn documents_of_a_function_without_begin_messages_arrive() {
    let mut world = World::started();
    let mut function = world.function();
    for n in 1..=5 {
        let request_id = format!("r-{n}");
        world.invoke(&request_id);
        // Released after the look at the latest, and its end comes later.
        if n % 2 == 0 {
            world.wait_until_asked(n + 1);
        }
        function.close(CALL);
        function.end(&request_id);
        assert_eq!(world.document()["id"], CALL);
        world.wait_until_asked(n + 1);
    }
    let log = world.spin_down();
    assert_eq!(log, "");
}

/// The function announces most invocations a little after the extension has got their event.
///
/// On a busy machine the event may come late, or all looks may be over. So the more frequent
/// outcome counts.
#[test]
fn invocation_that_is_announced_during_the_look_is_held_until_its_end() {
    const ENOUGH: usize = 20;
    let mut world = World::started();
    let mut function = world.function();
    let wait = |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            thread::yield_now();
        }
    };
    let (mut held, mut released) = (0, 0);
    for n in 1.. {
        let request_id = format!("r-{n}");
        world.invoke(&request_id);
        // After the event, and before the look ends.
        wait(Duration::from_millis(3));
        function.begin(&request_id);
        // Longer than the look.
        wait(Duration::from_millis(40));
        if world.asked() == n {
            held += 1;
        } else {
            released += 1;
        }
        function.end(&request_id);
        world.wait_until_asked(n + 1);
        if held.max(released) == ENOUGH {
            break;
        }
    }
    assert_eq!(held, ENOUGH, "{released} were released before their end");
    world.spin_down();
}
