use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tower::{Layer, ServiceExt};

use super::*;
use crate::{
    context::Context,
    testing::{Kept, PARENT, ROOT, SAMPLED, invoke_in},
    trace::{Deadline, Trace},
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

/// The documents of messages, in the order in which they finished.
fn segments(kept: &Kept) -> Vec<Value> {
    let mut documents = kept.closed();
    documents.retain(|document| document.get("origin").is_some());
    documents
}

fn failures(response: &SqsBatchResponse) -> Vec<&str> {
    response
        .batch_item_failures
        .iter()
        .map(|f| &*f.item_identifier)
        .collect()
}

#[tokio::test]
async fn each_message_is_a_segment_in_its_producers_trace() {
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
        let facts = &segment["metadata"]["sqs"];
        assert_eq!(
            (&facts["message_id"], &facts["receive_count"]),
            (&json!(id), &json!(2))
        );
        assert!(facts["queue_ms"].as_i64().unwrap() > 0);

        // The two traces point at each other.
        let pointer = find(&segment["links"][0]["id"]);
        assert_eq!(
            (&pointer["name"], &pointer["trace_id"]),
            (&json!("orders"), &json!(ROOT))
        );
        assert_eq!(pointer["parent_id"], invocation["id"]);
        assert_eq!(
            pointer["links"],
            json!([{ "trace_id": root, "id": segment["id"] }])
        );
    }
}

#[tokio::test]
async fn only_what_failed_comes_back() {
    let kept = Kept::default();
    let headers = ['a', 'b', 'c'].map(|digit| producer(digit).0);
    let event = batch(
        headers
            .iter()
            .zip(["ok", "err", "panic"])
            .map(|(h, id)| message(id, h)),
    );
    let response = kept
        .invoke(
            SAMPLED,
            each(event, |message| async move {
                match message.message_id.as_deref() {
                    Some("err") => Err(std::io::Error::other("no stock")),
                    Some("panic") => panic!("poison"),
                    _ => Ok(()),
                }
            }),
        )
        .await;
    assert_eq!(failures(&response), ["err", "panic"]);
    let faults: Vec<_> = kept
        .closed()
        .into_iter()
        .filter(|document| document.get("origin").is_some())
        .map(|document| document["cause"]["exceptions"][0]["message"].clone())
        .collect();
    assert_eq!(faults, [json!(null), json!("no stock"), json!("poison")]);
}

#[tokio::test]
async fn what_is_not_sampled_is_carried_on_and_not_recorded() {
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
async fn without_context_a_message_is_handled_in_the_invocations_trace() {
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
async fn a_sampled_message_is_recorded_in_an_invocation_without_a_trace() {
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
async fn outside_an_invocation_messages_are_just_handled() {
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

fn limit(milliseconds: u64) -> Deadline {
    let began = Instant::now();
    Deadline {
        began,
        ends: began + Duration::from_millis(milliseconds),
    }
}

#[tokio::test]
async fn messages_overlap_up_to_the_limit() {
    for (limit, expected) in [(0, 1), (1, 1), (3, 3), (100, 8)] {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let event = batch((0..8).map(|n| message(&format!("m-{n}"), "")));
        let work = Consumer::new().concurrency(limit).each(event, async |_| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, std::fmt::Error>(())
        });
        assert!(failures(&work.await).is_empty());
        assert_eq!(most.into_inner(), expected, "limit {limit}");
    }
}

#[tokio::test]
async fn after_a_failure_the_rest_of_its_group_comes_back_unprocessed() {
    let event = batch(
        ["a1", "b1", "a2!", "b2", "a3", "c1!", "b3", "c2"].map(|id| {
            let mut message = message(id, "");
            message.event_source_arn = Some("arn:aws:sqs:eu-west-1:123456789012:o.fifo".to_owned());
            let group = id[..1].to_owned();
            message
                .attributes
                .insert("MessageGroupId".to_owned(), group);
            message
        }),
    );
    let handled = Mutex::new(Vec::new());
    let response = Consumer::new().concurrency(4).each(event, async |message| {
        let id = message.message_id.unwrap();
        // Later messages of a group are quicker: only the rule keeps them in order.
        for _ in 0..20 / id[1..2].parse::<usize>().unwrap() {
            tokio::task::yield_now().await;
        }
        handled.lock().unwrap().push(id.clone());
        (!id.ends_with('!')).then_some(()).ok_or(std::fmt::Error)
    });
    assert_eq!(failures(&response.await), ["a2!", "a3", "c1!", "c2"]);
    let handled = handled.into_inner().unwrap();
    for (group, expected) in [("a", vec!["a1", "a2!"]), ("b", vec!["b1", "b2", "b3"])] {
        let of_group = handled.iter().filter(|id| id.starts_with(group));
        assert_eq!(of_group.collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn what_is_not_done_before_the_margin_comes_back() {
    let kept = Kept::default();
    let event = batch(["done", "stuck", "later"].map(|id| message(id, &producer('a').0)));
    let begun = Mutex::new(Vec::new());
    let response = kept
        .invoke_until(
            SAMPLED,
            Some(limit(200)),
            Consumer::new()
                .deadline_margin(Duration::from_millis(150))
                .each(event, async |message| {
                    let id = message.message_id.unwrap();
                    let stuck = id == "stuck";
                    begun.lock().unwrap().push(id);
                    if stuck {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, std::fmt::Error>(())
                }),
        )
        .await;
    assert_eq!(failures(&response), ["stuck", "later"]);
    assert_eq!(begun.into_inner().unwrap(), ["done", "stuck"]);
    let cancelled: Vec<_> = segments(&kept)
        .into_iter()
        .map(|segment| segment["cause"]["exceptions"][0]["type"].clone())
        .collect();
    assert_eq!(cancelled, [Value::Null, json!("Cancelled")]);
}

#[tokio::test]
async fn messages_that_never_wait_are_given_up_in_time_too() {
    let event = batch((0..100).map(|n| message(&format!("m-{n}"), "")));
    let deadline = limit(100);
    let work = Consumer::new().each(event, |_| {
        while deadline.less(MARGIN_IN_TESTS).elapsed() == Duration::ZERO {
            std::thread::yield_now();
        }
        std::future::ready(Ok::<_, std::fmt::Error>(()))
    });
    let response = Kept::default().invoke_until("", Some(deadline), work).await;
    assert_eq!(failures(&response).len(), 99, "the first one is done");
}

const MARGIN_IN_TESTS: Duration = Duration::from_secs(3);

#[test]
fn a_margin_leaves_half_of_the_time_for_work() {
    let deadline = limit(1000);
    for (margin, left) in [(0, 1000), (300, 700), (500, 500), (800, 500), (9000, 500)] {
        let until = deadline.less(Duration::from_millis(margin));
        assert_eq!(
            until.duration_since(deadline.began),
            Duration::from_millis(left)
        );
    }
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
        json!([{ "trace_id": root, "id": "a".repeat(16) }])
    );
}

#[tokio::test]
async fn one_trace_twice_and_one_message_again_are_segments_of_their_own() {
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
async fn root_alone_goes_on_as_it_came() {
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
async fn a_batch_of_ten_thousand_is_not_all_pointed_to() {
    let kept = Kept::default();
    let headers: Vec<_> = (1..=10_000u64)
        .map(|n| format!("Root=1-5759e988-{n:024x};Parent={n:016x};Sampled=1"))
        .collect();
    let event = batch(headers.iter().map(|header| message("m", header)));
    let work = Consumer::new()
        .concurrency(16)
        .each(event, |_| async { Ok::<_, std::fmt::Error>(()) });
    assert!(failures(&kept.invoke(SAMPLED, work).await).is_empty());
    let segments = segments(&kept);
    let traces: HashSet<_> = segments.iter().map(|s| s["trace_id"].to_string()).collect();
    assert_eq!((segments.len(), traces.len()), (10_000, 10_000));
    let documents = kept.closed();
    let pointers = documents.iter().filter(|d| d["name"] == "orders").count();
    assert_eq!(pointers, 100);
    assert!(
        segments.iter().all(|s| s["links"][0]["trace_id"] == ROOT),
        "all of them point back"
    );
}

#[tokio::test]
async fn it_is_a_tower_service() {
    let kept = Kept::default();
    let inner = tower::service_fn(async |message: SqsMessage| {
        message.message_id.filter(|id| id != "bad").ok_or("refused")
    });
    let service = Consumer::new().concurrency(2).layer(inner);
    let event = batch(["good", "bad"].map(|id| message(id, &producer('a').0)));
    let event = lambda_runtime::LambdaEvent::new(event, lambda_runtime::Context::default());
    let response = kept.invoke(SAMPLED, service.oneshot(event)).await.unwrap();
    assert_eq!(failures(&response), ["bad"]);
    let causes: Vec<_> = segments(&kept)
        .into_iter()
        .map(|s| s["cause"]["exceptions"][0]["message"].clone())
        .collect();
    assert_eq!(causes, [Value::Null, json!("refused")]);
}

#[tokio::test]
async fn a_call_can_be_made_unsampled() {
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
fn sampled_messages_are_told_apart() {
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
async fn failures_of_unsampled_messages_are_recorded_when_asked_for() {
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
async fn unsampled_messages_that_are_given_up_are_recorded_when_asked_for() {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    let unsampled = format!("Root={ROOT};Sampled=0");
    let event = batch([message("stuck", &unsampled)]);
    let consumer = Consumer::new().deadline_margin(Duration::from_millis(150));
    let work = consumer.each(event, async |_| {
        std::future::pending::<()>().await;
        Ok::<_, std::fmt::Error>(())
    });
    let invocation = Trace {
        deadline: Some(limit(200)),
        ..Trace::new(Arc::new(tracer), None, "r-1")
    };
    assert_eq!(failures(&invoke_in(invocation, work).await), ["stuck"]);
    let segments = segments(&kept);
    assert_eq!(segments.len(), 1, "{segments:?}");
    assert_eq!(segments[0]["cause"]["exceptions"][0]["type"], "Cancelled");
    assert_eq!(kept.extension().1, [""; 0]);
}

#[tokio::test]
async fn a_local_rule_decides_for_messages() {
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
async fn messages_of_an_unsampled_invocation_that_are_given_up_are_recorded_when_asked_for() {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    let event = batch([message("stuck", "")]);
    let consumer = Consumer::new().deadline_margin(Duration::from_millis(150));
    let work = consumer.each(event, async |_| {
        std::future::pending::<()>().await;
        Ok::<_, std::fmt::Error>(())
    });
    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let invocation = Trace {
        deadline: Some(limit(200)),
        ..Trace::new(Arc::new(tracer), unsampled.parse().ok(), "r-1")
    };
    assert_eq!(failures(&invoke_in(invocation, work).await), ["stuck"]);
    assert_eq!(
        kept.one("orders")["cause"]["exceptions"][0]["type"],
        "Cancelled"
    );
}
