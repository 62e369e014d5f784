//! The trace as the processes and the daemon get it.

use tokio::{net::UdpSocket, time::timeout};
use tracestitch_local::emulator::Tracing;
use tracestitch_wire::datagram;

use super::*;

const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// Receives the next document.
async fn document(daemon: &UdpSocket) -> Value {
    let mut buffer = vec![0; 65_536];
    let received = timeout(PATIENCE, daemon.recv(&mut buffer)).await;
    let length = received.expect("a document arrives").unwrap();
    serde_json::from_slice(datagram::decode(&buffer[..length]).unwrap()).unwrap()
}

async fn daemon() -> UdpSocket {
    UdpSocket::bind(("127.0.0.1", 0)).await.unwrap()
}

fn names(subsegments: &Value) -> Vec<&str> {
    subsegments
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn extension_gets_the_callers_header_and_runtime_its_own() {
    let caller = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1");
    for (tracing, runtime_gets_callers) in [(Tracing::PassThrough, true), (Tracing::Active, false)]
    {
        let (_directory, paths) = extensions(&["alpha"]);
        let environment = function()
            .extension(&paths[0])
            .tracing(tracing)
            .start()
            .await
            .unwrap();
        let invoke = event(json!({ "do": "describe" }))
            .trace_header(&caller)
            .request_id("r-1");
        let outcome = environment.invoke(invoke).await;
        let got = answer(&outcome)["headers"]["lambda-runtime-trace-id"].clone();
        assert_eq!(
            Some(got.as_str().unwrap()),
            outcome.trace_header.as_deref(),
            "{tracing:?}"
        );
        assert_eq!(
            got == caller.as_str(),
            runtime_gets_callers,
            "{tracing:?}: {got}"
        );
        assert!(
            got.as_str()
                .unwrap()
                .starts_with(&format!("Root={ROOT};Parent=")),
            "{got}"
        );

        let invoked = first_logged(&environment, "alpha", "event").await;
        assert_eq!(invoked["eventType"], "INVOKE");
        assert_eq!(invoked["requestId"], "r-1");
        assert_eq!(
            invoked["tracing"],
            json!({ "type": "X-Amzn-Trace-Id", "value": caller })
        );
    }
}

#[tokio::test]
async fn segments_of_lambda_reach_the_daemon() {
    let daemon = daemon().await;
    let environment = function()
        .tracing(Tracing::Active)
        .xray_daemon(daemon.local_addr().unwrap())
        .start()
        .await
        .unwrap();
    let caller = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1");
    let outcome = environment
        .invoke(event(json!({ "do": "echo" })).trace_header(&caller))
        .await;
    let (service, invoked) = (document(&daemon).await, document(&daemon).await);

    assert_eq!(service["origin"], "AWS::Lambda");
    assert_eq!(service["parent_id"], "53995c3f42cd8ad8");
    assert_eq!(invoked["origin"], "AWS::Lambda::Function");
    assert_eq!(invoked["parent_id"], service["id"]);
    let parent = format!("Parent={}", invoked["id"].as_str().unwrap());
    assert!(
        outcome.trace_header.unwrap().contains(&parent),
        "the function's parent is {parent}"
    );
    for segment in [&service, &invoked] {
        assert_eq!(
            (&segment["name"], &segment["trace_id"]),
            (&json!("sample"), &json!(ROOT))
        );
        assert!(segment.get("fault").is_none());
        assert!(segment["end_time"].as_f64() >= segment["start_time"].as_f64());
    }
    let subsegments = &invoked["subsegments"];
    assert_eq!(
        names(subsegments),
        ["Initialization", "Invocation", "Overhead"]
    );

    answer(
        &environment
            .invoke(event(json!({ "do": "echo" })).trace_header(&caller))
            .await,
    );
    let (_, invoked) = (document(&daemon).await, document(&daemon).await);
    assert_eq!(
        names(&invoked["subsegments"]),
        ["Invocation", "Overhead"],
        "a warm start"
    );
}

#[tokio::test]
async fn failed_invocation_is_a_fault() {
    for (what, parts) in [
        (
            json!({ "do": "error" }),
            &["Initialization", "Invocation", "Overhead"][..],
        ),
        (
            json!({ "do": "exit", "status": 1 }),
            &["Initialization", "Invocation"],
        ),
        (
            json!({ "do": "sleep", "seconds": 600 }),
            &["Initialization", "Invocation"],
        ),
    ] {
        let daemon = daemon().await;
        let environment = function()
            .tracing(Tracing::Active)
            .timeout(Duration::from_secs(2))
            .xray_daemon(daemon.local_addr().unwrap())
            .start()
            .await
            .unwrap();
        let outcome = environment.invoke(event(what.clone())).await;
        assert!(!outcome.is_response(), "{what}");
        let (service, invoked) = (document(&daemon).await, document(&daemon).await);
        assert!(
            service.get("parent_id").is_none(),
            "{what}: the trace begins here"
        );
        assert_eq!(
            (&service["fault"], &invoked["fault"]),
            (&json!(true), &json!(true)),
            "{what}"
        );
        assert_eq!(names(&invoked["subsegments"]), parts, "{what}");
        let cause = (what["do"] == "error").then(|| json!({ "paths": ["sad.py"] }));
        assert_eq!(invoked.get("cause"), cause.as_ref(), "{what}");
    }
}

#[tokio::test]
async fn unsampled_invocation_sends_no_segments() {
    let daemon = daemon().await;
    let environment = function()
        .tracing(Tracing::Active)
        .xray_daemon(daemon.local_addr().unwrap())
        .start()
        .await
        .unwrap();
    let unsampled = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0");
    answer(
        &environment
            .invoke(event(json!({ "do": "echo" })).trace_header(&unsampled))
            .await,
    );
    let sampled = unsampled
        .replace("Sampled=0", "Sampled=1")
        .replace("5759e988", "6759e988");
    answer(
        &environment
            .invoke(event(json!({ "do": "echo" })).trace_header(&sampled))
            .await,
    );
    let first = document(&daemon).await;
    assert!(
        sampled.contains(first["trace_id"].as_str().unwrap()),
        "{first}"
    );
}
