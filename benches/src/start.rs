//! Cost of the extension in a cold start: time from its start to its first question for an
//! event, CPU time, resident memory and size. Beside it a bare extension on `lambda-extension`,
//! built in the same way: `cargo cost start [OTHER PROGRAM...]`.
//!
//! Each round starts each program once, so a busy moment of the machine meets all of them.

use std::env;
use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::post_reply::{length_of_body, read_head};

const ROUNDS: usize = 61;

/// Longest wait for a program's first request for an event.
const PATIENCE: Duration = Duration::from_secs(20);

/// Most of the bare extension's time that ours may take, and most resident kilobytes.
const MAX_RATIO: f64 = 1.05;
const MAX_RESIDENT: u64 = 1_100;

/// One start of one program.
#[derive(Debug, Clone, Copy)]
struct Start {
    wall: f64,
    cpu: f64,
    resident: u64,
}

/// Measures and prints.
pub(crate) fn run() -> ExitCode {
    match table() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("not measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn table() -> io::Result<()> {
    let mut programs = vec![build("bare-extension")?, build("tracestitch-extension")?];
    programs.extend(env::args().skip(2).map(PathBuf::from));
    let mut starts = vec![Vec::new(); programs.len()];
    // The first round fills the page cache.
    for round in 0..=ROUNDS {
        for (program, starts) in programs.iter().zip(&mut starts) {
            let start = start(program)?;
            if round > 0 {
                starts.push(start);
            }
        }
    }
    println!(
        "from exec to the first request for an event, medians of {ROUNDS} interleaved starts"
    );
    println!(
        "{:<28}{:>9}{:>8}{:>9}{:>14}{:>10}",
        "", "next ms", "ratio", "CPU ms", "resident KB", "size KB"
    );
    let bare = median(&starts[0], |start| start.wall);
    for (program, starts) in programs.iter().zip(&starts) {
        let wall = median(starts, |start| start.wall);
        let resident = median(starts, |start| start.resident as f64) as u64;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let over = wall / bare > MAX_RATIO || resident > MAX_RESIDENT;
        println!(
            "{name:<28}{wall:>9.2}{:>8.2}{:>9.2}{resident:>14}{:>10}{}",
            wall / bare,
            median(starts, |start| start.cpu),
            fs::metadata(program)?.len() / 1000,
            if over { "  OVER" } else { "" }
        );
    }
    println!("bars: ratio {MAX_RATIO}, resident {MAX_RESIDENT} KB");
    Ok(())
}

/// Builds a package as the layer has it: static, with the profile `layer`. Returns its program.
fn build(package: &str) -> io::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = format!("{}-unknown-linux-musl", env::consts::ARCH);
    let status = Command::new(cargo)
        .args(["build", "--profile", "layer", "--package", package])
        .args(["--target", &target])
        .status()?;
    if !status.success() {
        return Err(io::Error::other(format!(
            "cargo build: {status} (rustup target add {target})"
        )));
    }
    let program = env::current_exe()?;
    let folder = program.ancestors().nth(2).unwrap_or_else(|| Path::new("."));
    Ok(folder.join(target).join("layer").join(package))
}

fn start(program: &Path) -> io::Result<Start> {
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
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("TRACESTITCH_SOCKET", folder.path().join("s"))
        .env("AWS_LAMBDA_RUNTIME_API", &api);
    let began = Instant::now();
    let process = Running(command.spawn()?);
    let asked = asked
        .recv_timeout(PATIENCE)
        .map_err(|_| io::Error::other(format!("{program:?} asked for no event")))?;
    Ok(Start {
        wall: (asked - began).as_secs_f64() * 1e3,
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
    fn resident(&self) -> io::Result<u64> {
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

fn median(starts: &[Start], of: impl Fn(&Start) -> f64) -> f64 {
    let mut values: Vec<_> = starts.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
