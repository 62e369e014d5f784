//! A real process that runs a handler: its init phase, a panic, its rules and a streamed response, as
//! they reach the X-Ray daemon, by each entry point. The process is this one, started again as the
//! function.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, service_fn};
use serde_json::Value;
use tracestitch::{Redaction, TraceLayer};

const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";
const PARENT: &str = "53995c3f42cd8ad8";
const SECRET: &str = "sk_live_4242";
const DEADLINE: Duration = Duration::from_secs(30);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("function") => function(),
        #[cfg(feature = "lambda-http")]
        Some("app") => app(),
        Some(entry_point) => with_rules(entry_point),
        None => {
            work_of_a_process_reaches_the_daemon();
            #[cfg(feature = "lambda-http")]
            streamed_response_of_an_app_reaches_the_daemon();
            rules_of_one_settings_value_act_in_each_entry_point();
        }
    }
}

fn redaction() -> Redaction {
    Redaction::from_fn(|_, text| text.contains(SECRET).then(|| "[gone]".to_owned()))
}

/// A function, or a poller, with one settings value.
#[tokio::main(flavor = "current_thread")]
async fn with_rules(entry_point: &str) {
    let settings = TraceLayer::new()
        .redact(redaction())
        .sampling("rate=1".parse().unwrap());
    let handler = service_fn(async |_: LambdaEvent<Value>| {
        tracestitch::annotate("key", SECRET);
        Ok::<_, Error>(Value::Null)
    });
    #[cfg(feature = "lambda-http")]
    let app = service_fn(async |_: lambda_http::Request| {
        tracestitch::annotate("key", SECRET);
        Ok::<_, Error>(lambda_http::Response::new(lambda_http::Body::Empty))
    });
    let ended = match entry_point {
        "run" => settings.run(handler).await,
        #[cfg(feature = "concurrency-tokio")]
        "run_concurrent" => settings.run_concurrent(handler).await,
        #[cfg(feature = "lambda-http")]
        "run_http" => settings.run_http(app).await,
        #[cfg(feature = "lambda-http")]
        "run_http_streaming" => settings.run_http_streaming(app).await,
        #[cfg(all(feature = "lambda-http", feature = "concurrency-tokio"))]
        "run_http_concurrent" => settings.run_http_concurrent(app).await,
        #[cfg(feature = "sqs-poll")]
        "poller" => {
            let message = aws_sdk_sqs::types::Message::builder().build();
            let poller = tracestitch::sqs::Poller::new(settings, "poller");
            let outcome = poller.each(vec![message], async |_| {
                tracestitch::annotate("key", SECRET);
                Ok::<_, Error>(())
            });
            assert_eq!(outcome.await.done.len(), 1);
            return;
        }
        other => panic!("no entry point {other}"),
    };
    ended.unwrap();
}

fn rules_of_one_settings_value_act_in_each_entry_point() {
    let mut entry_points = vec![("run", vec!["shop"])];
    if cfg!(feature = "concurrency-tokio") {
        entry_points.push(("run_concurrent", vec!["shop"]));
    }
    if cfg!(feature = "lambda-http") {
        entry_points.push(("run_http", vec!["shop"]));
        entry_points.push(("run_http_streaming", vec!["shop", "response"]));
    }
    if cfg!(all(feature = "lambda-http", feature = "concurrency-tokio")) {
        entry_points.push(("run_http_concurrent", vec!["shop"]));
    }
    if cfg!(feature = "sqs-poll") {
        entry_points.push(("poller", vec!["poller"]));
    }
    for (entry_point, names) in entry_points {
        let (api, daemon) = servers();
        let _function = Function(start(entry_point, &api, &daemon));
        if entry_point != "poller" {
            let undecided = format!("Root={ROOT};Parent={PARENT}");
            invoke_with(&api, "r-1", &undecided, &http_event("/orders"));
        }
        let found = documents(&daemon, &names);
        let key = &found[names[0]]["annotations"]["key"];
        assert_eq!(key, "[gone]", "{entry_point}: sampled and redacted");
    }
}

fn servers() -> (TcpListener, UdpSocket) {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon.set_read_timeout(Some(DEADLINE)).unwrap();
    (api, daemon)
}

fn http_event(path: &str) -> String {
    let event = serde_json::json!({
        "version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {},
        "requestContext": { "http": { "method": "GET", "path": path } },
        "isBase64Encoded": false,
    });
    event.to_string()
}

#[tokio::main(flavor = "current_thread")]
async fn function() {
    tracestitch::capture("load settings", async {
        tracestitch::annotate("key", SECRET);
        assert!(tracestitch::Context::current().trace_header().is_none());
    })
    .await;
    let handler = service_fn(async |event: LambdaEvent<Value>| {
        tracestitch::capture("work", async {}).await;
        if event.payload["fail"] == true {
            panic!("no stock for {SECRET}");
        }
        Ok::<_, Error>(if event.payload["stream"] == true {
            FunctionResponse::StreamingResponse(parts().into())
        } else {
            FunctionResponse::BufferedResponse(Value::Null)
        })
    });
    let settings = TraceLayer::new().redact(redaction());
    settings.run(handler).await.unwrap();
}

/// A stream that works when it is polled.
fn parts() -> Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>> {
    let part = |name: &'static str| tracestitch::capture(name, async move { Ok(name.into()) });
    Box::pin(stream::iter(["one", "two"]).then(part))
}

fn work_of_a_process_reaches_the_daemon() {
    let (api, daemon) = servers();
    let _function = Function(start("function", &api, &daemon));

    invoke(&api, "r-1", "{}");
    let first = documents(&daemon, &["load settings", "init", "work", "shop"]);
    let (init, settings) = (&first["init"], &first["load settings"]);
    assert_eq!(
        (&init["trace_id"], &init["parent_id"]),
        (&ROOT.into(), &PARENT.into())
    );
    assert_eq!(
        (&settings["trace_id"], &settings["parent_id"]),
        (&ROOT.into(), &init["id"])
    );
    assert_eq!(settings["annotations"]["key"], "[gone]");
    assert!(settings["end_time"].as_f64() <= first["shop"]["start_time"].as_f64());

    invoke(&api, "r-2", r#"{"fail":true}"#);
    let second = documents(&daemon, &["work", "shop"]);
    let exception = &second["shop"]["cause"]["exceptions"][0];
    assert_eq!(
        (&exception["type"], &exception["message"]),
        (&"panic".into(), &"[gone]".into())
    );
    let stack = exception["stack"].as_array().unwrap();
    assert!(
        stack[0]["path"].as_str().unwrap().ends_with("process.rs"),
        "{stack:?}"
    );

    invoke(&api, "r-3", r#"{"stream":true}"#);
    let third = documents(&daemon, &["work", "shop", "one", "two", "response"]);
    let response = &third["response"];
    assert_eq!(response["parent_id"], third["shop"]["id"]);
    for part in ["one", "two"] {
        assert_eq!(third[part]["parent_id"], response["id"], "{part}");
    }
    assert!(response.get("fault").is_none(), "{response}");
}

/// An app of `lambda_http` that streams.
#[cfg(feature = "lambda-http")]
#[tokio::main(flavor = "current_thread")]
async fn app() {
    use http_body_util::StreamBody;

    let app = service_fn(async |request: lambda_http::Request| {
        let parts = parts().map(|part| Ok::<_, Error>(http_body::Frame::data(part?)));
        let status = if request.uri().path() == "/busy" {
            503
        } else {
            200
        };
        let response = lambda_http::Response::builder().status(status);
        Ok::<_, Error>(response.body(StreamBody::new(parts))?)
    });
    tracestitch::http::run_with_streaming_response(app)
        .await
        .unwrap();
}

#[cfg(feature = "lambda-http")]
fn streamed_response_of_an_app_reaches_the_daemon() {
    let (api, daemon) = servers();
    let _function = Function(start("app", &api, &daemon));
    for (path, status) in [("orders", 200), ("busy", 503)] {
        invoke(&api, path, &http_event(&format!("/{path}")));
        let documents = documents(&daemon, &["shop", "one", "two", "response"]);
        let shop = &documents["shop"];
        assert_eq!(shop["http"]["response"]["status"], status, "{shop}");
        assert_eq!(shop["fault"] == true, status == 503, "{shop}");
        assert_eq!(documents["response"]["parent_id"], shop["id"]);
        assert_eq!(documents["one"]["parent_id"], documents["response"]["id"]);
    }
}

/// Ends the function when the test ends, however it does.
struct Function(Child);

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(what: &str, api: &TcpListener, daemon: &UdpSocket) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg(what)
        .env(
            "AWS_LAMBDA_RUNTIME_API",
            api.local_addr().unwrap().to_string(),
        )
        .env("AWS_LAMBDA_FUNCTION_NAME", "shop")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("TRACESTITCH_TRANSPORT", "direct")
        .env(
            "TRACESTITCH_DAEMON_ADDRESS",
            daemon.local_addr().unwrap().to_string(),
        )
        .env_remove("TRACESTITCH_ENABLED")
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Answers the function's request for the next event, and takes its response.
fn invoke(api: &TcpListener, request_id: &str, event: &str) {
    let sampled = format!("Root={ROOT};Parent={PARENT};Sampled=1");
    invoke_with(api, request_id, &sampled, event);
}

fn invoke_with(api: &TcpListener, request_id: &str, header: &str, event: &str) {
    let (asks, mut stream) = request(api);
    assert!(asks.contains("/runtime/invocation/next"), "{asks}");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\ncontent-type: application/json\r\n\
         lambda-runtime-aws-request-id: {request_id}\r\nlambda-runtime-deadline-ms: 4102444800000\
         \r\nlambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:1:function:shop\r\n\
         lambda-runtime-trace-id: {header}\r\n\
         connection: close\r\n\r\n",
        event.len(),
    );
    stream.write_all((head + event).as_bytes()).unwrap();
    let (answers, mut stream) = request(api);
    assert!(answers.contains(request_id), "{answers}");
    let done = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(done.as_bytes()).unwrap();
}

/// First line of the next request, whose body is read.
fn request(api: &TcpListener) -> (String, TcpStream) {
    let (stream, _) = api.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), Some(0));
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = Some(value.parse().unwrap());
        }
        if line == "transfer-encoding: chunked" {
            length = None;
        }
    }
    match length {
        Some(length) => reader.read_exact(&mut vec![0; length]).unwrap(),
        None => while read_chunk(&mut reader) > 0 {},
    }
    (first, reader.into_inner())
}

/// Its length; 0 of the last.
fn read_chunk(reader: &mut BufReader<TcpStream>) -> usize {
    let mut length = String::new();
    reader.read_line(&mut length).unwrap();
    let length = usize::from_str_radix(length.trim(), 16).unwrap();
    reader.read_exact(&mut vec![0; length + 2]).unwrap();
    length
}

/// The finished documents of these names, and no others before the last of them.
fn documents(daemon: &UdpSocket, names: &[&str]) -> HashMap<String, Value> {
    let mut documents = HashMap::new();
    while documents.len() < names.len() {
        let mut datagram = vec![0; 65_536];
        let length = daemon
            .recv(&mut datagram)
            .expect("a document within the deadline");
        let text = std::str::from_utf8(&datagram[..length]).unwrap();
        assert!(!text.contains(SECRET), "{text}");
        let document: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
        let name = document["name"].as_str().unwrap().to_owned();
        assert!(names.contains(&&*name), "{document}");
        documents.insert(name, document);
    }
    documents
}
