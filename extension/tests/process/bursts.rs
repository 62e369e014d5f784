//! Thousands of documents, and large ones.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use serde_json::Value;
use tracestitch_wire::datagram;
use tracestitch_wire::handoff::Message;
use tracestitch_wire::id::SegmentId;

use super::support::{Function, World, say};

/// A daemon that reads all the time, and knows for how long the machine kept it from that.
pub(crate) struct Reader {
    thread: JoinHandle<(Vec<Vec<u8>>, Duration)>,
    over: Arc<AtomicBool>,
}

impl Reader {
    pub(crate) fn start(daemon: &UdpSocket) -> Self {
        let socket = daemon.try_clone().unwrap();
        // What a default buffer holds is the question of the tests in `flush.rs`. Here a reader
        // that the machine keeps from running is to lose nothing, where we may arrange for that.
        let _ = setsockopt(&socket, RcvBufForce, &(32 << 20));
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let over = Arc::<AtomicBool>::default();
        let end = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let (mut read, mut stall) = (Vec::new(), Duration::ZERO);
            let mut buffer = vec![0; 65_536];
            loop {
                let last_turn = end.load(Ordering::Relaxed);
                let turn = Instant::now();
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        read.push(datagram::decode(&buffer[..length]).unwrap().to_vec());
                    }
                    Err(_) if last_turn => return (read, stall),
                    Err(_) => {}
                }
                stall = stall.max(turn.elapsed());
            }
        });
        Self { thread, over }
    }

    pub(crate) fn read(self) -> (Vec<Vec<u8>>, Duration) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn close(function: &mut Function, document: &[u8]) {
    let id = SegmentId::new();
    say(&mut function.data, &Message::Close { id, document });
}

fn usual(n: usize) -> Vec<u8> {
    format!("{{\"name\":\"{n}\",\"k\":\"{}\"}}", "x".repeat(480)).into_bytes()
}

/// The closing report, and that its counters add up.
pub(crate) fn report(log: &str) -> Value {
    let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let counts = line["tracestitch"].clone();
    let count = |name: &str| counts[name].as_u64().unwrap();
    let lost: u64 = counts["lost"]
        .as_object()
        .map_or(0, |lost| lost.values().filter_map(Value::as_u64).sum());
    assert_eq!(
        count("received") + count("interrupted") + count("split"),
        count("sent") + lost,
        "{counts}"
    );
    counts
}

/// How long a machine may be too busy for [`steadily`].
const LONGEST: Duration = Duration::from_secs(90);

/// Repeats `attempt` until one came in which the reader could read steadily; each gives how many
/// documents were lost on the way.
pub(crate) fn steadily(attempt: impl Fn() -> (usize, Duration)) {
    let began = Instant::now();
    while began.elapsed() < LONGEST {
        let (lost, stall) = attempt();
        if lost == 0 {
            return;
        }
        assert!(
            stall > Duration::from_millis(4),
            "{lost} documents were lost although the reader read steadily"
        );
    }
    panic!("the machine did not let the reader read steadily for {LONGEST:?}");
}

#[test]
fn thousands_of_documents_that_a_killed_function_left_arrive_within_the_shutdown() {
    const COUNT: usize = 2_000;
    steadily(|| {
        let mut world = World::new();
        world.start(&[("TRACESTITCH_LOG", "info")]);
        world.wait_until_asked(1);
        let mut function = world.function(1);
        world.invoke("r-1");
        let reader = Reader::start(&world.daemon);
        for n in 0..COUNT {
            let (id, document) = (SegmentId::new(), usual(n));
            let document = document.as_slice();
            say(&mut function.data, &Message::Open { id, document });
            if n % 50 == 49 {
                function.drain();
            }
        }
        drop(function);
        world.wait_until_asked(2);
        let asked_to_stop = Instant::now();
        world.shutdown("timeout");
        let (status, log) = world.end();
        let took = asked_to_stop.elapsed();
        assert!(status.success(), "{status}: {log}");
        assert!(
            took < Duration::from_millis(1500),
            "Lambda gives 2 s: {took:?}"
        );
        let counts = report(&log);
        assert_eq!(counts["interrupted"], COUNT);
        assert_eq!(counts["sent"], COUNT);
        let (read, stall) = reader.read();
        (COUNT - read.len(), stall)
    });
}

#[test]
fn twenty_thousand_documents_of_one_invocation() {
    const COUNT: usize = 20_000;
    steadily(|| {
        let mut world = World::new();
        world.start(&[("TRACESTITCH_LOG", "info")]);
        world.wait_until_asked(1);
        let mut function = world.function(1);
        world.invoke("r-1");
        let reader = Reader::start(&world.daemon);
        for n in 0..COUNT {
            close(&mut function, &usual(n));
            if n % 100 == 99 {
                function.drain();
            }
        }
        function.end("r-1");
        world.wait_until_asked(2);
        world.shutdown("spindown");
        drop(function);
        let counts = report(&world.end().1);
        assert_eq!(counts["received"], COUNT);
        assert_eq!(counts["sent"], COUNT);
        let (read, stall) = reader.read();
        (COUNT - read.len(), stall)
    });
}

#[test]
fn the_largest_frames_are_split_and_trimmed_and_counted() {
    let mut world = World::new();
    world.start(&[("TRACESTITCH_LOG", "info")]);
    world.wait_until_asked(1);
    let mut function = world.function(1);
    world.invoke("r-1");
    let filler = |bytes| "x".repeat(bytes);
    let child = |n| {
        format!(
            r#"{{"name":"c","id":"{n}","annotations":{{"k":"{}"}}}}"#,
            filler(30_000)
        )
    };
    let tree = (0..4).map(child).collect::<Vec<_>>().join(",");
    for document in [
        format!(r#"{{"name":"n","id":"1","trace_id":"2","subsegments":[{tree}]}}"#),
        format!(
            r#"{{"name":"n","metadata":{{"default":{{"k":"{}"}}}}}}"#,
            filler(125_000)
        ),
        format!(r#"{{"name":"{}"}}"#, filler(125_000)),
    ] {
        close(&mut function, document.as_bytes());
    }
    function.end("r-1");
    let mut names = Vec::new();
    for _ in 0..6 {
        let document = world.document();
        let mark = document["metadata"]["tracestitch"]["trimmed"].is_string();
        names.push((document["name"].as_str().unwrap().to_owned(), mark));
    }
    names.sort();
    let expected = [("c", false); 4]
        .into_iter()
        .chain([("n", false), ("n", true)]);
    let expected: Vec<_> = expected
        .map(|(name, mark)| (name.to_owned(), mark))
        .collect();
    assert_eq!(names, expected);
    world.wait_until_asked(2);
    drop(function);
    let counts = report(&world.spin_down());
    assert_eq!(
        (&counts["received"], &counts["split"], &counts["trimmed"]),
        (&3.into(), &4.into(), &1.into())
    );
    assert_eq!(counts["lost"]["too_large"], 1);
}
