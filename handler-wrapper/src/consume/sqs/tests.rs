mod consumer;
#[cfg(feature = "tracing")]
mod reports;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::{
    settings::carriers::Carriers,
    tests::{
        header::{PARENT, ROOT, SAMPLED},
        kept::{Kept, invoke, invoke_in},
    },
    trace::{context::Context, deadline::Deadline, trace::Trace},
};

fn message(id: &str, header: &str) -> SqsMessage {
    let mut message = SqsMessage::default();
    message.message_id = Some(id.to_owned());
    message.event_source_arn = Some("arn:aws:sqs:eu-west-1:123456789012:orders".to_owned());
    message
        .attributes
        .insert("ApproximateReceiveCount".to_owned(), "2".to_owned());
    message
        .attributes
        .insert("SentTimestamp".to_owned(), "1478293361000".to_owned());
    if !header.is_empty() {
        message
            .attributes
            .insert("AWSTraceHeader".to_owned(), header.to_owned());
    }
    message
}

fn batch(messages: impl IntoIterator<Item = SqsMessage>) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = messages.into_iter().collect();
    event
}

fn producer(digit: char) -> (String, String) {
    let root = format!("1-5759e988-{}", digit.to_string().repeat(24));
    let parent = digit.to_string().repeat(16);
    (format!("Root={root};Parent={parent};Sampled=1"), root)
}

/// Returns the documents of messages, in order of their ends.
fn segments(kept: &Kept) -> Vec<Value> {
    let mut documents = kept.closed();
    documents.retain(|document| document.get("origin").is_some());
    documents
}

/// Returns a deadline of which half is left for messages to begin, however busy the machine is.
fn limit(milliseconds: u64) -> Deadline {
    let began = Instant::now();
    Deadline {
        began,
        ends: began + Duration::from_millis(milliseconds),
    }
}

fn failures(response: &SqsBatchResponse) -> Vec<&str> {
    response
        .batch_item_failures
        .iter()
        .map(|f| &*f.item_identifier)
        .collect()
}

#[tokio::test]
async fn message_is_a_segment_in_its_producers_trace() {
    let kept = Kept::default();
    let (a, b) = (producer('a'), producer('b'));
    let event = batch([message("m-a", &a.0), message("m-b", &b.0)]);
    let response = kept
        .invoke(
            SAMPLED,
            each(event, |message| async move {
                let id = message.message_id.unwrap();
                crate::capture(format!("work {id}"), async {}).await;
                Ok::<_, std::fmt::Error>(())
            }),
        )
        .await;
    assert!(failures(&response).is_empty());

    let invocation = kept.closed().pop().unwrap();
    assert_eq!(invocation["trace_id"], ROOT);
    for (id, (_, root), parent) in [("m-a", &a, 'a'), ("m-b", &b, 'b')] {
        let work = kept.one(&format!("work {id}"));
        let documents = kept.closed();
        let find = |id: &Value| documents.iter().find(|d| d["id"] == *id).unwrap();
        let segment = find(&work["parent_id"]);
        assert_eq!(segment["name"], "order-worker");
        assert_eq!(
            (&segment["trace_id"], &work["trace_id"]),
            (&json!(root), &json!(root))
        );
        assert_eq!(segment["parent_id"], json!(parent.to_string().repeat(16)));
        assert_eq!(segment["origin"], "AWS::Lambda::Function");
        assert!(segment.get("type").is_none());
        assert_eq!(
            segment["links"][0]["attributes"],
            json!({ "aws.xray.reserved.reference_type": "parent" })
        );
        assert_eq!(segment["aws"]["request_id"], "r-1");
        let facts = &segment["metadata"]["sqs"];
        assert_eq!(
            (&facts["message_id"], &facts["receive_count"]),
            (&json!(id), &json!(2))
        );
        let now = crate::support::clock::now().as_micros() / 1000;
        let waited = facts["queue_ms"].as_u64().unwrap();
        assert!((1..=now - 1_478_293_361_000).contains(&waited), "{waited}");

        // The two traces point at each other.
        let pointer = find(&segment["links"][0]["id"]);
        assert_eq!(
            (&pointer["name"], &pointer["trace_id"]),
            (&json!("orders"), &json!(ROOT))
        );
        assert_eq!(pointer["parent_id"], invocation["id"]);
        assert_eq!(
            pointer["links"],
            json!([{
                "trace_id": root, "id": segment["id"],
                "attributes": { "aws.xray.reserved.reference_type": "child" },
            }])
        );
    }
}

#[tokio::test]
async fn unsampled_message_is_not_recorded_and_its_calls_are_unsampled() {
    let kept = Kept::default();
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    for invocation in [SAMPLED.to_owned(), header.clone(), String::new()] {
        let event = batch([message("m", &header)]);
        let expected = &header;
        let response = kept
            .invoke(
                &invocation,
                each(event, |_| async move {
                    let outgoing = Context::current().trace_header().unwrap().to_string();
                    assert_eq!(&outgoing, expected);
                    crate::capture("inner", async {}).await;
                    Ok::<_, std::fmt::Error>(())
                }),
            )
            .await;
        assert!(failures(&response).is_empty());
    }
    assert!(
        kept.closed()
            .iter()
            .all(|d| d["name"] != "inner" && d.get("origin").is_none())
    );
}

#[tokio::test]
async fn message_without_context_is_handled_in_the_invocations_trace() {
    let kept = Kept::default();
    kept.invoke(
        SAMPLED,
        each(batch([message("m", "")]), |_| async {
            crate::capture("inner", async {}).await;
            Err::<(), _>("no stock".parse::<i32>().unwrap_err())
        }),
    )
    .await;
    let around = kept.one("orders");
    assert_eq!(kept.one("inner")["parent_id"], around["id"]);
    assert_eq!(
        (&around["trace_id"], &around["fault"]),
        (&json!(ROOT), &json!(true))
    );
}

#[tokio::test]
async fn sampled_message_is_recorded_in_an_invocation_without_a_trace() {
    let kept = Kept::default();
    let (header, root) = producer('a');
    kept.invoke(
        "",
        each(batch([message("m", &header)]), |_| async {
            Ok::<_, std::fmt::Error>(())
        }),
    )
    .await;
    let documents = kept.closed();
    assert_eq!(documents.len(), 1, "{documents:?}");
    assert_eq!(documents[0]["trace_id"], json!(root));
}

#[tokio::test]
async fn messages_outside_an_invocation_are_handled() {
    let event = batch([message("m-1", &producer('a').0), message("m-2", "")]);
    let response = each(event, |message| async move {
        assert!(Context::current().trace_header().is_none());
        message
            .message_id
            .filter(|id| id == "m-1")
            .ok_or(std::fmt::Error)
    })
    .await;
    assert_eq!(failures(&response), ["m-2"]);
}

#[tokio::test]
async fn linked_messages_stay_in_the_invocations_trace() {
    let kept = Kept::default();
    let (header, root) = producer('a');
    let consumer =
        Consumer::new().mode_for(|message: &SqsMessage| match message.message_id.as_deref() {
            Some("m-link") => Mode::Link,
            Some("m-panic") => panic!("no choice"),
            _ => Mode::Stitch,
        });
    let event = batch(["m-link", "m-panic", "m-stitch"].map(|id| message(id, &header)));
    let response = kept.invoke(
        SAMPLED,
        consumer.each(event, async |message| {
            let outgoing = Context::current().trace_header().unwrap();
            crate::annotate("outgoing", outgoing.root.to_string());
            crate::annotate("message", message.message_id.unwrap());
            Ok::<_, std::fmt::Error>(())
        }),
    );
    assert!(failures(&response.await).is_empty());
    assert_eq!(segments(&kept).len(), 2, "for the other two");
    let linked = kept
        .closed()
        .into_iter()
        .find(|document| document["annotations"]["message"] == "m-link")
        .unwrap();
    assert_eq!(
        (&linked["trace_id"], &linked["annotations"]["outgoing"]),
        (&json!(ROOT), &json!(ROOT))
    );
    assert_eq!(
        linked["links"],
        json!([{
            "trace_id": root, "id": "a".repeat(16),
            "attributes": { "aws.xray.reserved.reference_type": "parent" },
        }])
    );
}

#[tokio::test]
async fn one_mode_can_apply_to_all_messages() {
    for (mode, stitched) in [(Mode::Link, 0), (Mode::Stitch, 2)] {
        let kept = Kept::default();
        let event = batch(["m-1", "m-2"].map(|id| message(id, &producer('a').0)));
        let consumer = Consumer::new().mode(mode);
        let work = consumer.each(event, async |_| Ok::<_, std::fmt::Error>(()));
        assert!(failures(&kept.invoke(SAMPLED, work).await).is_empty());
        assert_eq!(segments(&kept).len(), stitched, "{mode:?}");
    }
}

#[tokio::test]
async fn repeated_traces_and_deliveries_are_separate_segments() {
    let kept = Kept::default();
    let header = producer('a').0;
    for receive in ["1", "2"] {
        let mut again = message("again", &header);
        again
            .attributes
            .insert("ApproximateReceiveCount".to_owned(), receive.to_owned());
        let event = batch([again, message("other", &header)]);
        let work = each(event, |_| async { Ok::<_, std::fmt::Error>(()) });
        kept.invoke(SAMPLED, work).await;
    }
    let segments = segments(&kept);
    let ids: HashSet<_> = segments.iter().map(|s| s["id"].to_string()).collect();
    assert_eq!((segments.len(), ids.len()), (4, 4));
    let pointed: HashSet<_> = segments
        .iter()
        .map(|s| s["links"][0]["id"].to_string())
        .collect();
    assert_eq!(pointed.len(), 4, "each has a pointer of its own");
    let counts: Vec<_> = segments
        .iter()
        .filter(|s| s["metadata"]["sqs"]["message_id"] == "again")
        .map(|s| s["metadata"]["sqs"]["receive_count"].clone())
        .collect();
    assert_eq!(counts, [json!(1), json!(2)]);
}

#[tokio::test]
async fn root_alone_is_passed_on_unchanged() {
    let kept = Kept::default();
    for header in [
        format!("Root={ROOT}"),
        format!("Root={ROOT};Sampled=?;Lineage=a87bd80c:1"),
    ] {
        let expected = &header;
        let work = each(batch([message("m", &header)]), |_| async move {
            let outgoing = Context::current().trace_header().unwrap();
            assert_eq!(&outgoing.to_string(), expected);
            assert!(!Context::current().is_recording());
            Ok::<_, std::fmt::Error>(())
        });
        assert!(failures(&kept.invoke(SAMPLED, work).await).is_empty());
    }
    assert!(segments(&kept).is_empty());
}

#[tokio::test]
async fn call_can_be_made_unsampled() {
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        let fan_out = async {
            crate::capture("not recorded", async {}).await;
            Context::current().trace_header().unwrap()
        };
        let outgoing = Context::current().unsampled().scope(fan_out).await;
        assert_eq!(outgoing.sampling, Sampling::NotSampled);
        assert_eq!(outgoing.root.to_string(), ROOT);
        assert!(Context::current().is_recording(), "only there");
    })
    .await;
    assert_eq!(kept.closed().len(), 1);
    assert!(Context::current().unsampled().trace_header().is_none());
}

#[test]
fn is_sampled_reads_the_decision_of_the_producer() {
    for (header, expected) in [
        (producer('a').0, true),
        (format!("Root={ROOT};Sampled=0"), false),
        (format!("Root={ROOT}"), false),
        ("Sampled=1".to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(is_sampled(&message("m", &header)), expected, "{header}");
    }
}

#[tokio::test]
async fn ignored_carriers_do_not_count() {
    let mut tracer = Kept::default().tracer();
    let ignored = Carriers::parse_ignored("sqs").unwrap();
    tracer.carriers = Carriers::new(ignored, Vec::new());
    let message = message("m", &producer('a').0);
    assert!(is_sampled(&message), "outside of it");
    let work = async { assert!(!is_sampled(&message)) };
    invoke_in(Trace::new(Arc::new(tracer), None, "r-1"), work).await;
}

#[tokio::test]
async fn failures_of_unsampled_messages_are_recorded_with_errors_always() {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    let root = "1-5759e988-aaaaaaaaaaaaaaaaaaaaaaaa";
    let header = format!("Root={root};Parent={PARENT};Sampled=0");
    let event = batch([
        message("good", &header),
        message("bad", &header),
        message("bad", ""),
    ]);
    let work = each(event, async |message| {
        crate::capture("work", async {}).await;
        let good = message.message_id.as_deref() == Some("good");
        good.then_some(()).ok_or(std::fmt::Error)
    });
    let invocation = Trace::new(
        Arc::new(tracer),
        format!("Root={ROOT};Sampled=0").parse().ok(),
        "r-1",
    );
    invoke_in(invocation, work).await;
    let segments = segments(&kept);
    let traces: Vec<_> = segments.iter().map(|s| s["trace_id"].clone()).collect();
    assert_eq!(
        traces,
        [root, ROOT],
        "a message, and the invocation for the other"
    );
    assert!(
        segments
            .iter()
            .all(|s| s["annotations"]["unsampled"] == true)
    );
    assert_eq!(segments[0]["metadata"]["sqs"]["message_id"], "bad");
    let closed = kept.closed();
    assert_eq!(closed.iter().filter(|d| d["name"] == "work").count(), 2);
    assert_eq!(kept.extension().1, [""; 0], "nothing is left of the others");
}

#[tokio::test]
async fn local_rule_decides_for_messages() {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.sampling = "source=sqs rate=1".parse().unwrap();
    let event = batch([
        message("undecided", &format!("Root={ROOT}")),
        message("decided", &format!("Root={ROOT};Sampled=0")),
    ]);
    let work = each(event, |_| async { Ok::<_, std::fmt::Error>(()) });
    invoke_in(Trace::new(Arc::new(tracer), None, "r-1"), work).await;
    let segments = segments(&kept);
    assert_eq!(segments.len(), 1, "{segments:?}");
    assert_eq!(segments[0]["metadata"]["sqs"]["message_id"], "undecided");
}

#[tokio::test]
async fn no_rule_begins_a_trace_inside_another() {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.sampling = "rate=1".parse().unwrap();
    let work = each(batch([message("plain", "")]), |_| async {
        Ok::<_, std::fmt::Error>(())
    });
    assert!(failures(&invoke(tracer, SAMPLED, work).await).is_empty());
    assert!(segments(&kept).is_empty());
    assert_eq!(kept.one("orders")["trace_id"], ROOT);
}

#[tokio::test]
async fn messages_given_up_in_an_unsampled_invocation_are_recorded_with_errors_always() {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    let event = batch([message("stuck", "")]);
    let consumer = Consumer::new().deadline_margin(Duration::from_millis(1_500));
    let work = consumer.each(event, async |_| {
        std::future::pending::<()>().await;
        Ok::<_, std::fmt::Error>(())
    });
    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let invocation = Trace {
        deadline: Some(limit(2_000)),
        ..Trace::new(Arc::new(tracer), unsampled.parse().ok(), "r-1")
    };
    assert_eq!(failures(&invoke_in(invocation, work).await), ["stuck"]);
    let orders = kept.one("orders");
    let exception = &orders["cause"]["exceptions"][0];
    assert_eq!(exception["type"], "Cancelled");
    let message = exception["message"].as_str().unwrap();
    assert!(message.contains("deadline_margin"), "{message}");
}

/// The invocation's trace is most likely discarded, so nothing points to it.
#[tokio::test]
async fn sampled_message_does_not_point_to_a_tail_sampled_invocation() {
    for (fails, reason) in [
        (false, "nothing of the invocation is sent"),
        (true, "all of it"),
    ] {
        let kept = Kept::default();
        let mut tracer = kept.tracer();
        tracer.errors_always = true;
        let (header, root) = producer('a');
        let work = async {
            let event = batch([message("m", &header)]);
            each(event, |_| async { Ok::<_, std::fmt::Error>(()) }).await;
            if fails {
                crate::record_error(&std::fmt::Error);
            }
        };
        let unsampled = format!("Root={ROOT};Sampled=0").parse().ok();
        invoke_in(Trace::new(Arc::new(tracer), unsampled, "r-1"), work).await;
        let documents = kept.closed();
        assert_eq!(documents.len(), if fails { 3 } else { 1 }, "{reason}");
        let segment = documents.iter().find(|d| d["trace_id"] == *root).unwrap();
        assert_eq!(segment.get("links"), None, "{reason}");
        if fails {
            // A document that is sent in the end points to a sent one.
            assert_eq!(kept.one("orders")["links"][0]["id"], segment["id"]);
        }
    }
}
