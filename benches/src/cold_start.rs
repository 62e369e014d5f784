//! Starts of programs: time from exec to the first question for an event, CPU time and resident
//! memory.
//!
//! Each round starts each program once, so that a busy moment of the machine affects all of them.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::post_reply::{length_of_body, read_head};
use crate::work_table;

/// Longest wait for a program's first request for an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// Medians of the starts of one program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Milliseconds from exec to the first question for an event.
    pub(crate) next: f64,
    /// Milliseconds of CPU time until then.
    pub(crate) cpu: f64,
    /// Kilobytes.
    pub(crate) resident: f64,
}

/// Adds to a program's environment. May return a socket, at this path, that is open during the start.
pub(crate) type Prepare<'a> = &'a dyn Fn(&mut Command, &Path) -> io::Result<Option<UnixListener>>;

/// Starts each program `rounds` times, and once before that to fill the page cache.
pub(crate) fn medians(
    programs: &[PathBuf],
    rounds: usize,
    prepare: Prepare<'_>,
) -> io::Result<Vec<Start>> {
    let mut starts = vec![Vec::new(); programs.len()];
    for round in 0..=rounds {
        for (program, starts) in programs.iter().zip(&mut starts) {
            let start = start(program, prepare)?;
            if round > 0 {
                starts.push(start);
            }
        }
    }
    Ok(starts.iter().map(|starts| median(starts)).collect())
}

fn median(starts: &[Start]) -> Start {
    let of = |figure: fn(&Start) -> f64| {
        work_table::median(starts.iter().map(figure)).unwrap_or_default()
    };
    Start {
        next: of(|start| start.next),
        cpu: of(|start| start.cpu),
        resident: of(|start| start.resident),
    }
}

fn start(program: &Path, prepare: Prepare<'_>) -> io::Result<Start> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let api = listener.local_addr()?.to_string();
    let (sender, asked) = channel();
    thread::spawn(move || {
        // Registration and question may come on one connection or on two.
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            thread::spawn(move || serve(stream, &sender));
        }
    });
    let socket = folder.path().join("s");
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("TRACESTITCH_SOCKET", &socket)
        .env("AWS_LAMBDA_RUNTIME_API", &api);
    let _listener = prepare(&mut command, &socket)?;
    let began = Instant::now();
    let process = Running(command.spawn()?);
    let asked = asked
        .recv_timeout(PATIENCE)
        .map_err(|_| io::Error::other(format!("{} asked for no event", program.display())))?;
    Ok(Start {
        next: (asked - began).as_secs_f64() * 1e3,
        cpu: process.cpu()? * 1e3,
        resident: process.resident()?,
    })
}

/// Answers a registration; reports when an event is asked for, and gives none.
fn serve(stream: TcpStream, asked: &Sender<Instant>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let head = read_head(&mut stream)?;
        if head[0].starts_with("GET") {
            // The start may have been given up.
            let _ = asked.send(Instant::now());
            continue;
        }
        stream.read_exact(&mut vec![0; length_of_body(&head)])?;
        let body = r#"{"functionName":"f","functionVersion":"1","handler":"h"}"#;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nlambda-extension-identifier: e\r\n\r\n{body}"
        );
        stream.get_mut().write_all(answer.as_bytes())?;
    }
}

/// A process that ends with this value.
struct Running(Child);

impl Running {
    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.0.id()))
    }

    /// Seconds of CPU time so far.
    fn cpu(&self) -> io::Result<f64> {
        let text = self.read("schedstat")?;
        let nanos = text.split_whitespace().next().and_then(|n| n.parse().ok());
        nanos
            .map(|nanos: f64| nanos / 1e9)
            .ok_or_else(|| io::Error::other("no CPU time in schedstat"))
    }

    /// Resident kilobytes.
    fn resident(&self) -> io::Result<f64> {
        let text = self.read("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("no VmRSS in status"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
