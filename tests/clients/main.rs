//! Clients and SDKs of AWS in other languages, against the local X-Ray API and daemon.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;

use e2e::{node, python, wait};
use serde_json::{Value, json};
use tracestitch_traces::api::Server;
use tracestitch_traces::store::{Limits, Store};

const TRACE: &str = "1-581cf771-a006649127e371903a2de979";
const BOTO3: &str = include_str!("boto3_reads.py");

struct World {
    server: Server,
    store: Arc<Store>,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(Store::memory(Limits::default()).unwrap());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(listen, Arc::clone(&store)).await.unwrap();
        Self { server, store }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    fn put(&self, documents: &[Value]) {
        let texts = documents.iter().map(Value::to_string).collect();
        let refused = tokio::task::block_in_place(|| self.store.put(texts).unwrap());
        assert!(refused.iter().all(Option::is_none), "{refused:?}");
    }

    /// Runs a command beside the server and returns its standard output.
    async fn run(&self, mut command: Command) -> String {
        let output =
            tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap());
        let output = output.await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{errors}");
        text
    }
}

fn segment() -> Value {
    json!({
        "trace_id": TRACE, "id": "70de5b6f19ff9a0a", "name": "shop",
        "origin": "AWS::Lambda::Function",
        "start_time": 1_478_293_361.5, "end_time": 1_478_293_362.75, "fault": true,
        "annotations": { "order_id": "A-1003", "amount": 2.5, "gift": true },
        "http": { "request": { "method": "POST", "url": "http://shop/orders" },
            "response": { "status": 500 } },
        "subsegments": [{
            "id": "70de5b6f19ff9a0b", "name": "DynamoDB", "namespace": "aws",
            "start_time": 1_478_293_361.6, "end_time": 1_478_293_361.7,
            "aws": { "operation": "PutItem", "table_name": "orders" },
        }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_sends_and_reads_with_every_operation() {
    let world = World::new().await;
    let mut command = python::client("python", &world.url());
    command.args(["-c", BOTO3, &segment().to_string()]);
    assert_eq!(world.run(command).await.trim(), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_cli_finds_a_trace_and_prints_its_documents() {
    let world = World::new().await;
    world.put(&[segment()]);
    let mut command = python::client("aws", &world.url());
    command.args(["xray", "get-trace-summaries", "--output", "json"]);
    command.args(["--start-time", "1478293000", "--end-time", "1478294000"]);
    command.args(["--filter-expression", "annotation.order_id = \"A-1003\""]);
    let answer: Value = serde_json::from_str(&world.run(command).await).unwrap();
    assert_eq!(answer["TraceSummaries"][0]["Id"], TRACE);
    assert_eq!(answer["TraceSummaries"][0]["HasFault"], true);
    let mut command = python::client("aws", &world.url());
    command.args([
        "xray",
        "batch-get-traces",
        "--output",
        "json",
        "--trace-ids",
        TRACE,
    ]);
    let answer: Value = serde_json::from_str(&world.run(command).await).unwrap();
    let document = answer["Traces"][0]["Segments"][0]["Document"]
        .as_str()
        .unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["annotations"]["order_id"], "A-1003");
}

/// Kills a process when it is dropped.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sdks_of_python_and_node_join_our_trace_by_central_sampling() {
    let world = World::new().await;
    let call = |id: &str, name: &str| {
        json!({
            "id": id, "name": name, "namespace": "remote",
            "start_time": 1_478_293_361.8, "end_time": 1_478_293_362.5,
        })
    };
    let mut shop = segment();
    shop["subsegments"] = json!([
        call("00000000000000aa", "python-worker"),
        call("00000000000000bb", "node-api"),
        call("00000000000000cc", "order-worker"),
    ]);
    let worker = json!({
        "trace_id": TRACE, "id": "00000000000000dd", "parent_id": "00000000000000cc",
        "name": "order-worker", "origin": "AWS::Lambda::Function",
        "start_time": 1_478_293_361.9, "end_time": 1_478_293_362.4,
    });
    world.put(&[shop, worker]);

    let daemon = world.server.daemon().to_string();
    let mut python = python::client("python", &world.url());
    python.args([
        "-c",
        include_str!("xray_sdk_sends.py"),
        TRACE,
        "00000000000000aa",
    ]);
    python.env("AWS_XRAY_DAEMON_ADDRESS", &daemon);
    assert_eq!(world.run(python).await.trim(), "Default");
    let mut node = node::script(include_str!("xray_sdk_sends.js"));
    node.args([TRACE, "00000000000000bb"])
        .env("AWS_XRAY_DAEMON_ADDRESS", &daemon);
    let _node = Killed(node.stdin(Stdio::null()).spawn().unwrap());
    wait::until("the documents of both SDKs", || {
        (world.store.counts().stored >= 4).then_some(())
    })
    .await;

    let stored = tokio::task::block_in_place(|| world.store.trace(TRACE).unwrap());
    // The SDKs have different names for the rule.
    for (name, parent, rule) in [
        ("python-worker", "00000000000000aa", "sampling_rule_name"),
        ("node-api", "00000000000000bb", "rule_name"),
    ] {
        let documents = &stored.as_ref().unwrap().1;
        let document = documents
            .iter()
            .find(|document| document.name == name)
            .unwrap();
        assert_eq!(document.parent_id.as_deref(), Some(parent));
        assert_eq!(document.body["aws"]["xray"][rule], "Default", "{name}");
        assert_eq!(
            document.body["subsegments"][0]["annotations"]["order_id"],
            "A-1003"
        );
    }
    let mut command = python::client("aws", &world.url());
    command.args([
        "xray",
        "get-trace-graph",
        "--output",
        "json",
        "--trace-ids",
        TRACE,
    ]);
    let graph: Value = serde_json::from_str(&world.run(command).await).unwrap();
    let services = graph["Services"].as_array().unwrap();
    let shop = services
        .iter()
        .find(|it| it["Name"] == "shop" && it["Type"] != "client")
        .unwrap();
    let mut called: Vec<_> = shop["Edges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let callee = services
                .iter()
                .find(|it| it["ReferenceId"] == edge["ReferenceId"]);
            callee.unwrap()["Name"].as_str().unwrap()
        })
        .collect();
    called.sort_unstable();
    assert_eq!(called, ["node-api", "order-worker", "python-worker"]);
}
