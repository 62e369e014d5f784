use std::io::Write;
use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::log::Level;

/// A socket in a temporary folder, and the events that were read from it.
struct World {
    connections: Connections,
    path: std::path::PathBuf,
    events: Vec<String>,
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
            events: Vec::new(),
            _folder: folder,
        }
    }

    fn sweep(&mut self) -> Vec<String> {
        let events = &mut self.events;
        self.connections.sweep(&mut |session, news| {
            events.push(match news {
                SessionEvent::Disconnected => format!("{session} gone"),
                SessionEvent::Message(Message::Hello(hello)) => {
                    format!("{session} hello {:?}", hello.channel)
                }
                SessionEvent::Message(Message::Close { document, .. }) => {
                    format!("{session} close {}", document.len())
                }
                SessionEvent::Message(Message::End { request_id }) => {
                    format!("{session} end {request_id}")
                }
                SessionEvent::Message(other) => format!("{session} {other:?}"),
            });
        });
        std::mem::take(events)
    }

    async fn wakes(&mut self) -> bool {
        timeout(Duration::from_millis(50), self.connections.readable())
            .await
            .is_ok()
    }

    fn raw(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    fn connect(&self, session: u64, channel: Channel) -> UnixStream {
        let mut stream = self.raw();
        send(
            &mut stream,
            &Message::Hello(Hello {
                version: VERSION,
                channel,
                session,
                daemon: None,
            }),
        );
        stream
    }
}

fn send(stream: &mut UnixStream, message: &Message<'_>) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    stream.write_all(&bytes).unwrap();
}

fn close(document: &[u8]) -> Message<'_> {
    Message::Close {
        id: "53995c3f42cd8ad8".parse().unwrap(),
        document,
    }
}

#[tokio::test]
async fn one_sweep_reads_everything_and_delivers_an_end_after_its_documents() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    let mut signal = world.connect(1, Channel::Signal);
    send(&mut signal, &Message::End { request_id: "r" });
    send(&mut data, &close(b"{}"));
    let events = world.sweep();
    assert_eq!(
        events,
        ["1 hello Signal", "1 hello Data", "1 close 2", "1 end r"]
    );
}

#[tokio::test]
async fn data_does_not_wake_and_signals_do() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    let mut signal = world.connect(1, Channel::Signal);
    assert!(world.wakes().await, "new connections wake");
    world.sweep();
    while world.wakes().await {
        world.sweep();
    }
    send(&mut data, &close(b"{}"));
    assert!(!world.wakes().await, "data does not");
    send(&mut signal, &Message::Drain);
    assert!(world.wakes().await, "a signal does");
    assert_eq!(world.sweep(), ["1 close 2", "1 Drain"]);
}

#[tokio::test]
async fn disconnect_is_delivered_after_the_last_documents() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    let signal = world.connect(1, Channel::Signal);
    world.sweep();
    send(&mut data, &close(b"{}"));
    drop(signal);
    assert!(world.wakes().await);
    assert_eq!(world.sweep(), ["1 close 2", "1 gone"]);
    assert_eq!(world.sweep(), Vec::<String>::new());
    assert!(data.write_all(b"x").is_err(), "both connections are closed");
}

#[tokio::test]
async fn frame_that_was_cut_off_is_counted() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    world.sweep();
    data.write_all(&[0, 0, 0, 9, 3]).unwrap();
    drop(data);
    assert_eq!(world.sweep(), ["1 gone"]);
    assert_eq!(world.connections.counts().cut_off, 1);
}

#[tokio::test]
async fn session_that_leaves_is_not_counted_as_cut_off() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    let mut signal = world.connect(1, Channel::Signal);
    world.sweep();
    send(&mut data, &close(b"{}"));
    data.write_all(&[0, 0, 0, 9, 3]).unwrap();
    send(&mut signal, &Message::Leave);
    drop((data, signal));
    assert_eq!(world.sweep(), ["1 close 2", "1 Leave", "1 gone"]);
    assert_eq!(world.connections.counts(), &Counts::default());
}

/// The race: the signals are read first, then the function leaves, then the data is read.
#[tokio::test]
async fn leave_is_delivered_although_the_data_ends_first() {
    let mut world = World::new();
    let data = world.connect(1, Channel::Data);
    let mut signal = world.connect(1, Channel::Signal);
    world.sweep();
    let session = &mut world.connections.sessions[0];
    let mut chunk = vec![0; CHUNK];
    let signals = session.read_signals(&mut chunk);
    send(&mut signal, &Message::Leave);
    drop(data);
    let mut events = Vec::new();
    let outcome = session.read(signals, &mut chunk, &mut |message| {
        events.push(format!("{message:?}"));
    });
    assert_eq!(
        (outcome, events),
        (Ok(Outcome::Ended), vec!["Leave".to_owned()])
    );
}

#[tokio::test]
async fn kinds_of_a_later_version_are_skipped() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    data.write_all(&[0, 0, 0, 3, 99, 1, 2]).unwrap();
    send(&mut data, &close(b"{}"));
    assert_eq!(
        world.sweep(),
        ["1 hello Data", "1 Unknown(99)", "1 close 2"]
    );
}

#[tokio::test]
async fn hellos_may_come_late_and_in_pieces() {
    let mut world = World::new();
    let mut stream = world.raw();
    assert_eq!(world.sweep(), Vec::<String>::new());
    assert!(world.connections.expects_hello());
    assert!(!world.connections.expects_hello(), "it was waited for");
    let mut bytes = Vec::new();
    Message::Hello(Hello {
        version: VERSION,
        channel: Channel::Data,
        session: 9,
        daemon: None,
    })
    .encode(&mut bytes);
    stream.write_all(&bytes[..7]).unwrap();
    assert_eq!(world.sweep(), Vec::<String>::new());
    stream.write_all(&bytes[7..]).unwrap();
    assert_eq!(world.sweep(), ["9 hello Data"]);
}

/// A stranger that connects again and again must not hold every invocation.
#[tokio::test]
async fn silent_connections_are_waited_for_once_until_a_hello_comes() {
    let mut world = World::new();
    let mut connections = Vec::new();
    for round in 0..3 {
        let mut expected = Vec::new();
        for _ in 0..3 {
            connections.push(world.raw());
            assert_eq!(world.sweep(), Vec::<String>::new());
            expected.push(world.connections.expects_hello());
        }
        assert_eq!(expected, [true, false, false], "round {round}");
        connections.push(world.connect(round, Channel::Data));
        assert_eq!(world.sweep(), [format!("{round} hello Data")]);
    }
}

#[tokio::test]
async fn connection_without_a_valid_hello_is_closed() {
    for (bytes, reason) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "not a frame"),
        (&[0, 0, 0, 1, 6], "no hello"),
        (
            b"\0\0\0\x2f\x01{\"version\":2,\"channel\":\"data\",\"session\":1,\"a\":1}",
            "another version",
        ),
    ] {
        let mut world = World::new();
        let mut stream = world.raw();
        stream.write_all(bytes).unwrap();
        assert_eq!(world.sweep(), Vec::<String>::new(), "{reason}");
        assert!(!world.connections.expects_hello(), "{reason}");
        assert!(stream.write_all(b"x").is_err(), "{reason}");
    }
}

#[tokio::test]
async fn invalid_frame_after_the_hello_ends_the_session() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    send(&mut data, &close(b"{}"));
    data.write_all(&[0xff; 8]).unwrap();
    assert_eq!(
        world.sweep(),
        ["1 hello Data", "1 close 2", "1 Leave", "1 gone"]
    );
    assert_eq!(world.connections.counts().unreadable, 1);
}

#[tokio::test]
async fn second_connection_of_a_channel_is_refused() {
    let mut world = World::new();
    let _first = world.connect(1, Channel::Data);
    world.sweep();
    let mut second = world.connect(1, Channel::Data);
    assert_eq!(world.sweep(), Vec::<String>::new());
    assert!(second.write_all(b"x").is_err());
}

#[tokio::test]
async fn silent_connections_do_not_keep_out_one_with_a_hello() {
    let mut world = World::new();
    let _silent: Vec<_> = (0..3 * MAX_CONNECTIONS).map(|_| world.raw()).collect();
    let _data = world.connect(1, Channel::Data);
    let mut events = Vec::new();
    while events.is_empty() {
        assert!(world.wakes().await, "the rest is waited for");
        events = world.sweep();
    }
    assert_eq!(events, ["1 hello Data"]);
    assert!(world.connections.greeting.len() < MAX_CONNECTIONS);
}

/// However many connect at once, a hello is read from each that sent one.
#[tokio::test]
async fn crowd_does_not_push_out_a_connection_with_a_hello() {
    for ahead in 0..2 * MAX_CONNECTIONS {
        let mut world = World::new();
        let crowd = |count| (0..count).map(|_| world.raw()).collect::<Vec<_>>();
        let _first = crowd(ahead);
        let _data = world.connect(1, Channel::Data);
        let _last = crowd(2 * MAX_CONNECTIONS);
        let mut events = Vec::new();
        while events.is_empty() {
            assert!(world.wakes().await, "{ahead}");
            events = world.sweep();
        }
        assert_eq!(events, ["1 hello Data"], "{ahead}");
    }
}

#[tokio::test]
async fn full_kernel_buffer_is_read_to_its_end() {
    let mut world = World::new();
    let mut data = world.connect(1, Channel::Data);
    data.set_nonblocking(true).unwrap();
    let document = vec![b'x'; 1000];
    let mut bytes = Vec::new();
    close(&document).encode(&mut bytes);
    let mut written = 0;
    while data.write_all(&bytes).is_ok() {
        written += 1;
    }
    let events = world.sweep();
    assert!(written > 50, "the buffer took only {written} frames");
    assert_eq!(
        events.iter().filter(|line| *line == "1 close 1000").count(),
        written
    );
}
