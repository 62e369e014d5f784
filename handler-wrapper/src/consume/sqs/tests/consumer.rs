//! Tests of the schedule of a batch, and of the messages it returns.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use lambda_runtime::{Context as LambdaContext, LambdaEvent, LambdaInvocation};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{TraceLayer, tests::kept};

const MARGIN_IN_TESTS: Duration = Duration::from_secs(3);

/// Longer than any work that ends at all.
const PATIENCE: Duration = Duration::from_secs(60);

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
async fn rest_of_a_group_is_returned_unprocessed_after_a_failure() {
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
async fn messages_unfinished_at_the_margin_are_returned() {
    let kept = Kept::default();
    let event = batch(["done", "stuck", "later"].map(|id| message(id, &producer('a').0)));
    let begun = Mutex::new(Vec::new());
    let response = kept
        .invoke_until(
            SAMPLED,
            Some(limit(2_000)),
            Consumer::new()
                .deadline_margin(Duration::from_millis(1_500))
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
async fn messages_that_never_wait_are_given_up_in_time() {
    let event = batch((0..100).map(|n| message(&format!("m-{n}"), "")));
    let deadline = limit(1_000);
    let work = Consumer::new().each(event, |_| {
        while deadline.less(MARGIN_IN_TESTS).elapsed() == Duration::ZERO {
            std::thread::yield_now();
        }
        std::future::ready(Ok::<_, std::fmt::Error>(()))
    });
    let response = Kept::default().invoke_until("", Some(deadline), work).await;
    assert_eq!(failures(&response).len(), 99, "the first one is done");
}

#[test]
fn margin_leaves_half_of_the_time_for_work() {
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
async fn pointers_to_a_batch_of_ten_thousand_are_bounded() {
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
    assert_eq!(pointers, 80);
    let links = |document: &Value| document["links"].as_array().map_or(0, Vec::len);
    let of_trace = |is_own: bool| {
        let own = documents
            .iter()
            .filter(|d| (d["trace_id"] == ROOT) == is_own);
        own.map(links).sum::<usize>()
    };
    assert_eq!((of_trace(true), of_trace(false)), (80, 80));
    assert!(
        segments
            .iter()
            .all(|s| s["metadata"]["sqs"]["invocation_trace"] == ROOT),
        "all of them name the invocation's trace"
    );
}

#[tokio::test]
async fn consumer_is_a_tower_layer() {
    let kept = Kept::default();
    let inner = service_fn(async |message: SqsMessage| {
        message.message_id.filter(|id| id != "bad").ok_or("refused")
    });
    let service = Consumer::new().concurrency(2).layer(inner);
    let event = batch(["good", "bad"].map(|id| message(id, &producer('a').0)));
    let event = LambdaEvent::new(event, LambdaContext::default());
    let response = kept.invoke(SAMPLED, service.oneshot(event)).await.unwrap();
    assert_eq!(failures(&response), ["bad"]);
    let causes: Vec<_> = segments(&kept)
        .into_iter()
        .map(|s| s["cause"]["exceptions"][0]["message"].clone())
        .collect();
    assert_eq!(causes, [Value::Null, json!("refused")]);
}

#[tokio::test]
async fn unsampled_messages_given_up_are_recorded_with_errors_always() {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    let unsampled = format!("Root={ROOT};Sampled=0");
    let event = batch([message("stuck", &unsampled)]);
    let consumer = Consumer::new().deadline_margin(Duration::from_millis(1_500));
    let work = consumer.each(event, async |_| {
        std::future::pending::<()>().await;
        Ok::<_, std::fmt::Error>(())
    });
    let invocation = Trace {
        deadline: Some(limit(2_000)),
        ..Trace::new(Arc::new(tracer), None, "r-1")
    };
    assert_eq!(failures(&invoke_in(invocation, work).await), ["stuck"]);
    let segments = segments(&kept);
    assert_eq!(segments.len(), 1, "{segments:?}");
    assert_eq!(segments[0]["cause"]["exceptions"][0]["type"], "Cancelled");
    assert_eq!(kept.extension().1, [""; 0]);
}

#[tokio::test]
async fn only_failed_messages_are_returned() {
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

/// A value that must not be dropped in asynchronous code, such as some clients.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[tokio::test]
async fn message_that_panics_when_given_up_affects_no_other() {
    let kept = Kept::default();
    let ids = ["done", "bomb-1", "bomb-2", "stuck"];
    let event = batch(ids.map(|id| message(id, &producer('a').0)));
    let consumer = Consumer::new()
        .concurrency(4)
        .deadline_margin(Duration::from_millis(1_500));
    let work = consumer.each(event, async |message| {
        let id = message.message_id.unwrap();
        if id == "done" {
            return Ok::<_, std::fmt::Error>(());
        }
        let _bomb = id.starts_with("bomb").then(|| Bomb);
        std::future::pending().await
    });
    let response = kept.invoke_until(SAMPLED, Some(limit(2_000)), work).await;
    assert_eq!(failures(&response), ["bomb-1", "bomb-2", "stuck"]);
    let of = |id: &str| {
        let mut segments = segments(&kept);
        segments.retain(|segment| segment["metadata"]["sqs"]["message_id"] == id);
        assert_eq!(segments.len(), 1, "{id}");
        segments[0]["cause"]["exceptions"][0]["type"].clone()
    };
    let causes = [
        Value::Null,
        "panic".into(),
        "panic".into(),
        "Cancelled".into(),
    ];
    assert_eq!(ids.map(of), causes);
}

#[tokio::test]
async fn past_deadline_leaves_all_unprocessed() {
    let began = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    let passed = Deadline {
        began,
        ends: began + Duration::from_secs(30),
    };
    let event = batch((0..3).map(|n| message(&format!("m-{n}"), &producer('a').0)));
    let work = Consumer::new().concurrency(2).each(event, async |_| {
        panic!("begun");
        #[expect(unreachable_code, reason = "says of what type the outcome would be")]
        Ok::<_, std::fmt::Error>(())
    });
    let kept = Kept::default();
    let response = kept.invoke_until(SAMPLED, Some(passed), work).await;
    assert_eq!(failures(&response), ["m-0", "m-1", "m-2"]);
    assert!(segments(&kept).is_empty());
}

#[tokio::test]
async fn nested_consumer_records_under_the_outer_message() {
    let kept = Kept::default();
    let (outer, inner) = (producer('a'), producer('b'));
    let event = batch([message("outer", &outer.0)]);
    let work = each(event, async |_| {
        let event = batch([message("inner", &inner.0), message("plain", "")]);
        let done = each(event, async |message| {
            crate::capture(message.message_id.unwrap(), async {}).await;
            Err::<(), _>(std::fmt::Error)
        });
        assert_eq!(failures(&done.await), ["inner", "plain"]);
        Ok::<_, std::fmt::Error>(())
    });
    assert!(failures(&kept.invoke(SAMPLED, work).await).is_empty());
    let of = |id: &str| {
        let mut segments = segments(&kept);
        segments.retain(|segment| segment["metadata"]["sqs"]["message_id"] == id);
        segments.remove(0)
    };
    let (outer_segment, inner_segment) = (of("outer"), of("inner"));
    assert_eq!(outer_segment.get("fault"), None, "{outer_segment}");
    assert_eq!(inner_segment["trace_id"], *inner.1);
    assert_eq!(
        inner_segment["metadata"]["sqs"]["invocation_trace"],
        *outer.1
    );
    let documents = kept.closed();
    let find = |id: &Value| documents.iter().find(|d| d["id"] == *id).unwrap();
    let pointer = find(&inner_segment["links"][0]["id"]);
    assert_eq!(pointer["parent_id"], outer_segment["id"]);
    let plain = find(&kept.one("plain")["parent_id"]);
    assert_eq!(plain["parent_id"], outer_segment["id"]);
    assert_eq!(plain["trace_id"], *outer.1);
}

#[tokio::test]
async fn nested_consumer_has_the_deadline() {
    let event = batch([message("outer", &producer('a').0)]);
    let consumer = Consumer::new().deadline_margin(Duration::MAX);
    let work = consumer.each(event, async |_| {
        let event = batch([message("stuck", &producer('b').0)]);
        let consumer = Consumer::new().deadline_margin(Duration::from_millis(1_500));
        let inner = consumer.each(event, async |_| {
            std::future::pending::<Result<(), std::fmt::Error>>().await
        });
        let response = tokio::time::timeout(PATIENCE, inner).await;
        assert_eq!(failures(&response.expect("it is given up")), ["stuck"]);
        Ok::<_, std::fmt::Error>(())
    });
    let kept = Kept::default();
    let response = kept.invoke_until(SAMPLED, Some(limit(2_000)), work).await;
    assert!(failures(&response).is_empty());
}

#[tokio::test]
async fn closure_that_panics_fails_its_message_only() {
    let kept = Kept::default();
    let event = batch(["bad", "good", "bad"].map(|id| message(id, &producer('a').0)));
    let work = each(event, |message| {
        assert_ne!(message.message_id.as_deref(), Some("bad"), "poison");
        async { Ok::<_, std::fmt::Error>(()) }
    });
    assert_eq!(failures(&kept.invoke(SAMPLED, work).await), ["bad", "bad"]);
    let segments = segments(&kept);
    let causes = segments
        .iter()
        .map(|s| &s["cause"]["exceptions"][0]["type"]);
    assert_eq!(
        causes.collect::<Vec<_>>(),
        [&json!("panic"), &Value::Null, &json!("panic")]
    );
}

#[tokio::test]
async fn message_without_an_id_returns_the_whole_batch() {
    let mut nameless = message("", "");
    nameless.message_id = None;
    let work = each(batch([message("m", ""), nameless]), async |message| {
        message.message_id.map(drop).ok_or(std::fmt::Error)
    });
    assert_eq!(failures(&work.await), [""]);
}

/// Handles a batch of one message that never ends, in the running code.
async fn stuck() -> SqsBatchResponse {
    let consumer = Consumer::new().deadline_margin(PATIENCE);
    let work = consumer.each(batch([message("stuck", "")]), async |_| {
        std::future::pending::<Result<(), std::fmt::Error>>().await
    });
    work.await
}

/// Returns the context of an invocation that ends in a second, of which the margin takes half.
fn ending(header: &str) -> LambdaContext {
    let mut context = kept::context(header);
    context.deadline = crate::support::clock::now().as_micros() / 1000 + 1_000;
    context
}

#[tokio::test]
async fn messages_are_given_up_with_tracing_on_off_and_unsampled() {
    let layers = || {
        [
            ("on", TraceLayer::with(Kept::default().tracer())),
            ("off", TraceLayer::disabled()),
        ]
    };
    let mut cases = Vec::new();
    for header in [SAMPLED, &format!("Root={ROOT};Sampled=0"), ""] {
        for (switch, layer) in layers() {
            let handler = async |_: LambdaEvent<()>| Ok::<_, lambda_runtime::Error>(stuck().await);
            let around_handler = layer.layer(service_fn(handler));
            let event = LambdaEvent::new((), ending(header));
            let work = async { around_handler.oneshot(event).await.unwrap() };
            cases.push((switch, "around the handler", work.boxed_local()));

            let services =
                async |_: LambdaInvocation| Ok::<_, std::convert::Infallible>(stuck().await);
            let around_runtime = layer.layer(service_fn(services));
            let mut invocation = kept::invocation(header, "{}");
            invocation.context = ending(header);
            let work = async { around_runtime.oneshot(invocation).await.unwrap() };
            cases.push((switch, "around the runtime", work.boxed_local()));

            let handler = async |_: LambdaEvent<()>| {
                let task = tokio::spawn(Context::current().scope(stuck()));
                Ok::<_, lambda_runtime::Error>(task.await.unwrap())
            };
            let spawning = layer.layer(service_fn(handler));
            let event = LambdaEvent::new((), ending(header));
            let work = async { spawning.oneshot(event).await.unwrap() };
            cases.push((switch, "in a spawned task", work.boxed_local()));

            let handler = async |_: LambdaEvent<()>| {
                Ok::<_, lambda_runtime::Error>(Context::current().unsampled().scope(stuck()).await)
            };
            let unsampled = layer.layer(service_fn(handler));
            let event = LambdaEvent::new((), ending(header));
            let work = async { unsampled.oneshot(event).await.unwrap() };
            cases.push((switch, "in an unsampled context", work.boxed_local()));
        }
    }
    let each =
        service_fn(|_: SqsMessage| std::future::pending::<Result<(), lambda_runtime::Error>>());
    let each = Consumer::new().deadline_margin(PATIENCE).layer(each);
    let event = LambdaEvent::new(batch([message("stuck", "")]), ending(""));
    let work = async { each.oneshot(event).await.unwrap() };
    cases.push(("never used", "a service of messages", work.boxed_local()));

    let cases = cases.into_iter().map(async |(switch, place, work)| {
        let response = tokio::time::timeout(PATIENCE, work).await;
        let response =
            response.unwrap_or_else(|_| panic!("tracing {switch}, {place}: never given up"));
        assert_eq!(failures(&response), ["stuck"], "tracing {switch}, {place}");
    });
    futures_util::future::join_all(cases).await;
}

/// A span that was made elsewhere has another trace, but the invocation ends when it ends.
#[cfg(feature = "tracing")]
#[tokio::test]
async fn messages_are_given_up_in_the_span_of_another_trace() {
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    let layers = tracing_subscriber::registry().with(crate::SpanLayer::new());
    let _guard = tracing::subscriber::set_default(layers);
    let kept = Kept::default();
    let elsewhere = kept.invoke(SAMPLED, async { tracing::info_span!("elsewhere") });
    let elsewhere = elsewhere.await;
    let work = stuck().instrument(elsewhere);
    let work = kept.invoke_until(SAMPLED, Some(limit(1_000)), work);
    let response = tokio::time::timeout(PATIENCE, work).await;
    assert_eq!(failures(&response.expect("it is given up")), ["stuck"]);
}

#[test]
fn messages_are_given_up_in_a_runtime_without_timers() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let work = Kept::default();
    let work = work.invoke_until(SAMPLED, Some(limit(500)), stuck());
    let response = runtime.unwrap().block_on(work);
    assert_eq!(failures(&response), ["stuck"]);
}

/// Returns the documents of messages in a sampled invocation that fail in each way.
async fn failing(kept: &Kept, header: &str) -> Vec<Value> {
    let event = batch(["stuck", "error", "panic"].map(|id| message(id, header)));
    let consumer = Consumer::new()
        .concurrency(3)
        .deadline_margin(Duration::from_secs(3));
    let work = consumer.each(event, async |message| match message.message_id.as_deref() {
        Some("error") => Err::<(), _>(std::io::Error::other("no stock")),
        Some("panic") => panic!("poison"),
        _ => std::future::pending().await,
    });
    let response = kept.invoke_until(SAMPLED, Some(limit(6_000)), work).await;
    assert_eq!(failures(&response), ["stuck", "error", "panic"]);
    let of = |id: &str| {
        let mut documents = kept.closed();
        documents.retain(|document| document["metadata"]["sqs"]["message_id"] == id);
        documents
    };
    ["stuck", "error", "panic"]
        .iter()
        .flat_map(|id| of(id))
        .collect()
}

#[tokio::test]
async fn failure_of_an_unrecorded_message_is_on_its_pointer() {
    for header in [
        format!("Root={ROOT};Parent={PARENT};Sampled=0"),
        format!("Root={ROOT}"),
        format!("Root={ROOT};Sampled=?"),
    ] {
        let kept = Kept::default();
        let pointers = failing(&kept, &header).await;
        assert_eq!(pointers.len(), 3, "{header}");
        let expected = [
            ("Cancelled", "given up before the invocation's deadline"),
            ("Custom", "no stock"),
            ("panic", "poison"),
        ];
        for (pointer, (kind, message)) in pointers.iter().zip(expected) {
            let exception = &pointer["cause"]["exceptions"][0];
            assert_eq!(
                (&exception["type"], &pointer["fault"]),
                (&kind.into(), &true.into())
            );
            let found = exception["message"].as_str().unwrap();
            assert!(found.starts_with(message), "{header}: {pointer}");
            assert_eq!(pointer["name"], "orders");
        }
    }
}

#[tokio::test]
async fn failure_of_a_recorded_message_is_on_its_segment_alone() {
    let kept = Kept::default();
    let documents = failing(&kept, &producer('a').0).await;
    assert_eq!(documents.len(), 6);
    for document in documents {
        let is_segment = document.get("origin").is_some();
        let cause = &document["cause"]["exceptions"][0]["message"];
        let known = cause
            .as_str()
            .is_some_and(|message| !message.starts_with("dropped"));
        assert_eq!(known, is_segment, "{document}");
    }
}
