use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream as Stream;
use std::time::Duration;

use tokio::time::timeout;
use tracestitch_ring::{CAPACITY, MIN_CAPACITY, Pushed, Writer, send_file};

use super::session::STEP;
use super::*;
use crate::log::Level;

/// A socket in a temporary folder, and the events that were read from it.
struct World {
    connections: Connections,
    path: std::path::PathBuf,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = Socket::bind(&path).unwrap();
        Self {
            connections: Connections::new(Some(socket), Log::new(Level::Error)),
            path,
            _folder: folder,
        }
    }

    /// Delivers one step of a sweep. Returns its events, and true if there is more.
    fn step(&mut self) -> (Vec<String>, bool) {
        let mut events = Vec::new();
        let more = self.connections.step(&mut |session, event| {
            events.push(match event {
                SessionEvent::Disconnected => format!("{session} gone"),
                SessionEvent::Message(Message::Hello(_)) => format!("{session} hello"),
                SessionEvent::Message(Message::Close { document, .. }) => {
                    format!("{session} close {}", document.len())
                }
                SessionEvent::Message(Message::End { request_id }) => {
                    format!("{session} end {request_id}")
                }
                SessionEvent::Message(other) => format!("{session} {other:?}"),
            });
        });
        (events, more)
    }

    /// Makes a sweep whose documents are sent at once.
    fn sweep(&mut self) -> Vec<String> {
        let events = self.sweep_without_sending();
        self.connections.release(|_| true);
        events
    }

    /// Makes a sweep whose documents are sent only if there are more.
    fn sweep_without_sending(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        self.connections.receive();
        loop {
            let (events, more) = self.step();
            all.extend(events);
            if !more {
                return all;
            }
            self.connections.release(|_| true);
        }
    }

    async fn wakes(&mut self) -> bool {
        timeout(Duration::from_millis(50), self.connections.readable())
            .await
            .is_ok()
    }

    fn raw(&self) -> Stream {
        Stream::connect(&self.path).unwrap()
    }

    fn connect(&self) -> Function {
        self.connect_with(Writer::sealed(CAPACITY).unwrap())
    }

    fn connect_with(&self, ring: Writer) -> Function {
        let socket = self.raw();
        let hello = hello(VERSION);
        assert_eq!(send_file(&socket, &hello, &ring).unwrap(), hello.len());
        Function { ring, socket }
    }
}

/// The function's end of a session.
struct Function {
    ring: Writer,
    socket: Stream,
}

impl Function {
    fn publish(&self, message: &Message<'_>) -> Pushed {
        message
            .with_frame(|parts| self.ring.push(parts))
            .expect("the ring has room")
    }

    fn send(&mut self, message: &Message<'_>) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    fn is_closed(&mut self) -> bool {
        self.socket.write_all(b"x").is_err()
    }

    /// Changes the memory of the ring, as a hostile process could.
    fn scribble(&self, at: u64, word: u64) {
        let file = self.ring.as_fd().try_clone_to_owned().unwrap();
        let word = word.to_ne_bytes();
        File::from(file).write_all_at(&word, at).unwrap();
    }
}

fn hello(version: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::Hello(Hello {
        version,
        daemon: None,
    })
    .encode(&mut bytes);
    bytes
}

fn close(document: &[u8]) -> Message<'_> {
    Message::Close {
        id: "53995c3f42cd8ad8".parse().unwrap(),
        document,
    }
}

const NOTHING: [&str; 0] = [];

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

#[tokio::test]
async fn hellos_may_come_late_and_in_pieces() {
    let mut world = World::new();
    let socket = world.raw();
    assert_eq!(world.sweep(), NOTHING);
    assert!(world.connections.expects_hello());
    assert!(!world.connections.expects_hello(), "it was waited for");
    let ring = Writer::sealed(CAPACITY).unwrap();
    let bytes = hello(VERSION);
    assert_eq!(send_file(&socket, &bytes[..7], &ring).unwrap(), 7);
    assert_eq!(world.sweep(), NOTHING);
    (&socket).write_all(&bytes[7..]).unwrap();
    assert_eq!(world.sweep(), ["1 hello"]);
}

/// A stranger that connects again and again must not hold every invocation.
#[tokio::test]
async fn silent_connections_are_waited_for_once_until_a_hello_comes() {
    let mut world = World::new();
    let (mut silent, mut functions) = (Vec::new(), Vec::new());
    for round in 1..=3 {
        let mut expected = Vec::new();
        for _ in 0..3 {
            silent.push(world.raw());
            assert_eq!(world.sweep(), NOTHING);
            expected.push(world.connections.expects_hello());
        }
        assert_eq!(expected, [true, false, false], "round {round}");
        functions.push(world.connect());
        assert_eq!(world.sweep(), [format!("{round} hello")]);
    }
}

#[tokio::test]
async fn connection_without_a_valid_hello_is_closed() {
    let other_version = hello(VERSION + 1);
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "not a frame"),
        (&[0, 0, 0, 1, 6], "no hello"),
        (&other_version, "another version"),
    ] {
        let mut world = World::new();
        let socket = world.raw();
        let ring = Writer::sealed(CAPACITY).unwrap();
        assert_eq!(send_file(&socket, bytes, &ring).unwrap(), bytes.len());
        assert_eq!(world.sweep(), NOTHING, "{reason}");
        assert!(!world.connections.expects_hello(), "{reason}");
        assert!((&socket).write_all(b"x").is_err(), "{reason}");
    }
}

#[tokio::test]
async fn connection_without_a_valid_ring_is_closed() {
    let file = |content: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    };
    let folder = tempfile::tempdir().unwrap();
    let truncated = Writer::unlinked(CAPACITY, folder.path()).unwrap();
    File::from(truncated.as_fd().try_clone_to_owned().unwrap())
        .set_len(4096)
        .unwrap();
    let [empty, other] = [&b""[..], &[7; 9000]].map(file);
    let device = File::open("/dev/zero").unwrap();
    for (file, reason) in [
        (None, "no file"),
        (Some(empty.as_fd()), "an empty file"),
        (Some(other.as_fd()), "another file"),
        (Some(folder_file(&folder).as_fd()), "a folder"),
        (Some(device.as_fd()), "a device"),
        (Some(truncated.as_fd()), "a truncated ring"),
    ] {
        let mut world = World::new();
        let socket = world.raw();
        match file {
            Some(file) => drop(send_file(&socket, &hello(VERSION), file).unwrap()),
            None => (&socket).write_all(&hello(VERSION)).unwrap(),
        }
        assert_eq!(world.sweep(), NOTHING, "{reason}");
        assert!((&socket).write_all(b"x").is_err(), "{reason}");
    }
}

fn folder_file(folder: &tempfile::TempDir) -> File {
    File::open(folder.path()).unwrap()
}

#[tokio::test]
async fn ring_in_an_unlinked_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::new();
    let ring = Writer::unlinked(MIN_CAPACITY, folder.path()).unwrap();
    let function = world.connect_with(ring);
    let _ = function.publish(&close(b"{}"));
    assert_eq!(world.sweep(), ["1 hello", "1 close 2"]);
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
async fn files_after_the_first_are_closed() {
    let mut world = World::new();
    let function = world.connect();
    world.sweep();
    let mut drain = Vec::new();
    Message::Drain.encode(&mut drain);
    let (mut one, other) = Stream::pair().unwrap();
    send_file(&function.socket, &drain, &other).unwrap();
    drop(other);
    assert_eq!(world.sweep(), ["1 Drain"]);
    assert!(one.write_all(b"x").is_err(), "its other end is closed");
}

#[tokio::test]
async fn silent_connections_do_not_keep_out_one_with_a_hello() {
    let mut world = World::new();
    let _silent: Vec<_> = (0..3 * MAX_CONNECTIONS).map(|_| world.raw()).collect();
    let _function = world.connect();
    let mut events = Vec::new();
    while events.is_empty() {
        assert!(world.wakes().await, "the rest is waited for");
        events = world.sweep();
    }
    assert_eq!(events, ["1 hello"]);
    assert!(world.connections.greeting.len() < MAX_CONNECTIONS);
}

/// However many connect at once, a hello is read from each that sent one.
#[tokio::test]
async fn crowd_does_not_push_out_a_connection_with_a_hello() {
    for ahead in 0..2 * MAX_CONNECTIONS {
        let mut world = World::new();
        let crowd = |count| (0..count).map(|_| world.raw()).collect::<Vec<_>>();
        let _first = crowd(ahead);
        let _function = world.connect();
        let _last = crowd(2 * MAX_CONNECTIONS);
        let mut events = Vec::new();
        while events.is_empty() {
            assert!(world.wakes().await, "{ahead}");
            events = world.sweep();
        }
        assert_eq!(events, ["1 hello"], "{ahead}");
    }
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
