//! Processor time that the extension takes for a document, from the ring to the daemon:
//! `cargo bench --package tracestitch-extension --bench drain`. `TRACESTITCH_TEST_EXTENSION` names
//! another program, for example from a layer.
//!
//! A function publishes documents as fast as there is room. The extension sends them in bursts with
//! pauses, so that a daemon with default buffers loses none. The pauses limit the documents in a
//! second, and take no processor time: the rate of one core is what processor time alone allows.

#![allow(clippy::unwrap_used, reason = "a failure ends the bench")]
#![allow(clippy::print_stdout, reason = "the bench prints its result")]
#![allow(
    clippy::disallowed_methods,
    reason = "the bench measures, and is no part of the program"
)]

use std::fs;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use tracestitch_ring::{CAPACITY, Refused, Writer, send_file};
use tracestitch_wire::datagram::{Pace, encode as encode_datagram};
use tracestitch_wire::handoff::{Hello, Message, VERSION};
use tracestitch_wire::id::SegmentId;

/// Documents of one row.
const COUNT: usize = 100_000;

/// Longest wait of the bench.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    println!(
        "| documents | processor time of each, µs | rate of one core, 1/s | rate with pauses, 1/s | own memory, KiB |"
    );
    println!("|---|---|---|---|---|");
    for (length, with_open) in [(500, false), (500, true), (200, false), (5_000, false)] {
        let mut run = Run::start();
        let (cpu, wall, memory) = run.measure(length, with_open);
        let of_each = cpu.as_secs_f64() / COUNT as f64;
        println!(
            "| {COUNT} of {length} bytes{} | {:.2} | {:.0} | {:.0} | {memory} |",
            if with_open {
                ", each opened before"
            } else {
                ""
            },
            of_each * 1e6,
            1.0 / of_each,
            COUNT as f64 / wall.as_secs_f64(),
        );
    }
    for (name, at_once) in [("one call for each", 1), ("32 in a call", 32)] {
        let of_each = datagrams_alone(500, at_once).as_secs_f64() / COUNT as f64;
        println!(
            "| the datagrams of 500 bytes alone, {name} | {:.2} | {:.0} | | |",
            of_each * 1e6,
            1.0 / of_each
        );
    }
}

/// Starts a daemon that reads all the time. Returns its address.
fn daemon() -> String {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap().to_string();
    thread::spawn(move || while daemon.recv(&mut [0; 65_536]).is_ok() {});
    address
}

/// Returns the processor time in which the kernel sends the datagrams, `at_once` in a call, in
/// bursts like the ones of the extension. With 32 it is the least that the extension can take.
fn datagrams_alone(length: usize, at_once: usize) -> Duration {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(daemon()).unwrap();
    let datagram = encode_datagram(&vec![b'x'; length]);
    let cpu = || cpu_time(Path::new("/proc/thread-self/schedstat"));
    let before = cpu();
    let mut sent = 0;
    while sent < COUNT {
        let burst = 56.min(COUNT - sent);
        let mut of_burst = 0;
        while of_burst < burst {
            of_burst += send(&socket, &datagram, at_once.min(burst - of_burst));
        }
        sent += burst;
        thread::sleep(Pace::PAUSE);
    }
    cpu() - before
}

/// Sends `datagram` several times with one call. Returns how often it was sent.
fn send(socket: &UdpSocket, datagram: &[u8], times: usize) -> usize {
    if times == 1 {
        socket.send(datagram).unwrap();
        return 1;
    }
    let part = [IoSlice::new(datagram)];
    let mut control: Vec<_> = (0..times).map(|_| SendAncillaryBuffer::default()).collect();
    let mut datagrams: Vec<_> = control
        .iter_mut()
        .map(|control| MMsgHdr::new(&part, control))
        .collect();
    sendmmsg(socket, &mut datagrams, SendFlags::empty()).unwrap()
}

/// Time for which a thread ran (proc(5), schedstat).
fn cpu_time(schedstat: &Path) -> Duration {
    let schedstat = fs::read_to_string(schedstat).unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// One extension with its environment.
struct Run {
    process: Child,
    events: Sender<String>,
    asked: Receiver<()>,
    socket: PathBuf,
    daemon: String,
    _folder: tempfile::TempDir,
}

impl Run {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = listener.local_addr().unwrap().to_string();
        let (events, to_give) = channel();
        let (asking, asked) = channel();
        let to_give = Arc::new(Mutex::new(to_give));
        thread::spawn(move || {
            // Registration and question may come on one connection or on two.
            for stream in listener.incoming().flatten() {
                let (to_give, asking) = (Arc::clone(&to_give), asking.clone());
                thread::spawn(move || serve(&stream, &to_give, &asking));
            }
        });
        let socket = folder.path().join("s");
        let program = std::env::var_os("TRACESTITCH_TEST_EXTENSION");
        let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_tracestitch-extension").into());
        let process = Command::new(program)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("TRACESTITCH_SOCKET", &socket)
            .spawn()
            .unwrap();
        asked.recv_timeout(PATIENCE).unwrap();
        Self {
            process,
            events,
            asked,
            socket,
            daemon: daemon(),
            _folder: folder,
        }
    }

    /// Returns processor time, time, and KiB of the extension's own memory.
    fn measure(&mut self, length: usize, with_open: bool) -> (Duration, Duration, u64) {
        let mut socket = UnixStream::connect(&self.socket).unwrap();
        let ring = Writer::sealed(CAPACITY).unwrap();
        let (version, daemon) = (VERSION, Some(self.daemon.clone()));
        let hello = encode(&Message::Hello(Hello { version, daemon }));
        send_file(&socket, &hello, &ring).unwrap();
        let mut publish = |message: &Message<'_>| {
            loop {
                match message.with_frame(|parts| ring.push(parts)) {
                    Ok(pushed) if pushed.half_full => {
                        return socket.write_all(&encode(&Message::Drain)).unwrap();
                    }
                    Ok(_) => return,
                    Err(Refused::Full) => thread::sleep(Duration::from_micros(200)),
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let request_id = "r-1";
        publish(&Message::Begin { request_id });
        let far = u64::MAX / 2_000;
        let event =
            format!(r#"{{"eventType":"INVOKE","requestId":"{request_id}","deadlineMs":{far}}}"#);
        self.events.send(event).unwrap();
        let document = format!(r#"{{"k":"{}"}}"#, "x".repeat(length - 8));
        let document = document.as_bytes();
        let (began, cpu) = (Instant::now(), self.cpu());
        for _ in 0..COUNT {
            let id = SegmentId::new();
            if with_open {
                publish(&Message::Open { id, document });
            }
            publish(&Message::Close { id, document });
        }
        socket
            .write_all(&encode(&Message::End { request_id }))
            .unwrap();
        self.asked.recv_timeout(PATIENCE).unwrap();
        (self.cpu() - cpu, began.elapsed(), self.own_memory())
    }

    fn proc(&self, name: &str) -> PathBuf {
        let folder = Path::new("/proc").join(self.process.id().to_string());
        folder.join(name)
    }

    /// Processor time of the extension, which has one busy thread.
    fn cpu(&self) -> Duration {
        cpu_time(&self.proc("schedstat"))
    }

    fn own_memory(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon"));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

/// Answers the registration, and each question for an event with the next one.
fn serve(stream: &TcpStream, events: &Mutex<Receiver<String>>, asking: &Sender<()>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let header = header.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if header.trim().is_empty() {
                break;
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let body = if line.starts_with("POST") {
            r#"{"functionName":"f","functionVersion":"1","handler":"h"}"#.to_owned()
        } else {
            let _ = asking.send(());
            let Ok(event) = events.lock().unwrap().recv() else {
                return;
            };
            event
        };
        let length = body.len();
        write!(
            &mut &*stream,
            "HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: e\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
    }
}
