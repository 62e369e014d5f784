//! Bursts of thousands of documents, and documents that are too large.

use std::time::{Duration, Instant};

use tracestitch_wire::handoff::Message;
use tracestitch_wire::id::SegmentId;

use super::reader::{Reader, report, steadily};
use super::support::{Function, World, send};

fn close(function: &mut Function, document: &[u8]) {
    let id = SegmentId::new();
    function.publish(&Message::Close { id, document });
}

fn usual(n: usize) -> Vec<u8> {
    format!("{{\"name\":\"{n}\",\"k\":\"{}\"}}", "x".repeat(480)).into_bytes()
}

#[test]
fn thousands_of_documents_of_a_killed_function_arrive_within_the_shutdown() {
    const COUNT: usize = 2_000;
    steadily(|| {
        let mut world = World::new();
        world.start(&[("TRACESTITCH_LOG", "info")]);
        world.wait_until_asked(1);
        let mut function = world.function();
        function.begin("r-1");
        world.invoke("r-1");
        let reader = Reader::start(&world.daemon);
        for n in 0..COUNT {
            let (id, document) = (SegmentId::new(), usual(n));
            let document = document.as_slice();
            function.publish(&Message::Open { id, document });
        }
        drop(function);
        world.wait_until_asked(2);
        let asked_to_stop = Instant::now();
        world.shutdown("timeout");
        let (status, log) = world.end();
        let took = asked_to_stop.elapsed();
        assert!(status.success(), "{status}: {log}");
        let counts = report(&log);
        assert_eq!(counts["interrupted"], COUNT);
        assert_eq!(counts["sent"], COUNT);
        let (read, stall) = reader.read();
        // Lambda gives 2 s.
        let late = took > Duration::from_millis(1500);
        (COUNT - read.len() + usize::from(late), stall)
    });
}

#[test]
fn twenty_thousand_documents_of_one_invocation_arrive() {
    const COUNT: usize = 20_000;
    steadily(|| {
        let mut world = World::new();
        world.start(&[("TRACESTITCH_LOG", "info")]);
        world.wait_until_asked(1);
        let mut function = world.function();
        function.begin("r-1");
        world.invoke("r-1");
        let reader = Reader::start(&world.daemon);
        for n in 0..COUNT {
            close(&mut function, &usual(n));
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

/// Work that never ends, one leaked task for each document.
#[test]
fn leaked_open_documents_keep_out_no_finished_one() {
    const LEAKED: usize = 20_100;
    let mut world = World::new();
    world.start(&[("TRACESTITCH_LOG", "warn")]);
    world.wait_until_asked(1);
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    for n in 1..=LEAKED {
        function.open(&format!("{n:016x}"));
    }
    function.close("ffffffffffffffff");
    function.end("r-1");
    world.wait_until_asked(2);
    assert_eq!(world.document_already_there()["id"], "ffffffffffffffff");
    send(&mut function.socket, &Message::Leave);
    drop(function);
    let log = world.spin_down();
    let (warning, closing) = log.split_once('\n').unwrap();
    assert!(warning.contains("too many documents wait"), "{log}");
    let counts = report(closing);
    // 20,000 open ones at most, of which one made room for the finished document.
    assert_eq!(
        (&counts["received"], &counts["unwatched"]),
        (&1.into(), &101.into())
    );
    assert!(counts.get("lost").is_none(), "{log}");
}

#[test]
fn largest_frames_are_split_trimmed_and_counted() {
    let mut world = World::new();
    world.start(&[("TRACESTITCH_LOG", "info")]);
    world.wait_until_asked(1);
    let mut function = world.function();
    function.begin("r-1");
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
