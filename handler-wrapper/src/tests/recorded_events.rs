//! Tests of recorded events of each source, from the event to the documents: without a context, and
//! with one at each place where a service or a producer puts it.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::fs;

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, LambdaInvocation, service_fn};
use serde_json::{Map, Value, json};
use tower::{Layer, ServiceExt};

use super::{
    carrying::carrying,
    header::{PARENT, ROOT},
    kept::{Kept, invocation},
    recorded::{self, RECORDED},
};
use crate::{
    incoming::{embed, search},
    layer::settings::TraceLayer,
    settings::carriers::Carriers,
};

/// Events without a place for a context: they have the runtime's alone.
const WITHOUT_A_PLACE: [&str; 3] = [
    "appsync-lambda-auth-request",
    "s3-event",
    "s3-event-with-decoded",
];

#[test]
fn source_of_each_recorded_event_is_recognised() {
    for (origin, name, kind, path, trace) in RECORDED {
        let text = recorded::text(origin, name);
        let event = search::read_event(&text, &Carriers::default());
        let found = (event.source, event.path.as_deref());
        assert_eq!(found, (kind, path), "{origin:?} {name}");
        let header = embed::extract_event(&text).map(|header| header.to_string());
        let expected = trace.map(|id| format!("Root={id}"));
        assert_eq!(header, expected, "{origin:?} {name}");
    }
}

/// Includes responses and parts of events, which no function receives.
#[test]
fn every_recorded_file_is_handled() {
    let files = recorded::files();
    for file in &files {
        let text = fs::read(file).unwrap();
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap();
        let stem = stem.strip_prefix("example-").unwrap_or(stem);
        let brings = RECORDED
            .iter()
            .any(|(_, name, _, _, trace)| *name == stem && trace.is_some());
        let found = [embed::extract_event(&text), embed::extract_body(&text)];
        assert_eq!(found[0].is_some(), brings, "{}", file.display());
        let cut = &text[..text.len() / 2];
        let harmless = embed::extract_event(cut).is_none() || brings;
        assert!(harmless, "{}", file.display());
    }
    assert!(files.len() > 100, "only {} events", files.len());
}

#[tokio::test]
async fn recorded_events_lead_to_the_expected_documents() {
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recorded.md");
    let documented = fs::read_to_string(documented).unwrap();
    for (origin, name, kind, _, _) in RECORDED {
        let bare = recorded::event(origin, name);
        let found = documents(&bare, "").await;
        assert_eq!(
            found,
            [Value::Null; 0],
            "{origin:?} {name}: nobody decided to record it"
        );
        let with = carrying(kind, &bare);
        let place = !matches!(origin, recorded::Origin::Events) || !WITHOUT_A_PLACE.contains(&name);
        assert_eq!(!with.is_empty(), place, "{origin:?} {name}");
        for (source, event) in with {
            let case = format!("{origin:?} {name}, found by {source}");
            let found = documents(&event, "").await;
            assert_eq!(found.len(), 1, "{case}: {found:?}");
            assert_eq!(lasting(&found[0]), expected(kind, &event), "{case}");
            for key in keys(&found[0]) {
                let row = format!("\n| {key} |");
                assert!(
                    documented.contains(&row),
                    "{key} is not in docs/recorded.md"
                );
            }
            let found = documents(&event, source).await;
            assert_eq!(found, [Value::Null; 0], "{case}: that is switched off");
        }
    }
}

/// Passes the event to a function whose runtime has no trace. Returns the finished documents.
async fn documents(event: &Value, ignored: &str) -> Vec<Value> {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    if !ignored.is_empty() {
        tracer.carriers = Carriers::new(Carriers::parse_ignored(ignored).unwrap(), Vec::new());
    }
    let trace = TraceLayer::with(tracer);
    let handler = trace.layer(service_fn(async |event: LambdaEvent<Value>| {
        if event.payload["Records"][0]["eventSource"] == "aws:sqs" {
            let batch: SqsEvent = serde_json::from_value(event.payload)?;
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
        .oneshot(invocation("", event.to_string()))
        .await
        .unwrap();
    kept.closed()
}

/// Returns the expected segment under the producer, of the message or else of the handler.
fn expected(kind: &str, event: &Value) -> Value {
    let mut expected = json!({
        "name": "order-worker", "trace_id": ROOT, "parent_id": PARENT,
        // Lambda sends no segment in a trace that it does not know.
        "origin": "AWS::Lambda::Function", "aws": { "request_id": "r-1" },
    });
    if kind == "sqs" {
        let record = &event["Records"][0];
        let count = &record["attributes"]["ApproximateReceiveCount"];
        expected["metadata"] = json!({ "sqs": {
            "message_id": record["messageId"], "queue": record["eventSourceARN"],
            "receive_count": count.as_str().unwrap().parse::<u32>().unwrap(),
        }});
        expected["annotations"] = json!({ "message_id": record["messageId"] });
    } else {
        expected["annotations"] = json!({ "cold_start": true });
    }
    expected
}

/// Returns the keys of annotations, and of metadata with their namespaces, as the documentation
/// writes them.
fn keys(document: &Value) -> Vec<String> {
    let names = |object: &Value| -> Vec<String> {
        let members = object.as_object().into_iter().flatten();
        members.map(|(name, _)| name.clone()).collect()
    };
    let mut keys = names(&document["annotations"]);
    for namespace in names(&document["metadata"]) {
        let members = names(&document["metadata"][&namespace]);
        keys.extend(members.iter().map(|name| format!("{namespace}.{name}")));
    }
    keys.into_iter().map(|key| format!("`{key}`")).collect()
}

/// Returns a document without its id and times, after a check of the times.
fn lasting(document: &Value) -> Value {
    let mut fields: Map<_, _> = document.as_object().unwrap().clone();
    let mut time = |name: &str| fields.remove(name).and_then(|time| time.as_f64()).unwrap();
    assert!(time("start_time") <= time("end_time"), "{document}");
    let id = fields.remove("id").unwrap();
    assert_eq!(id.as_str().map(str::len), Some(16), "{document}");
    if let Some(Value::Object(facts)) = fields.get_mut("metadata").map(|all| &mut all["sqs"]) {
        let waited = facts.remove("queue_ms").unwrap();
        assert!(waited.as_i64() > Some(0), "{document}");
    }
    fields.into()
}
