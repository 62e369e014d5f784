//! What a handler's queries leave at the X-Ray daemon, and a server for them.
#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test that calls it"
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

/// Trace of the invocation.
pub const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

const DAEMON: &str = "TRACESTITCH_DAEMON_ADDRESS";
const INSIDE: &str = "BESIDE_INSIDE";

/// The documents that reach the daemon when `work` runs as a handler, by their end; the handler's
/// own is the last.
///
/// The environment says where the daemon is and belongs to a whole process, so `test`, which
/// calls this, runs once more in a process of its own, and there this does not return.
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
    let inside = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(INSIDE, "1")
        .env(DAEMON, daemon.local_addr().unwrap().to_string())
        .env("TRACESTITCH_TRANSPORT", "direct")
        .env("AWS_LAMBDA_FUNCTION_NAME", "orders")
        .env_remove("TRACESTITCH_ENABLED")
        .output()
        .unwrap();
    assert!(inside.status.success(), "{inside:?}");
    // All that was sent is in the socket's buffer, as the process is over.
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
