//! Tests of the messages of a session: their order, and the release of what was sent.

use super::*;

#[tokio::test]
async fn one_sweep_delivers_an_end_after_the_documents_that_precede_it() {
    let mut world = World::new();
    let mut function = world.connect();
    function.send(&Message::End { request_id: "r" });
    let _ = function.publish(&close(b"{}"));
    assert_eq!(world.sweep(), ["1 hello", "1 close 2", "1 end r"]);
}

#[tokio::test]
async fn documents_do_not_wake_and_signals_do() {
    let mut world = World::new();
    let mut function = world.connect();
    assert!(world.wakes().await, "new connections wake");
    world.sweep();
    while world.wakes().await {
        world.sweep();
    }
    let _ = function.publish(&close(b"{}"));
    assert!(!world.wakes().await, "documents do not");
    function.send(&Message::Drain);
    assert!(world.wakes().await, "a signal does");
    assert_eq!(world.sweep(), ["1 close 2", "1 Drain"]);
}

#[tokio::test]
async fn disconnect_is_delivered_after_the_last_documents() {
    let mut world = World::new();
    let Function { ring, socket } = world.connect();
    world.sweep();
    let _ = close(b"{}").with_frame(|parts| ring.push(parts)).unwrap();
    drop(socket);
    assert!(world.wakes().await);
    assert_eq!(world.sweep(), ["1 close 2", "1 gone"]);
    assert_eq!(world.sweep(), NOTHING);
    assert!(world.connections.is_empty());
}

#[tokio::test]
async fn documents_stay_in_the_ring_until_they_are_sent() {
    let mut world = World::new();
    let function = world.connect();
    for _ in 0..3 {
        let _ = function.publish(&close(b"{}"));
    }
    assert_eq!(world.sweep_without_sending().len(), 4);
    world.connections.release(|session| session != 1);
    // The process is killed, and another one starts.
    let mut next = World::new();
    drop(world);
    let later = next.connect_with(function.ring);
    assert_eq!(next.sweep().len(), 4, "the next extension reads them");
    assert_eq!(later.ring.reclaim(), Vec::<Vec<u8>>::new(), "sent");
}

/// The function takes back what was not released once the connection is closed. So what was read
/// must be released before that.
#[tokio::test]
async fn session_is_closed_only_after_its_documents_are_sent() {
    let mut world = World::new();
    let mut function = world.connect();
    let _ = function.publish(&close(b"{}"));
    function.socket.write_all(&[0xff; 8]).unwrap();
    assert_eq!(
        world.sweep_without_sending(),
        ["1 hello", "1 close 2", "1 Leave", "1 gone"]
    );
    world.connections.release(|_| false);
    assert!(!function.is_closed(), "the document was not sent");
    world.connections.release(|_| true);
    assert!(function.is_closed());
    assert_eq!(function.ring.reclaim(), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn documents_after_an_invalid_frame_are_delivered() {
    let mut world = World::new();
    let mut function = world.connect();
    let _ = function.publish(&close(b"{}"));
    // An identifier has 8 bytes.
    let _ = function.ring.push(&[&[3, 1, 2]]).unwrap();
    let _ = function.publish(&close(b"{ }"));
    function.send(&Message::End { request_id: "r" });
    assert_eq!(
        world.sweep(),
        ["1 hello", "1 close 2", "1 close 3", "1 Leave", "1 gone"]
    );
    assert_eq!(world.connections.counts().unreadable, 1);
    assert!(function.is_closed());
}

/// Places and values that a writer does not write.
#[tokio::test]
async fn invalid_memory_ends_the_session_after_the_documents_before_it() {
    const PUBLISHED: u64 = 128;
    const SECOND_LENGTH: u64 = 4096 + 24;
    for (at, value, delivered, reclaimed, reason) in [
        (PUBLISHED, 7, 0, 2, "not aligned"),
        (PUBLISHED, 1 << 40, 0, 2, "more than the ring holds"),
        (SECOND_LENGTH, 0, 1, 0, "an empty frame"),
        (SECOND_LENGTH, u64::MAX, 1, 0, "a frame of 16 EiB"),
        (SECOND_LENGTH, 48, 1, 0, "longer than what was published"),
    ] {
        let mut world = World::new();
        let mut function = world.connect();
        world.sweep();
        for _ in 0..2 {
            let _ = function.publish(&close(b"{}"));
        }
        function.scribble(at, value);
        let mut expected = vec!["1 close 2"; delivered];
        expected.extend(["1 Leave", "1 gone"]);
        assert_eq!(world.sweep(), expected, "{reason}");
        assert_eq!(world.connections.counts().unreadable, 1, "{reason}");
        assert!(function.is_closed(), "{reason}");
        assert_eq!(function.ring.reclaim().len(), reclaimed, "{reason}");
    }
}

#[tokio::test]
async fn reclaimed_frames_end_the_session() {
    let mut world = World::new();
    let mut function = world.connect();
    world.sweep();
    let _ = function.publish(&close(b"{}"));
    assert_eq!(world.sweep_without_sending(), ["1 close 2"]);
    function.ring.reclaim();
    world.connections.release(|_| true);
    assert!(world.wakes().await, "the function is to be informed");
    assert_eq!(world.sweep(), ["1 Leave", "1 gone"]);
    assert!(function.is_closed());
}

#[tokio::test]
async fn kinds_of_a_later_version_are_skipped() {
    let mut world = World::new();
    let mut function = world.connect();
    let _ = function.ring.push(&[&[99, 1, 2]]).unwrap();
    let _ = function.publish(&close(b"{}"));
    function.send(&Message::Unknown(98));
    assert_eq!(
        world.sweep(),
        ["1 hello", "1 Unknown(99)", "1 close 2", "1 Unknown(98)"]
    );
}

/// Whatever the function does to its file later, this process lives.
#[tokio::test]
async fn file_that_is_truncated_later_ends_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let ring = Writer::unlinked(MIN_CAPACITY, folder.path()).unwrap();
    let file = File::from(ring.as_fd().try_clone_to_owned().unwrap());
    let mut function = world.connect_with(ring);
    world.sweep();
    file.set_len(0).unwrap();
    function.send(&Message::Drain);
    assert_eq!(world.sweep(), ["1 Leave", "1 gone"]);
}

#[tokio::test]
async fn full_ring_is_read_in_steps_to_its_end() {
    let mut world = World::new();
    let mut function = world.connect();
    world.sweep();
    let document = vec![b'x'; 1000];
    let message = close(&document);
    let mut published = 0;
    while message
        .with_frame(|parts| function.ring.push(parts))
        .is_ok()
    {
        published += 1;
    }
    function.send(&Message::End { request_id: "r" });
    world.connections.receive();
    let mut closed = 0;
    let last = loop {
        let (events, more) = world.step();
        let closes = events.iter().filter(|line| *line == "1 close 1000").count();
        assert!(closes * 1000 <= STEP as usize + 1000);
        closed += closes;
        if !more {
            break events.last().cloned();
        }
        assert_eq!(events.last().unwrap(), "1 Drain", "what was read is sent");
        assert_eq!(
            events.len(),
            closes + 1,
            "the end comes after the documents"
        );
        world.connections.release(|_| true);
    };
    assert_eq!((closed, last.as_deref()), (published, Some("1 end r")));
}

/// A writer that is always ahead of the reader must not keep it, nor the socket's messages.
#[tokio::test]
async fn sweep_of_a_ring_that_is_always_full_ends() {
    let mut world = World::new();
    let mut function = world.connect();
    world.sweep();
    let document = vec![b'x'; 10_000];
    let message = close(&document);
    let flood = |function: &Function| {
        while message
            .with_frame(|parts| function.ring.push(parts))
            .is_ok()
        {}
    };
    function.send(&Message::End { request_id: "r" });
    world.connections.receive();
    for steps in 1.. {
        flood(&function);
        let (events, more) = world.step();
        if !more {
            assert_eq!(events.last().unwrap(), "1 end r");
            break;
        }
        assert!(steps <= CAPACITY / STEP as usize, "the sweep does not end");
        world.connections.release(|_| true);
    }
}
