//! Runs a handler and returns the documents that reach the X-Ray daemon; also a database server.
#![allow(
    clippy::unwrap_used,
    reason = "a failure here fails the test that calls it"
)]

pub mod postgres;

use std::env;
use std::future::Future;
use std::net::UdpSocket;
use std::process::Command;

use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde_json::Value;
use tower::{Layer, ServiceExt};
use tracestitch::TraceLayer;

/// Trace id of the invocation.
pub const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

const DAEMON: &str = "TRACESTITCH_DAEMON_ADDRESS";
const INSIDE: &str = "BESIDE_INSIDE";

/// Returns a command that runs `test` alone, in another process: for tests that need their own
/// environment or the process's only subscriber.
///
/// # Panics
///
/// When the path of this program is unknown.
pub fn alone(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", test]);
    command
}

/// Runs `work` as a handler and returns the documents that reach the daemon, in the order of their
/// ends; the handler's document is the last.
///
/// The daemon's address is in the environment, which belongs to a whole process. So `test`, the
/// caller, runs again in another process, where this function does not return.
///
/// # Panics
///
/// When that process fails.
pub fn recorded<F: Future<Output = ()>>(test: &str, work: fn() -> F) -> Vec<Value> {
    if env::var_os(INSIDE).is_some() {
        handle(work);
        std::process::exit(0);
    }
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let inside = alone(test)
        .env(INSIDE, "1")
        .env(DAEMON, daemon.local_addr().unwrap().to_string())
        .env("TRACESTITCH_TRANSPORT", "direct")
        .env("AWS_LAMBDA_FUNCTION_NAME", "orders")
        .env_remove("TRACESTITCH_ENABLED")
        .output()
        .unwrap();
    assert!(inside.status.success(), "{inside:?}");
    // The process has ended, so everything it sent is in the socket's buffer.
    daemon.set_nonblocking(true).unwrap();
    let mut datagram = vec![0; 65_536];
    let mut documents = Vec::new();
    while let Ok(length) = daemon.recv(&mut datagram) {
        let text = std::str::from_utf8(&datagram[..length]).unwrap();
        let (_, document) = text.split_once('\n').unwrap();
        documents.push(serde_json::from_str(document).unwrap());
    }
    documents
}

#[tokio::main]
async fn handle<F: Future<Output = ()>>(work: fn() -> F) {
    let handler = service_fn(async |_: LambdaEvent<Value>| {
        work().await;
        Ok::<_, Error>(())
    });
    let mut context = Context::default();
    context.request_id = "r-1".to_owned();
    context.xray_trace_id = Some(format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"));
    let event = LambdaEvent::new(Value::Null, context);
    let service = TraceLayer::new().layer(handler);
    service.oneshot(event).await.unwrap();
}
