//! 1,000 messages of 1,000 producers in 100 batches, worked off by 16 invocations at a time with
//! 4 messages at a time: every document is in its producer's trace.
//!
//! The function is this program again, with the Runtime API and the extension's socket served by
//! the test: several invocations share an environment, which a test process must not change.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a program without a harness: what fails here fails the test"
)]

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tracestitch::sqs::Consumer;
use tracestitch_ring::{Reader, receive_file};
use tracestitch_wire::handoff::Message;

const BATCHES: usize = 100;
const MESSAGES: usize = 10;
const WORKERS: usize = 16;
const DEADLINE: Duration = Duration::from_secs(60);

fn main() {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        function();
    } else {
        test();
    }
}

fn function() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let consumer = Consumer::new().concurrency(4);
    let handler = service_fn(move |event: LambdaEvent<SqsEvent>| {
        let work = consumer.each(event.payload, |message| async move {
            let id = message.message_id.unwrap_or_default();
            let work = tracestitch::capture("work", async {
                tracestitch::annotate("message", id);
                tokio::time::sleep(Duration::from_millis(1)).await;
                tracestitch::capture("inner", tokio::task::yield_now()).await;
            });
            let context = tracestitch::Context::current();
            Ok::<_, Error>(tokio::spawn(context.scope(work)).await?)
        });
        async move { Ok::<SqsBatchResponse, Error>(work.await) }
    });
    let ended = runtime.block_on(tracestitch::run_concurrent(handler));
    panic!("the runtime ended: {ended:?}");
}

fn test() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let (documents, received) = channel();
    let extension = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || serve_extension(&extension, &documents));
    let api = Arc::new(Api::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let served = api.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let api = served.clone();
            thread::spawn(move || api.serve(stream));
        }
    });
    let child = Command::new(std::env::current_exe().unwrap())
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_MAX_CONCURRENCY", WORKERS.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "worker")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("TRACESTITCH_SOCKET", &socket)
        .env("TRACESTITCH_TRANSPORT", "extension")
        .spawn()
        .unwrap();
    let _function = Killed(child);

    let (mut closed, mut handlers) = (Vec::<Value>::new(), 0);
    let until = Instant::now() + DEADLINE;
    // The handler's document is the last of its invocation.
    while handlers < BATCHES {
        let left = until.saturating_duration_since(Instant::now());
        let document: Value = received.recv_timeout(left).unwrap_or_else(|error| {
            panic!("{} documents, {handlers} handlers: {error}", closed.len())
        });
        handlers += usize::from(document["name"] == "worker" && document["type"] == "subsegment");
        closed.push(document);
    }
    let most = api.most.load(Ordering::SeqCst);
    assert!(most > WORKERS / 2, "at most {most} invocations at once");
    check(&closed);
    let _ = writeln!(
        std::io::stdout(),
        "{} documents of {} messages, up to {most} invocations at once: each in its own trace",
        closed.len(),
        BATCHES * MESSAGES
    );
}

fn check(closed: &[Value]) {
    let ids: HashMap<&str, &Value> = closed
        .iter()
        .map(|document| (document["id"].as_str().unwrap(), document))
        .collect();
    assert_eq!(ids.len(), closed.len(), "no document twice");
    let named = |name| {
        closed
            .iter()
            .filter(move |document| document["name"] == name)
    };
    let mut messages = HashSet::new();
    for work in named("work") {
        let id = work["annotations"]["message"].as_str().unwrap();
        assert!(messages.insert(id), "message {id} twice");
        let segment = ids[work["parent_id"].as_str().unwrap()];
        assert_eq!(segment["metadata"]["sqs"]["message_id"], id);
        let n: usize = id[2..].parse().unwrap();
        for document in [work, segment] {
            assert_eq!(document["trace_id"], root(n), "{document}");
        }
        assert_eq!(segment["parent_id"], format!("{:016x}", n + 1));
        assert_eq!(segment["origin"], "AWS::Lambda::Function");
        assert!(segment.get("fault").is_none(), "{segment}");
        // And back: the pointer is in the trace of the invocation that had the message.
        let pointer = ids[segment["links"][0]["id"].as_str().unwrap()];
        assert_eq!(pointer["trace_id"], invocation_root(n / MESSAGES));
        assert_eq!(pointer["links"][0]["id"], segment["id"]);
    }
    assert_eq!(messages.len(), BATCHES * MESSAGES);
    for inner in named("inner") {
        let work = ids[inner["parent_id"].as_str().unwrap()];
        assert_eq!(inner["trace_id"], work["trace_id"]);
    }
    // Per message segment, work, inner and pointer; per invocation its handler.
    assert_eq!(closed.len(), BATCHES * MESSAGES * 4 + BATCHES);
}

fn root(message: usize) -> String {
    format!("1-5759e988-{:024x}", message + 1)
}

fn invocation_root(batch: usize) -> String {
    format!("1-5759e989-{:024x}", batch + 1)
}

fn batch(batch: usize) -> Value {
    let record = |n: usize| {
        json!({
            "messageId": format!("m-{n}"), "body": "{}", "messageAttributes": {},
            "attributes": {
                "AWSTraceHeader":
                    format!("Root={};Parent={:016x};Sampled=1", root(n), n + 1),
            },
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
        })
    };
    let records: Vec<Value> = (batch * MESSAGES..(batch + 1) * MESSAGES)
        .map(record)
        .collect();
    json!({ "Records": records })
}

/// The Runtime API: hands out each batch once, then keeps those waiting who ask for more.
#[derive(Default)]
struct Api {
    handed_out: AtomicUsize,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl Api {
    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some((line, body)) = read_request(&mut reader) {
            let (status, headers, answer) = if line.starts_with("GET") {
                let n = self.handed_out.fetch_add(1, Ordering::SeqCst);
                if n >= BATCHES {
                    thread::park_timeout(DEADLINE);
                    return;
                }
                let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                let root = invocation_root(n);
                let headers = format!(
                    "lambda-runtime-aws-request-id: r-{n}\r\n\
                     lambda-runtime-deadline-ms: 99999999999999\r\n\
                     lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:1:function:w\r\n\
                     lambda-runtime-trace-id: Root={root};Parent={:016x};Sampled=1\r\n",
                    n + 1
                );
                (200, headers, batch(n).to_string())
            } else {
                assert!(line.contains("/response "), "{line}: {body}");
                assert_eq!(body, r#"{"batchItemFailures":[]}"#);
                self.under_way.fetch_sub(1, Ordering::SeqCst);
                (202, String::new(), "{}".to_owned())
            };
            let length = answer.len();
            write!(
                stream,
                "HTTP/1.1 {status} -\r\n{headers}content-length: {length}\r\n\r\n{answer}"
            )
            .unwrap();
        }
    }
}

/// Request line and body; None when the connection ends.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, String::from_utf8(body).unwrap()))
}

/// Passes finished documents on whenever a message on the socket wakes it.
fn serve_extension(listener: &UnixListener, documents: &Sender<Value>) {
    let (mut socket, _) = listener.accept().unwrap();
    let mut bytes = [0; 64 * 1024];
    let (_, file) = receive_file(&socket, &mut bytes).unwrap();
    let mut reader = Reader::open(file.unwrap()).unwrap();
    while let Ok(1..) = socket.read(&mut bytes) {
        let pass_on = |frame: &[u8]| {
            if let Message::Close { document, .. } = Message::decode(frame).unwrap() {
                let document = serde_json::from_slice(document).unwrap();
                // The test is over once its receiver is gone.
                let _ = documents.send(document);
            }
        };
        reader.read(pass_on).unwrap();
        reader.release().unwrap();
    }
}

/// The function, ended with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
