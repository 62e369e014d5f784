//! Tests of connections until their hello.

use super::*;

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
