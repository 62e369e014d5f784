//! Documents in memory that the function shares with the extension: which of them survive whom,
//! and what faulty or hostile memory does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracestitch_ring::{CAPACITY, MIN_CAPACITY, Writer, send_file};
use tracestitch_wire::handoff::{Message, VERSION};
use tracestitch_wire::id::SegmentId;

use super::protocol::is_closed;
use super::reader::{Reader, report, steadily};
use super::support::{Function, PATIENCE, World, hello, segment};

const CALL: &str = "53995c3f42cd8ad8";
const HANDLER: &str = "4c721bf33e3caf8f";

/// Closes a document of 500 bytes whose name is its number.
fn close(function: &mut Function, number: usize) {
    let mut document = format!("{{\"name\":\"{number}\",\"k\":\"");
    document.push_str(&"x".repeat(498 - document.len()));
    document.push_str("\"}");
    function.publish(&Message::Close {
        id: SegmentId::new(),
        document: document.as_bytes(),
    });
}

fn number(document: &[u8]) -> usize {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap();
    document["name"].as_str().unwrap().parse().unwrap()
}

/// Waits until the function's socket is closed, then takes back what was not released.
fn reclaim(function: &mut Function) -> Vec<Vec<u8>> {
    assert!(is_closed(&mut function.socket));
    function.ring.reclaim()
}

/// Kills the extension at any point of its work.
#[test]
fn killed_extension_loses_no_document_and_sends_at_most_one_step_twice() {
    const COUNT: usize = 3_000;
    // Of 16 KiB, with the last frame.
    const STEP: usize = 16 * 1024 / 500 + 1;
    for round in 0..8 {
        steadily(|| {
            let mut world = World::started();
            let mut function = world.function();
            let reader = Reader::start(&world.daemon);
            for n in 0..COUNT {
                close(&mut function, n);
                if n % 500 == 0 {
                    function.drain();
                }
            }
            // From before its first datagram to after its last.
            let until = Instant::now() + Duration::from_millis(12) * round;
            while Instant::now() < until {
                thread::yield_now();
            }
            world.kill();
            let mut copies = BTreeMap::<_, usize>::new();
            for frame in reclaim(&mut function) {
                let Ok(Message::Close { document, .. }) = Message::decode(&frame) else {
                    panic!("{frame:?}");
                };
                *copies.entry(number(document)).or_default() += 1;
            }
            let returned = copies.len();
            let (read, stall) = reader.read();
            for document in &read {
                *copies.entry(number(document)).or_default() += 1;
            }
            assert!(copies.values().all(|count| *count <= 2));
            let twice = copies.values().filter(|count| **count == 2).count();
            assert!(twice <= STEP, "{twice} documents were sent and returned");
            assert!(copies.len() <= COUNT);
            println!(
                "round {round}: {returned} returned, {} sent, {twice} both",
                read.len()
            );
            (COUNT - copies.len(), stall)
        });
    }
}

#[test]
fn next_extension_reads_what_a_killed_one_did_not_send() {
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    // It is read now, and sent only at the end.
    world.kill();
    world.start(&[]);
    world.wait_until_asked(2);
    let mut function = world.function_with(function.ring);
    function.close(HANDLER);
    function.end("r-1");
    assert_eq!(world.document()["id"], CALL);
    assert_eq!(world.document()["id"], HANDLER);
    assert_eq!(
        world.spin_down(),
        "",
        "nothing was lost, so nothing is reported"
    );
}

#[test]
fn connection_without_a_ring_is_closed_and_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = tempfile::tempfile().unwrap();
    other.write_all(&[7; 10_000]).unwrap();
    let truncated = Writer::unlinked(CAPACITY, folder.path()).unwrap();
    File::from(truncated.as_fd().try_clone_to_owned().unwrap())
        .set_len(4096)
        .unwrap();
    for (file, warning) in [
        (None, "without the file of its shared memory"),
        (Some(other.as_fd()), "expected a ring"),
        (
            Some(truncated.as_fd()),
            "expected a file as large as its ring",
        ),
    ] {
        let mut world = World::started();
        for n in 2..4 {
            let mut socket = UnixStream::connect(world.socket()).unwrap();
            let hello = hello(VERSION, None);
            match file {
                Some(file) => drop(send_file(&socket, &hello, file).unwrap()),
                None => socket.write_all(&hello).unwrap(),
            }
            assert!(is_closed(&mut socket), "{warning}");
            world.invoke(&format!("r-{n}"));
            world.wait_until_asked(n);
        }
        let log = world.spin_down();
        assert_eq!(log.lines().count(), 1, "one warning: {log}");
        assert!(log.contains(warning), "{log}");
    }
}

/// Where the system refuses memory files.
#[test]
fn ring_in_an_unlinked_file_serves() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::started();
    let ring = Writer::unlinked(CAPACITY, folder.path()).unwrap();
    let mut function = world.function_with(ring);
    function.begin("r-1");
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    function.end("r-1");
    world.wait_until_asked(2);
    assert_eq!(world.document_already_there()["id"], CALL);
    drop(function);
    world.shutdown("failure");
    assert_eq!(world.document()["id"], HANDLER);
    assert!(world.end().0.success());
}

/// A function whose threads fill the ring faster than it can be read.
#[test]
fn flood_of_documents_holds_no_invocation() {
    let mut world = World::new();
    world.start(&[("TRACESTITCH_LOG", "info")]);
    world.wait_until_asked(1);
    let function = world.function();
    let Function { ring, socket } = &function;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let message = Message::Close {
                    id: segment(CALL),
                    document: &[b'x'; 2_000],
                };
                while !over.load(Ordering::Relaxed) {
                    // A full ring refuses some.
                    let pushed = message.with_frame(|parts| ring.push(parts));
                    if pushed.is_ok_and(|pushed| pushed.half_full) {
                        let mut bytes = Vec::new();
                        Message::Drain.encode(&mut bytes);
                        (&mut &*socket).write_all(&bytes).unwrap();
                    }
                }
            });
        }
        for n in 1..=5 {
            let mut bytes = Vec::new();
            let request_id = &format!("r-{n}");
            Message::End { request_id }.encode(&mut bytes);
            world.invoke(request_id);
            (&mut &*socket).write_all(&bytes).unwrap();
            world.wait_until_asked(n + 1);
        }
        over.store(true, Ordering::Relaxed);
    });
    drop(function);
    let counts = report(&world.spin_down());
    assert!(counts.get("unreadable").is_none(), "{counts}");
}

/// Another process of the function's user changes the memory all the time.
#[test]
fn memory_that_changes_at_random_harms_nothing() {
    let mut world = World::started();
    let over = Arc::<AtomicBool>::default();
    let hostile = {
        let (path, over) = (world.socket(), Arc::clone(&over));
        thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(7);
            while !over.load(Ordering::Relaxed) {
                let Ok(socket) = UnixStream::connect(&path) else {
                    continue;
                };
                let ring = Writer::sealed(MIN_CAPACITY).unwrap();
                let memory = File::from(ring.as_fd().try_clone_to_owned().unwrap());
                let _ = send_file(&socket, &hello(VERSION, None), &ring);
                for _ in 0..50 {
                    let _ = ring.push(&[&[random.u8(..9)], &[b'x'; 30]]);
                    let word = match random.u8(..3) {
                        0 => random.u64(..),
                        1 => 8 * random.u64(..600),
                        _ => random.u64(..64),
                    };
                    let at = [128, 144, 256, 4096 + 8 * random.u64(..64)][random.usize(..4)];
                    memory.write_all_at(&word.to_ne_bytes(), at).unwrap();
                    // Any signal wakes the extension.
                    let _ = (&socket).write_all(&[0, 0, 0, 1, 6]);
                }
            }
        })
    };
    let mut function = world.function();
    for n in 1..=20 {
        let request_id = format!("r-{n}");
        function.begin(&request_id);
        world.invoke(&request_id);
        function.close(CALL);
        function.end(&request_id);
        world.wait_until_asked(n + 1);
    }
    over.store(true, Ordering::Relaxed);
    hostile.join().unwrap();
    drop(function);
    world.spin_down();
}

/// Number of the extension's open files.
fn descriptors(world: &World) -> usize {
    let folder = format!("/proc/{}/fd", world.id());
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn functions_that_come_and_go_leave_no_descriptors_and_no_memory() {
    let mut world = World::started();
    let mapped = |world: &World| {
        let maps = fs::read_to_string(format!("/proc/{}/maps", world.id())).unwrap();
        maps.lines().filter(|line| line.contains("memfd")).count()
    };
    let before = descriptors(&world);
    for _ in 0..100 {
        let mut function = world.function();
        function.close(CALL);
        function.drain();
        assert_eq!(world.document()["id"], CALL);
    }
    let deadline = Instant::now() + PATIENCE;
    // One for the socket to the daemon.
    while descriptors(&world) > before + 1 || mapped(&world) > 0 {
        assert!(
            Instant::now() < deadline,
            "{} descriptors, {before} before, {} mappings",
            descriptors(&world),
            mapped(&world)
        );
        thread::yield_now();
    }
    world.spin_down();
}

/// Bytes of memory of the extension's own, without shared pages.
fn own_memory(world: &World) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// A burst that fills the ring several times is sent on the way.
#[test]
fn extension_keeps_no_copy_of_a_full_ring() {
    let mut world = World::started();
    let mut function = world.function();
    function.close(CALL);
    function.drain();
    world.document();
    let before = own_memory(&world);
    for n in 0..20_000 {
        close(&mut function, n);
    }
    function.begin("r-1");
    world.invoke("r-1");
    function.end("r-1");
    world.wait_until_asked(2);
    let growth = own_memory(&world).saturating_sub(before);
    println!("own memory: {before} bytes, and {growth} after 10 MB of documents");
    assert!(growth < 1024 * 1024, "{growth} bytes more");
    world.spin_down();
}
