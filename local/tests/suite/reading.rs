//! The subcommands that read traces, against the X-Ray API of a local server.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tracestitch_traces::api::Server;
use tracestitch_traces::store::{Limits, Store};

const ORDER: &str = "1-581cf771-a006649127e371903a2de979";
const INVOCATION: &str = "1-581cf771-b006649127e371903a2de979";

/// Documents of an order whose handling failed, a minute ago.
fn documents() -> Vec<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = now.as_secs_f64() - 60.0;
    vec![
        json!({"trace_id": ORDER, "id": "0000000000000001", "name": "order-api",
            "origin": "AWS::Lambda::Function", "start_time": at, "end_time": at + 0.5,
            "annotations": {"order_id": "A-1003"},
            "http": {"request": {"method": "POST", "url": "http://shop/orders"},
                "response": {"status": 202}},
            "subsegments": [{"id": "0000000000000002", "name": "SQS", "namespace": "aws",
                "start_time": at + 0.25, "end_time": at + 0.375,
                "aws": {"operation": "SendMessage", "queue_url": "https://sqs/1/orders"}}]}),
        json!({"trace_id": ORDER, "id": "0000000000000003", "parent_id": "0000000000000002",
            "name": "order-worker", "origin": "AWS::Lambda::Function", "start_time": at + 2.0,
            "end_time": at + 2.5, "fault": true,
            "cause": {"exceptions": [{"id": "00000000000000ee", "type": "Rejected",
                "message": "nothing to ship"}]},
            "metadata": {"sqs": {"message_id": "m-1", "queue": "arn:aws:sqs:us-east-1:1:orders",
                "receive_count": 1, "queue_ms": 1625, "invocation_trace": INVOCATION}},
            "links": [{"trace_id": INVOCATION, "id": "00000000000000a2"}]}),
        json!({"trace_id": INVOCATION, "id": "00000000000000a1", "name": "order-worker",
            "origin": "AWS::Lambda::Function", "start_time": at + 1.9, "end_time": at + 2.75,
            "subsegments": [{"id": "00000000000000a2", "name": "orders", "start_time": at + 2.0,
                "end_time": at + 2.5, "metadata": {"sqs": {"message_id": "m-1",
                    "receive_count": 1}},
                "links": [{"trace_id": ORDER, "id": "0000000000000003"}]}]}),
    ]
}

/// Starts a server with documents.
async fn server(documents: &[Value]) -> Server {
    let store = Arc::new(Store::memory(Limits::default()).unwrap());
    let server = Server::start("127.0.0.1:0".parse().unwrap(), store)
        .await
        .unwrap();
    let url = format!("http://{}/TraceSegments", server.address());
    let texts: Vec<String> = documents.iter().map(ToString::to_string).collect();
    let body = json!({"TraceSegmentDocuments": texts});
    let answer = tracestitch_local::client::post_json(&url, &[], &body)
        .await
        .unwrap();
    assert_eq!(
        answer.body["UnprocessedTraceSegments"],
        json!([]),
        "{:?}",
        answer.body
    );
    server
}

async fn run(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let endpoint = format!("http://{}", server.address());
    let arguments: Vec<String> = arguments.iter().map(|it| (*it).to_owned()).collect();
    let run = move || -> Output {
        Command::new(env!("CARGO_BIN_EXE_tracestitch"))
            .args(arguments)
            .args(["--endpoint", &endpoint])
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_listed_and_printed() {
    let server = server(&documents()).await;
    let (code, out, error) = run(
        &server,
        &["traces", "--filter", "annotation.order_id = \"A-1003\""],
    )
    .await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with(ORDER), "{out}");
    assert!(
        out.contains("order-api  POST http://shop/orders 202"),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1, "{out}");
    let (code, out, _) = run(&server, &["traces", "--json", "--sort", "duration"]).await;
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &json["version"], &json["traces"][0]["id"]),
        (Some(0), &json!(1), &json!(ORDER))
    );
    let (code, out, error) = run(&server, &["trace", ORDER]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.contains("└─ order-worker  [AWS::Lambda::Function]"),
        "{out}"
    );
    assert!(out.contains("! Rejected: nothing to ship"), "{out}");
    let (_, out, _) = run(&server, &["trace", "--json", ORDER]).await;
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["trace"]["nodes"][0]["name"], "order-api");
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_followed_through_its_queue() {
    let server = server(&documents()).await;
    let (code, out, error) = run(&server, &["follow", "annotation.order_id = \"A-1003\""]).await;
    assert_eq!(code, Some(0), "{error}");
    for expected in [
        "story of 2 traces",
        "first failure: function order-worker  order-worker: fault: Rejected: nothing to ship",
        "request POST http://shop/orders  status 202",
        "queue orders  waited 1625.0 ms  receive 1  message m-1",
        &format!("invocation {INVOCATION}  850.0 ms"),
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    let (_, out, _) = run(
        &server,
        &["follow", "--json", "service(\"order-worker\") { fault }"],
    )
    .await;
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["stories"].as_array().unwrap().len(), 1, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_and_map_are_printed() {
    let server = server(&documents()).await;
    let (code, out, error) = run(&server, &["stats", "--against", "fault"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("SQS SendMessage"), "{out}");
    assert!(out.contains("SQS SendMessage: new"), "{out}");
    let (code, out, error) = run(&server, &["map"]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(
        out.contains("order-api [AWS::Lambda::Function]  1 calls"),
        "{out}"
    );
    assert!(
        out.contains("  -> order-worker [AWS::Lambda::Function]"),
        "{out}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_found_and_errors_have_their_exit_codes() {
    let server = server(&[]).await;
    for arguments in [
        &["traces"][..],
        &["trace", ORDER],
        &["follow", "ok"],
        &["stats"],
        &["map"],
    ] {
        let (code, _, error) = run(&server, arguments).await;
        assert_eq!(code, Some(1), "{arguments:?}: {error}");
    }
    let (code, _, error) = run(&server, &["traces", "--filter", "duration > fast"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("expected a number"), "{error}");
}
