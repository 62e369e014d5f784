//! Limits of the process: it listens on no network port, and no document reaches its log.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use tracestitch_ring::{CAPACITY, Writer, send_file};
use tracestitch_wire::handoff::{Message, VERSION};

use super::support::{PATIENCE, World, hello, segment};

const CALL: &str = "53995c3f42cd8ad8";

/// Returns the inode numbers of a process's sockets.
fn sockets(process: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|target| {
            let text = target.to_str()?;
            Some(text.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect()
}

/// Returns remote address and state of the process's sockets in one of the kernel's tables
/// (proc(5)), each once: a table that changes while it is read may list one again.
fn table(process: u32, name: &str) -> BTreeMap<String, (String, String)> {
    let own = sockets(process);
    fs::read_to_string(format!("/proc/{process}/net/{name}"))
        .unwrap_or_default()
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| own.iter().any(|socket| *socket == fields[9]))
        .map(|fields| {
            let of_remote = (fields[2].to_owned(), fields[3].to_owned());
            (fields[9].to_owned(), of_remote)
        })
        .collect()
}

/// Reads the tables for IPv4 and IPv6 together, until they list a socket.
fn tables(process: u32, name: &str) -> Vec<(String, String)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut found = table(process, name);
        found.extend(table(process, &format!("{name}6")));
        if !found.is_empty() || Instant::now() > deadline {
            return found.into_values().collect();
        }
    }
}

#[test]
fn nothing_listens_on_the_network() {
    const LISTEN: &str = "0A";
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.close(CALL);
    function.end("r-1");
    world.wait_until_asked(2);
    let process = world.id();
    let [tcp, udp] = ["tcp", "udp"].map(|name| tables(process, name));
    assert!(
        !tcp.is_empty(),
        "the connection to the runtime API is listed"
    );
    assert!(tcp.iter().all(|(_, state)| state != LISTEN), "{tcp:?}");
    assert_eq!(udp.len(), 1, "the socket to the daemon is listed: {udp:?}");
    let port = world.daemon.local_addr().unwrap().port();
    let (remote, _) = &udp[0];
    assert!(
        remote.ends_with(&format!(":{port:04X}")),
        "it receives from no other address: {remote}"
    );
    world.spin_down();
}

#[test]
fn log_contains_no_value_of_the_environment_or_the_function() {
    const SECRET: &str = "sk_live_4242";
    // One process gives each warning once, so it takes several for all of them.
    let plant = |level: &str, write: &dyn Fn(&World)| {
        let mut world = World::new();
        world.fail(1);
        world.start(&[
            ("TRACESTITCH_LOG", level),
            ("TRACESTITCH_ENABLED", SECRET),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", SECRET),
            ("PASSWORD", SECRET),
        ]);
        world.wait_until_asked(1);
        write(&world);
        world.invoke("r-1");
        world.wait_until_asked(2);
        let log = world.spin_down();
        assert!(!log.contains(SECRET), "{log}");
        assert!(log.contains("TRACESTITCH_ENABLED is not"), "{log}");
        log
    };
    let raw = |world: &World, bytes: &[u8]| {
        let mut stream = UnixStream::connect(world.socket()).unwrap();
        stream.write_all(bytes).unwrap();
    };
    let log = plant("debug", &|world| {
        let mut function = world.function();
        let document = format!(r#"{{"name":"{SECRET}","start_time":1.0,"in_progress":true}}"#);
        for (id, document) in [(CALL, document.as_str()), ("4c721bf33e3caf8f", SECRET)] {
            let (id, document) = (segment(id), document.as_bytes());
            function.publish(&Message::Open { id, document });
        }
    });
    assert!(log.contains("malformed"), "it was read: {log}");
    let log = plant("debug", &|world| {
        let mut function = world.function();
        let frame = [&[5, 0xff], SECRET.as_bytes()];
        let _ = function.ring.push(&frame).unwrap();
        function.socket.write_all(SECRET.as_bytes()).unwrap();
    });
    assert!(log.contains("cannot be read"), "it was read: {log}");
    let log = plant("debug", &|world| raw(world, SECRET.as_bytes()));
    assert!(log.contains("something else than a hello"), "{log}");
    let log = plant("debug", &|world| {
        let stream = UnixStream::connect(world.socket()).unwrap();
        let hello = hello(VERSION, Some(format!("http://user:{SECRET}@daemon")));
        let ring = Writer::sealed(CAPACITY).unwrap();
        send_file(&stream, &hello, &ring).unwrap();
    });
    assert!(log.contains("no usable daemon address"), "{log}");
    let log = plant("debug", &|world| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(SECRET.repeat(1000).as_bytes()).unwrap();
        let stream = UnixStream::connect(world.socket()).unwrap();
        send_file(&stream, &hello(VERSION, None), &file).unwrap();
    });
    assert!(log.contains("shared memory cannot be used"), "{log}");
    // The first bytes of the file as a number.
    let number = u64::from_ne_bytes(*SECRET.as_bytes().first_chunk().unwrap());
    assert!(!log.contains(&number.to_string()), "{log}");
}
