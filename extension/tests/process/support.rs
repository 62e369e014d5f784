//! A Lambda environment of loopback sockets: Extensions API, function and X-Ray daemon.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracestitch_ring::{CAPACITY, Refused, Writer, send_file};
use tracestitch_wire::datagram;
use tracestitch_wire::handoff::{Hello, Message, VERSION};
use tracestitch_wire::id::SegmentId;

/// Longest time of a wait before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// State of the fake Extensions API: requests so far, and answers to come.
#[derive(Default)]
struct Lambda {
    refuses_invoke: bool,
    failures: usize,
    registrations: Vec<String>,
    asked: usize,
    events: VecDeque<String>,
}

/// One environment. Its processes end with it.
pub(crate) struct World {
    lambda: Arc<(Mutex<Lambda>, Condvar)>,
    api: String,
    pub(crate) daemon: UdpSocket,
    folder: tempfile::TempDir,
    child: Option<Child>,
}

impl World {
    pub(crate) fn new() -> Self {
        let lambda = Arc::<(Mutex<Lambda>, Condvar)>::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = listener.local_addr().unwrap().to_string();
        let shared = Arc::clone(&lambda);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
        daemon.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            lambda,
            api,
            daemon,
            folder: tempfile::tempdir().unwrap(),
            child: None,
        }
    }

    /// An environment with a running extension that has asked for its first event.
    pub(crate) fn started() -> Self {
        let mut world = Self::new();
        world.start(&[]);
        world.wait_until_asked(1);
        world
    }

    pub(crate) fn refuse_invoke(&self) {
        self.lambda.0.lock().unwrap().refuses_invoke = true;
    }

    /// Answers the next `count` requests for an event with status 500.
    pub(crate) fn fail(&self, count: usize) {
        self.lambda.0.lock().unwrap().failures = count;
    }

    /// Process id of the extension.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("the extension was started").id()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("handoff.sock")
    }

    pub(crate) fn start(&mut self, variables: &[(&str, &str)]) {
        let child = extension()
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &self.api)
            .env("TRACESTITCH_SOCKET", self.socket())
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub(crate) fn registrations(&self) -> Vec<String> {
        self.lambda.0.lock().unwrap().registrations.clone()
    }

    /// Number of times that the extension has asked for an event.
    pub(crate) fn asked(&self) -> usize {
        self.lambda.0.lock().unwrap().asked
    }

    #[track_caller]
    pub(crate) fn wait_until_asked(&self, times: usize) {
        let (lambda, changed) = &*self.lambda;
        let (state, waited) = changed
            .wait_timeout_while(lambda.lock().unwrap(), PATIENCE, |state| {
                state.asked < times
            })
            .unwrap();
        assert!(
            !waited.timed_out(),
            "the extension asked {} times for an event, expected {times}",
            state.asked
        );
    }

    /// Sends an event whose deadline is later than any wait of a test.
    pub(crate) fn invoke(&self, request_id: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.invoke_until(request_id, (now + PATIENCE * 2).as_millis());
    }

    pub(crate) fn invoke_until(&self, request_id: &str, deadline_ms: u128) {
        self.event(format!(
            r#"{{"eventType":"INVOKE","requestId":"{request_id}","deadlineMs":{deadline_ms}}}"#
        ));
    }

    pub(crate) fn shutdown(&self, reason: &str) {
        self.event(format!(
            r#"{{"eventType":"SHUTDOWN","shutdownReason":"{reason}","deadlineMs":0}}"#
        ));
    }

    fn event(&self, event: String) {
        self.lambda.0.lock().unwrap().events.push_back(event);
        self.lambda.1.notify_all();
    }

    /// Connects a function.
    pub(crate) fn function(&self) -> Function {
        self.function_with(Writer::sealed(CAPACITY).unwrap())
    }

    /// Connects a function that shares `ring`.
    pub(crate) fn function_with(&self, ring: Writer) -> Function {
        let socket = UnixStream::connect(self.socket()).unwrap();
        let hello = hello(VERSION, Some(self.daemon.local_addr().unwrap().to_string()));
        assert_eq!(send_file(&socket, &hello, &ring).unwrap(), hello.len());
        Function { ring, socket }
    }

    /// Kills the extension, as the kernel does if memory runs out.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("the extension was started");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the next document that reaches the daemon.
    #[track_caller]
    pub(crate) fn document(&self) -> serde_json::Value {
        let mut buffer = vec![0; 65_536];
        let length = self
            .daemon
            .recv(&mut buffer)
            .expect("no document reached the daemon in time");
        serde_json::from_slice(datagram::decode(&buffer[..length]).unwrap()).unwrap()
    }

    /// Returns the next document, which must have reached the daemon already.
    #[track_caller]
    pub(crate) fn document_already_there(&self) -> serde_json::Value {
        self.daemon.set_nonblocking(true).unwrap();
        let document = self.document();
        self.daemon.set_nonblocking(false).unwrap();
        document
    }

    /// Takes the reading end of the extension's standard error.
    pub(crate) fn take_stderr(&mut self) -> ChildStderr {
        let child = self.child.as_mut().expect("the extension was started");
        child.stderr.take().unwrap()
    }

    /// Sends the shutdown event of an environment that is no longer needed. Returns the log.
    pub(crate) fn spin_down(&mut self) -> String {
        self.shutdown("spindown");
        let (status, log) = self.end();
        assert!(status.success(), "{status}: {log}");
        log
    }

    /// Waits for the extension's end. Returns its status and log.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let mut child = self.child.take().expect("the extension was started");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("the extension did not end");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let mut log = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        (status, log)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The function's end of the handoff.
pub(crate) struct Function {
    pub(crate) ring: Writer,
    pub(crate) socket: UnixStream,
}

impl Function {
    pub(crate) fn open(&mut self, id: &str) {
        let document = format!(r#"{{"name":"n","id":"{id}","start_time":1.5,"in_progress":true}}"#);
        self.publish(&Message::Open {
            id: segment(id),
            document: document.as_bytes(),
        });
    }

    pub(crate) fn close(&mut self, id: &str) {
        let document = format!(r#"{{"name":"n","id":"{id}","start_time":1.5,"end_time":2.5}}"#);
        self.publish(&Message::Close {
            id: segment(id),
            document: document.as_bytes(),
        });
    }

    /// Publishes a message in the ring. Requests a drain and waits for room if it is full.
    pub(crate) fn publish(&mut self, message: &Message<'_>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match message.with_frame(|parts| self.ring.push(parts)) {
                Ok(pushed) if pushed.half_full => return self.drain(),
                Ok(_) => return,
                Err(error) => {
                    assert_eq!(error, Refused::Full);
                    assert!(Instant::now() < deadline, "the ring is not drained");
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Announces an invocation.
    pub(crate) fn begin(&mut self, request_id: &str) {
        self.publish(&Message::Begin { request_id });
    }

    pub(crate) fn drain(&mut self) {
        send(&mut self.socket, &Message::Drain);
    }

    pub(crate) fn end(&mut self, request_id: &str) {
        send(&mut self.socket, &Message::End { request_id });
    }
}

/// Returns the bytes of a hello.
pub(crate) fn hello(version: u16, daemon: Option<String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::Hello(Hello { version, daemon }).encode(&mut bytes);
    bytes
}

pub(crate) fn segment(id: &str) -> SegmentId {
    id.parse().unwrap()
}

pub(crate) fn send(stream: &mut UnixStream, message: &Message<'_>) {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    stream.write_all(&bytes).unwrap();
}

/// Answers the requests of one connection until it ends.
fn serve(stream: TcpStream, lambda: &(Mutex<Lambda>, Condvar)) {
    let mut reader = BufReader::new(stream);
    while let Some((line, body)) = request(&mut reader) {
        let (status, headers, body) = answer(&line, body, lambda);
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        if reader.get_mut().write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head
        .iter()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head[0].clone(), String::from_utf8(body).unwrap()))
}

fn answer(
    line: &str,
    body: String,
    (lambda, changed): &(Mutex<Lambda>, Condvar),
) -> (&'static str, &'static str, String) {
    let mut state = lambda.lock().unwrap();
    if line.starts_with("POST /2020-01-01/extension/register ") {
        let refused = state.refuses_invoke && body.contains("INVOKE");
        state.registrations.push(body);
        return if refused {
            let error = r#"{"errorMessage":"no","errorType":"Extension.InvalidEventType"}"#;
            ("403 Forbidden", "", error.to_owned())
        } else {
            (
                "200 OK",
                "Lambda-Extension-Identifier: ext-1\r\n",
                r#"{"functionName":"f","functionVersion":"$LATEST","handler":"bootstrap"}"#
                    .to_owned(),
            )
        };
    }
    assert_eq!(line, "GET /2020-01-01/extension/event/next HTTP/1.1");
    if state.failures > 0 {
        state.failures -= 1;
        return ("500 Internal Server Error", "", "{}".to_owned());
    }
    state.asked += 1;
    changed.notify_all();
    let mut state = changed
        .wait_while(state, |state| state.events.is_empty())
        .unwrap();
    ("200 OK", "", state.events.pop_front().unwrap())
}

/// Path of the program under test: the one that cargo built beside the tests, or the one that
/// `TRACESTITCH_TEST_EXTENSION` names, for example from a layer.
pub(crate) fn program() -> OsString {
    std::env::var_os("TRACESTITCH_TEST_EXTENSION").unwrap_or_else(|| crate::built().into())
}

pub(crate) fn extension() -> Command {
    Command::new(program())
}
