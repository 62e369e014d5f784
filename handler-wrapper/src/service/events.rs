//! Each way in which a context reaches a function, from the event as Lambda hands it over to the
//! documents that result. The events are in `tests/events`, each with a context and, as `.bare`,
//! without.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::path::PathBuf;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, service_fn};
use serde_json::Value;
use tower::ServiceExt;

use super::{tests::invocation, *};
use crate::{
    incoming::Sources,
    testing::{Kept, PARENT, ROOT},
};

/// Event, and the source (as `TRACESTITCH_IGNORE` calls it) that brings its context.
const EVENTS: [(&str, &str); 21] = [
    ("api-gateway-rest", "http"),
    ("api-gateway-http", "http"),
    ("api-gateway-websocket", "http"),
    ("load-balancer", "http"),
    ("load-balancer-multi-value", "http"),
    ("function-url", "http"),
    ("appsync", "http"),
    ("vpc-lattice-v1", "w3c"),
    ("vpc-lattice-v2", "http"),
    ("sqs", "sqs"),
    ("sqs-message-attribute", "w3c"),
    ("sns", "w3c"),
    ("sns-in-sqs", "embedded"),
    ("sns-in-sqs-raw", "sqs"),
    ("eventbridge", "envelope"),
    ("eventbridge-in-sqs", "envelope"),
    ("s3-in-sqs", "sqs"),
    ("kinesis", "embedded"),
    ("dynamodb-stream", "embedded"),
    ("step-functions", "embedded"),
    ("direct", "embedded"),
];

/// The text of an event in `tests/events`.
fn text(event: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "events", event]
        .iter()
        .collect();
    std::fs::read_to_string(path.with_added_extension("json")).unwrap()
}

/// Hands the event to a function for which the runtime has no trace, and gives the finished
/// documents.
pub(super) async fn documents(text: &str, ignored: &str) -> Vec<Value> {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    if !ignored.is_empty() {
        tracer.sources = Sources::new(Sources::parse_ignored(ignored).unwrap(), Vec::new());
    }
    let trace = TraceLayer::with(tracer);
    let handler = trace.layer(service_fn(async |event: LambdaEvent<Value>| {
        if let Ok(batch) = serde_json::from_value::<SqsEvent>(event.payload.clone())
            && event.payload["Records"][0]["eventSource"] == "aws:sqs"
        {
            crate::sqs::each(batch, async |_| Ok::<_, Error>(())).await;
        }
        Ok::<_, Error>(Value::Null)
    }));
    let runtime = service_fn(|request: LambdaInvocation| {
        let event = serde_json::from_slice(&request.body).unwrap();
        handler
            .clone()
            .oneshot(LambdaEvent::new(event, request.context))
    });
    trace
        .layer(runtime)
        .oneshot(invocation("", text.to_owned()))
        .await
        .unwrap();
    kept.closed()
}

#[tokio::test]
async fn every_source_brings_its_context() {
    for (event, source) in EVENTS {
        let found = documents(&text(event), "").await;
        assert_eq!(found.len(), 1, "{event}: {found:?}");
        let document = &found[0];
        assert_eq!(document["name"], "order-worker", "{event}");
        assert_eq!(document["trace_id"], ROOT, "{event}");
        assert_eq!(document["parent_id"], PARENT, "{event}");
        let message = &document["metadata"]["sqs"]["message_id"];
        assert_eq!(
            message.is_string(),
            event.contains("sqs"),
            "{event}: a message has a segment, an invocation its handler"
        );
        // Lambda sends none in a trace that it does not know.
        assert_eq!(document["origin"], "AWS::Lambda::Function", "{event}");
        for bare in [
            documents(&text(&format!("{event}.bare")), "").await,
            documents(&text(event), source).await,
        ] {
            assert_eq!(bare, [Value::Null; 0], "{event}");
        }
    }
}
