//! Time that the extension holds an invocation after its reply: from the signal that the invocation
//! is over, with 20 subsegments to deliver, to its question for the next event. Beside it a bare
//! extension, which only asks for events: `cargo cost post-reply`.
//!
//! Both run as processes by turns, against the Extensions API of this process.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracestitch_ring::{CAPACITY, Writer, send_file};
use tracestitch_wire::handoff::{Hello, Message, VERSION};
use tracestitch_wire::id::SegmentId;

use crate::build;
use crate::table::Table;

const ROUNDS: usize = 500;

/// Subsegments of one invocation.
const SUBSEGMENTS: usize = 20;

/// Set in the process that is the bare extension, to the address of the Extensions API.
const BARE: &str = "BENCH_BARE_EXTENSION";

/// Returns true in the process of the bare extension, once that has ended.
pub(crate) fn was_bare_extension() -> bool {
    let Ok(api) = env::var(BARE) else {
        return false;
    };
    // Ends when the other side does.
    let _ = bare_extension(&api);
    true
}

/// Asks for events without runtime or parser: the least that a turn costs.
fn bare_extension(api: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(api)?);
    stream.get_ref().set_nodelay(true)?;
    loop {
        stream
            .get_mut()
            .write_all(b"GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: h\r\n\r\n")?;
        let head = read_head(&mut stream)?;
        let length = head
            .iter()
            .find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.and_then(|text| text.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body)?;
    }
}

/// Measures.
pub(crate) fn table() -> std::io::Result<String> {
    let ([bare, idle, full, silent], first) = measure(&build::extension()?)?;
    let mut table = Table::new(&["extension", "median, µs", "ratio"]);
    for (name, time) in [
        ("a bare extension's turn", bare),
        ("tracestitch, nothing recorded", idle),
        ("tracestitch, 20 subsegments", full),
        ("tracestitch, session without a begin", silent),
        ("the same, its first invocation", first),
    ] {
        table.push([
            name.to_owned(),
            format!("{time:.0}"),
            format!("{:.2}", time / bare),
        ]);
    }
    Ok(table.to_string())
}

/// Returns the medians of the rows, and the first time of the last one.
fn measure(program: &Path) -> std::io::Result<([f64; 4], f64)> {
    let daemon = UdpSocket::bind("127.0.0.1:0")?;
    daemon.set_nonblocking(true)?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("s");
    let mut bare = Extension::start(env::current_exe()?.as_path(), false, &socket)?;
    let mut own = Extension::start(program, true, &socket)?;
    let mut function = Function::connect(&socket, &daemon)?;
    let silent_socket = folder.path().join("silent");
    let mut silent = Extension::start(program, true, &silent_socket)?;
    let _announces_nothing = Function::connect(&silent_socket, &daemon)?;
    let first = silent.turn()?;
    let mut times = [const { Vec::new() }; 4];
    for round in 0..ROUNDS {
        times[0].push(bare.turn()?);
        times[3].push(silent.turn()?);
        for (kind, count) in [(1, 0), (2, SUBSEGMENTS)] {
            let request_id = format!("r-{round}-{kind}");
            function.begin(&request_id)?;
            own.invoke(&request_id)?;
            (0..count).try_for_each(|_| function.subsegment())?;
            // The extension has received the event and waits, as after any real handler.
            std::thread::sleep(Duration::from_micros(500));
            times[kind].push(own.until_asked(|| function.end(&request_id))?);
            let mut received = 0;
            while daemon.recv(&mut [0; 2048]).is_ok() {
                received += 1;
            }
            if received != count {
                return Err(std::io::Error::other(format!(
                    "{received} of {count} documents were there before the question"
                )));
            }
        }
    }
    Ok((times.map(median), first))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A process under measurement that has asked for an event.
struct Extension {
    process: Child,
    api: BufReader<TcpStream>,
}

impl Extension {
    fn start(program: &Path, registers: bool, socket: &Path) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let api = listener.local_addr()?.to_string();
        let process = Command::new(program)
            .env_clear()
            .env("TRACESTITCH_SOCKET", socket)
            .env("AWS_LAMBDA_RUNTIME_API", &api)
            .env(BARE, &api)
            .spawn()?;
        let mut extension = Self {
            process,
            api: BufReader::new(listener.accept()?.0),
        };
        extension.api.get_ref().set_nodelay(true)?;
        if registers {
            let head = read_head(&mut extension.api)?;
            let mut body = vec![0; length_of_body(&head)];
            extension.api.read_exact(&mut body)?;
            extension.answer(r#"{"functionName":"f","functionVersion":"1","handler":"h"}"#)?;
            // `lambda-extension` registers on a connection that it then closes.
            extension.api = BufReader::new(listener.accept()?.0);
            extension.api.get_ref().set_nodelay(true)?;
        }
        read_head(&mut extension.api)?;
        Ok(extension)
    }

    fn answer(&mut self, body: &str) -> std::io::Result<()> {
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nlambda-extension-identifier: e\r\n\r\n{body}"
        );
        self.api.get_mut().write_all(answer.as_bytes())
    }

    fn invoke(&mut self, request_id: &str) -> std::io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let deadline = (now + Duration::from_secs(60)).as_millis();
        self.answer(&format!(
            r#"{{"eventType":"INVOKE","requestId":"{request_id}","deadlineMs":{deadline}}}"#
        ))
    }

    /// Returns microseconds from the call of `begin` to the question for the next event.
    fn until_asked(&mut self, begin: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<f64> {
        let began = Instant::now();
        begin()?;
        read_head(&mut self.api)?;
        Ok(began.elapsed().as_secs_f64() * 1e6)
    }

    /// Returns microseconds from an event to the question for the next one.
    fn turn(&mut self) -> std::io::Result<f64> {
        // Asleep, as between two events of Lambda.
        std::thread::sleep(Duration::from_micros(500));
        let began = Instant::now();
        self.invoke("r")?;
        read_head(&mut self.api)?;
        Ok(began.elapsed().as_secs_f64() * 1e6)
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the lines of a request or answer before its body.
pub(crate) fn read_head(stream: &mut impl BufRead) -> std::io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => return Ok(lines),
            line => lines.push(line.to_owned()),
        }
    }
}

/// Returns the number of bytes after the head of a request.
pub(crate) fn length_of_body(head: &[String]) -> usize {
    let length = head.iter().find_map(|line| {
        let line = line.to_ascii_lowercase();
        line.strip_prefix("content-length: ")?.parse().ok()
    });
    length.unwrap_or(0)
}

/// The function's side of the hand-off.
struct Function {
    socket: UnixStream,
    ring: Writer,
}

impl Function {
    fn connect(path: &Path, daemon: &UdpSocket) -> std::io::Result<Self> {
        let socket = UnixStream::connect(path)?;
        let ring = Writer::sealed(CAPACITY)?;
        let mut hello = Vec::new();
        let daemon = Some(daemon.local_addr()?.to_string());
        let version = VERSION;
        Message::Hello(Hello { version, daemon }).encode(&mut hello);
        send_file(&socket, &hello, &ring)?;
        Ok(Self { socket, ring })
    }

    /// Records an AWS call: in progress, then finished.
    fn subsegment(&mut self) -> std::io::Result<()> {
        let id = SegmentId::new();
        let document = format!(
            r#"{{"name":"DynamoDB","id":"{id}","trace_id":"1-5759e988-bd862e3fe1be46a994272793","parent_id":"53995c3f42cd8ad8","type":"subsegment","start_time":1478293361.271,"end_time":1478293361.449,"namespace":"aws","aws":{{"operation":"PutItem","region":"eu-west-1","request_id":"UBQNSO5AEM8T4FDA4RQDEB94OVTDRVV4K4HIRGVJF66Q9ASUAAJG","table_name":"orders","retries":0}},"http":{{"response":{{"status":200,"content_length":2}}}}}}"#
        );
        let document = document.as_bytes();
        self.publish(&Message::Open { id, document })?;
        self.publish(&Message::Close { id, document })
    }

    fn begin(&mut self, request_id: &str) -> std::io::Result<()> {
        self.publish(&Message::Begin { request_id })
    }

    fn publish(&self, message: &Message<'_>) -> std::io::Result<()> {
        let pushed = message.with_frame(|parts| self.ring.push(parts));
        pushed.map(drop).map_err(std::io::Error::other)
    }

    fn end(&mut self, request_id: &str) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        Message::End { request_id }.encode(&mut bytes);
        self.socket.write_all(&bytes)
    }
}
