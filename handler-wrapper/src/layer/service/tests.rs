use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use lambda_runtime::{Error, service_fn};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::tests::{
    header::{PARENT, ROOT, SAMPLED},
    kept::{Event, Kept, context, invocation},
};

/// Runs one invocation of `handler` under both services, stacked as a runtime stacks them.
async fn invoke<F>(kept: &Kept, header: &str, body: &str, handler: F) -> Result<Value, Diagnostic>
where
    F: AsyncFn() -> Result<Value, Error>,
{
    let trace = TraceLayer::with(kept.tracer());
    let handler = &handler;
    let inner = trace.layer(service_fn(move |_: LambdaEvent<Value>| handler()));
    // Between the two, a runtime parses the event.
    let runtime = service_fn(move |request: LambdaInvocation| {
        inner
            .clone()
            .oneshot(LambdaEvent::new(Value::Null, request.context))
    });
    trace
        .layer(runtime)
        .oneshot(invocation(header, body.to_owned()))
        .await
}

#[tokio::test]
async fn handler_is_a_subsegment_under_the_segment_of_lambda() {
    let kept = Kept::default();
    let answer = invoke(&kept, SAMPLED, "{}", async || {
        crate::annotate("order_id", "o-1");
        crate::metadata("basket", json!({ "apples": 3 }));
        Ok(json!("done"))
    });
    assert_eq!(answer.await.unwrap(), json!("done"));
    let handler = kept.one("order-worker");
    assert_eq!(handler["type"], "subsegment");
    assert_eq!(
        (&handler["trace_id"], &handler["parent_id"]),
        (&json!(ROOT), &json!(PARENT))
    );
    assert_eq!(
        handler["annotations"],
        json!({ "cold_start": true, "order_id": "o-1" })
    );
    assert_eq!(
        handler["metadata"],
        json!({ "default": { "basket": { "apples": 3 } } })
    );
    assert!(handler.get("fault").is_none());
}

#[tokio::test]
async fn invocation_is_announced_recorded_and_ended_in_order() {
    let kept = Kept::default();
    invoke(&kept, SAMPLED, "{}", async || Ok(Value::Null))
        .await
        .unwrap();
    let events = kept.events();
    assert!(
        matches!(&events[..],
            [Event::Begin, Event::Announce(begun), Event::Open(open), Event::Close(close), Event::End(ended)]
            if open["id"] == close["id"] && open["in_progress"] == true && begun == "r-1" && ended == "r-1"),
        "{events:?}"
    );
}

#[tokio::test]
async fn first_invocation_alone_is_a_cold_start() {
    let kept = Kept::default();
    let trace = TraceLayer::with(kept.tracer());
    for _ in 0..2 {
        let handler = service_fn(async |_: LambdaEvent<Value>| Ok::<_, Error>(Value::Null));
        // A clone per worker, as in concurrent mode.
        let event = LambdaEvent::new(Value::Null, context(SAMPLED));
        trace.clone().layer(handler).oneshot(event).await.unwrap();
    }
    let cold: Vec<_> = kept
        .closed()
        .iter()
        .map(|d| d["annotations"]["cold_start"].clone())
        .collect();
    assert_eq!(cold, [json!(true), json!(false)]);
}

#[tokio::test]
async fn error_is_a_fault_with_its_chain() {
    let kept = Kept::default();
    let failed = invoke(&kept, SAMPLED, "{}", async || {
        let source = "x".parse::<i32>().unwrap_err();
        Err(std::io::Error::other(source).into())
    });
    assert_eq!(
        failed.await.unwrap_err().error_message,
        "invalid digit found in string"
    );
    let handler = kept.one("order-worker");
    assert_eq!(handler["fault"], true);
    let exceptions = handler["cause"]["exceptions"].as_array().unwrap();
    assert_eq!(exceptions[0]["message"], "invalid digit found in string");
}

#[tokio::test]
async fn panic_is_a_fault_and_continues_unwinding() {
    let kept = Kept::default();
    let work = invoke(&kept, SAMPLED, "{}", async || panic!("no {}", "stock"));
    assert!(AssertUnwindSafe(work).catch_unwind().await.is_err());
    let handler = kept.one("order-worker");
    assert_eq!(handler["fault"], true);
    assert_eq!(handler["cause"]["exceptions"][0]["type"], "panic");
    assert_eq!(handler["cause"]["exceptions"][0]["message"], "no stock");
    assert_eq!(kept.events().last(), Some(&Event::End("r-1".to_owned())));
}

#[tokio::test]
async fn cancelled_invocation_ends_as_a_fault() {
    let kept = Kept::default();
    {
        let work = invoke(&kept, SAMPLED, "{}", async || {
            crate::capture("wait", std::future::pending::<()>()).await;
            Ok(Value::Null)
        });
        tokio::pin!(work);
        assert!(futures_util::poll!(&mut work).is_pending());
    }
    let names: Vec<_> = kept.closed().iter().map(|d| d["name"].clone()).collect();
    assert_eq!(names, ["wait", "order-worker"], "children end first");
    assert!(
        kept.closed()
            .iter()
            .all(|d| d["cause"]["exceptions"][0]["type"] == "Cancelled")
    );
    assert_eq!(kept.events().last(), Some(&Event::End("r-1".to_owned())));
}

/// All that the extension gets of an invocation that is not recorded.
fn announced_and_ended() -> [Event; 3] {
    let id = || "r-1".to_owned();
    [Event::Begin, Event::Announce(id()), Event::End(id())]
}

#[tokio::test]
async fn unsampled_header_is_passed_on_and_not_recorded() {
    for header in [
        format!("Root={ROOT};Parent={PARENT};Sampled=0;Lineage=a87bd80c:1"),
        format!("Root={ROOT};Parent={PARENT}"),
        format!("Root={ROOT};Sampled=?"),
    ] {
        let kept = Kept::default();
        invoke(&kept, &header, "{}", async || {
            assert!(!Context::current().is_recording());
            let outgoing = Context::current().trace_header().unwrap().to_string();
            crate::capture("inner", async {}).await;
            Ok(outgoing.into())
        })
        .await
        .map(|outgoing| assert_eq!(outgoing, json!(header)))
        .unwrap();
        assert_eq!(kept.events(), announced_and_ended(), "{header}");
    }
}

#[tokio::test]
async fn header_of_the_event_counts_if_the_runtime_has_no_decision() {
    let carried = format!("Root=1-00000001-000000000000000000000001;Parent={PARENT};Sampled=1");
    let event = json!({ "headers": { "X-Amzn-Trace-Id": carried } }).to_string();
    let undecided = format!("Root={ROOT}");
    for (own, expected, reason) in [
        (
            "",
            "1-00000001-000000000000000000000001",
            "the runtime has none",
        ),
        (
            &*undecided,
            "1-00000001-000000000000000000000001",
            "the runtime has no decision",
        ),
        (SAMPLED, ROOT, "the runtime's own counts"),
    ] {
        let kept = Kept::default();
        invoke(&kept, own, &event, async || Ok(Value::Null))
            .await
            .unwrap();
        let handler = kept.one("order-worker");
        assert_eq!(handler["trace_id"], expected, "{reason}");
        assert_eq!(handler["parent_id"], PARENT, "{reason}");
        assert_eq!(handler.get("type").is_some(), own == SAMPLED, "{reason}");
    }
}

#[tokio::test]
async fn handler_without_a_parent_is_a_segment() {
    let kept = Kept::default();
    let header = format!("Root={ROOT};Sampled=1");
    invoke(&kept, &header, "{}", async || Ok(Value::Null))
        .await
        .unwrap();
    let handler = kept.one("order-worker");
    assert!(handler.get("type").is_none() && handler.get("parent_id").is_none());
    assert_eq!(handler["origin"], "AWS::Lambda::Function");
}

#[tokio::test]
async fn invalid_headers_do_not_disturb_the_handler() {
    let semicolons = ";".repeat(65536);
    for header in [
        "\u{1}\u{7f}\u{fffd}rAnDoM",
        &semicolons,
        "Root=x",
        "Parent=zz",
        "",
    ] {
        let kept = Kept::default();
        let answer = invoke(&kept, header, "{}", async || {
            assert!(Context::current().trace_header().is_none());
            Ok(json!(1))
        });
        assert_eq!(answer.await.unwrap(), json!(1));
        assert!(kept.closed().is_empty());
    }
}

#[tokio::test]
async fn inner_service_alone_is_an_invocation() {
    let kept = Kept::default();
    let handler = service_fn(async |_: LambdaEvent<Value>| Ok::<_, Error>(Value::Null));
    let event = LambdaEvent::new(Value::Null, context(SAMPLED));
    TraceLayer::with(kept.tracer())
        .layer(handler)
        .oneshot(event)
        .await
        .unwrap();
    assert_eq!(kept.one("order-worker")["parent_id"], PARENT);
    assert_eq!(kept.events().last(), Some(&Event::End("r-1".to_owned())));
}

#[tokio::test]
async fn disabled_layer_is_transparent() {
    let trace = TraceLayer::disabled();
    let handler = service_fn(async |_: LambdaEvent<Value>| {
        assert!(Context::current().trace_header().is_none());
        Ok::<_, Error>(json!(1))
    });
    let event = LambdaEvent::new(Value::Null, context(SAMPLED));
    assert_eq!(trace.layer(handler).oneshot(event).await.unwrap(), json!(1));
}

#[tokio::test]
async fn work_nests_side_by_side_and_in_spawned_tasks() {
    let kept = Kept::default();
    invoke(&kept, SAMPLED, "{}", async || {
        crate::capture("outer", async {
            let one = crate::capture("one", async {
                tokio::task::yield_now().await;
                crate::annotate("n", 1);
            });
            let two = crate::capture("two", async {
                tokio::task::yield_now().await;
                crate::annotate("n", 2);
            });
            tokio::join!(one, two);
            let context = Context::current();
            let spawned = context.scope(async { crate::capture_sync("spawned", || ()) });
            tokio::spawn(spawned).await.unwrap();
        })
        .await;
        Ok(Value::Null)
    })
    .await
    .unwrap();
    let outer = kept.one("outer");
    assert_eq!(outer["parent_id"], kept.one("order-worker")["id"]);
    for (name, n) in [
        ("one", json!(1)),
        ("two", json!(2)),
        ("spawned", Value::Null),
    ] {
        assert_eq!(kept.one(name)["parent_id"], outer["id"], "{name}");
        assert_eq!(kept.one(name)["annotations"]["n"], n, "{name}");
    }
}

#[tokio::test]
async fn failures_of_captured_work_are_faults() {
    let kept = Kept::default();
    let handled = invoke(&kept, SAMPLED, "{}", async || {
        let parse = || "x".parse::<i32>();
        assert!(crate::try_capture_sync("sync", parse).is_err());
        assert!(
            crate::try_capture("async", async { parse() })
                .await
                .is_err()
        );
        let boxed = async { Err::<(), Error>(parse().unwrap_err().into()) };
        assert!(crate::try_capture("boxed", boxed).await.is_err());
        assert!(
            crate::try_capture("fine", async { Ok::<_, Error>(1) })
                .await
                .is_ok()
        );
        drop(Subsegment::begin("dropped"));
        let held = Subsegment::begin("held");
        held.record_error(&parse().unwrap_err());
        held.finish();
        Ok(Value::Null)
    });
    handled.await.unwrap();
    for (name, kind) in [
        ("sync", json!("ParseIntError")),
        ("async", json!("ParseIntError")),
        ("boxed", json!("ParseIntError")),
        ("held", json!("ParseIntError")),
        ("dropped", json!("Cancelled")),
        ("fine", Value::Null),
        ("order-worker", Value::Null),
    ] {
        assert_eq!(
            kept.one(name)["cause"]["exceptions"][0]["type"],
            kind,
            "{name}"
        );
        assert_eq!(
            kept.one(name).get("fault").is_some(),
            !kind.is_null(),
            "{name}"
        );
    }
}

#[test]
fn public_types_are_send_and_sync() {
    fn everywhere<T: Send + Sync + Unpin + 'static>() {}
    everywhere::<TraceLayer>();
    everywhere::<TraceService<()>>();
    everywhere::<Context>();
    everywhere::<Subsegment>();
    everywhere::<Arc<Tracer>>();
}

#[tokio::test]
async fn local_rule_decides_if_the_caller_did_not() {
    let event = json!({ "requestContext": { "apiId": "a" }, "rawPath": "/orders" }).to_string();
    let undecided = format!("Root={ROOT};Parent={PARENT}");
    for (rules, own, recorded, reason) in [
        ("", &*undecided, false, "no rule"),
        (
            "source=http path=/orders rate=1",
            &undecided,
            true,
            "a rule holds",
        ),
        ("source=sqs rate=1", &undecided, false, "another source"),
        ("rate=1", "", true, "no trace at all: a new one"),
        (
            "rate=1",
            &format!("{undecided};Sampled=0"),
            false,
            "decided before",
        ),
    ] {
        let kept = Kept::default();
        let trace = TraceLayer::to_sink(Arc::new(kept.clone())).sampling(rules.parse().unwrap());
        let inner = trace.layer(service_fn(async |_: LambdaEvent<Value>| {
            Ok::<_, Error>(
                Context::current()
                    .trace_header()
                    .map(|h| h.to_string())
                    .into(),
            )
        }));
        let runtime = service_fn(|request: LambdaInvocation| {
            inner
                .clone()
                .oneshot(LambdaEvent::new(Value::Null, request.context))
        });
        let outgoing: Value = trace
            .layer(runtime)
            .oneshot(invocation(own, event.clone()))
            .await
            .unwrap();
        assert_eq!(!kept.closed().is_empty(), recorded, "{reason}");
        if recorded {
            let handler = kept.one("function");
            assert!(
                handler.get("type").is_none(),
                "{reason}: Lambda sends no segment"
            );
            let outgoing = outgoing.as_str().unwrap();
            assert!(outgoing.contains("Sampled=1"), "{reason}: {outgoing}");
        }
    }
}

/// With `errors always`.
async fn unsampled(handler: impl AsyncFn() -> Result<Value, Error>) -> (Kept, String) {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    let handler = &handler;
    let inner = TraceLayer::with(tracer).layer(service_fn(move |_: LambdaEvent<Value>| handler()));
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let event = LambdaEvent::new(Value::Null, context(&header));
    let _ = inner.oneshot(event).await;
    (kept, header)
}

#[tokio::test]
async fn failed_unsampled_invocation_is_recorded_with_errors_always() {
    let (kept, _) = unsampled(async || {
        crate::capture("work", async {}).await;
        Ok(Value::Null)
    })
    .await;
    assert_eq!(
        kept.extension(),
        (Vec::new(), Vec::new()),
        "success leaves nothing"
    );

    let (kept, header) = unsampled(async || {
        crate::capture("work", async {}).await;
        let outgoing = Context::current().trace_header().unwrap().to_string();
        Err(outgoing.into())
    })
    .await;
    let handler = kept.one("order-worker");
    assert_eq!(
        (&handler["trace_id"], &handler["fault"]),
        (&json!(ROOT), &json!(true))
    );
    assert!(handler.get("type").is_none() && handler.get("parent_id").is_none());
    assert_eq!(handler["annotations"]["unsampled"], true);
    assert_eq!(
        handler["cause"]["exceptions"][0]["message"], header,
        "the decision is passed on unchanged"
    );
    assert_eq!(kept.one("work")["parent_id"], handler["id"]);
}

#[tokio::test]
async fn context_under_an_unrecorded_guard_passes_the_trace_on() {
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let kept = Kept::default();
    let carried = kept.invoke(&header, async {
        let guard = Subsegment::begin("in a spawned task");
        let task = tokio::spawn(async move { guard.context().trace_header() });
        task.await.unwrap()
    });
    let carried = carried.await.map(|carried| carried.to_string());
    assert_eq!(carried, Some(header));
}

/// The runtime answers with an error before the inner service is called.
#[tokio::test]
async fn invocation_whose_event_is_invalid_is_announced_and_ended() {
    let kept = Kept::default();
    let runtime = service_fn(async |request: LambdaInvocation| {
        serde_json::from_slice::<u32>(&request.body).map_err(Error::from)
    });
    let failed = TraceLayer::with(kept.tracer())
        .layer(runtime)
        .oneshot(invocation(SAMPLED, "not a number"));
    assert!(failed.await.is_err());
    assert_eq!(kept.events(), announced_and_ended());
}

/// `#[instrument]` on the function that runs the runtime has this effect: its span begins in the
/// init phase.
#[tokio::test]
async fn inner_service_in_a_context_of_another_trace_is_an_invocation() {
    let elsewhere = Kept::default();
    let kept = Kept::default();
    elsewhere
        .invoke(SAMPLED, async {
            let handler = service_fn(async |_: LambdaEvent<Value>| Ok::<_, Error>(Value::Null));
            let event = LambdaEvent::new(Value::Null, context(SAMPLED));
            let layer = TraceLayer::with(kept.tracer());
            layer.layer(handler).oneshot(event).await.unwrap();
        })
        .await;
    let events = kept.events();
    assert_eq!(events[1], Event::Announce("r-1".to_owned()));
    assert_eq!(events.last(), Some(&Event::End("r-1".to_owned())));
    assert_eq!(kept.one("order-worker")["parent_id"], PARENT);
    assert_eq!(elsewhere.closed().len(), 1, "its own handler alone");
}

/// Two layers with different rules by mistake: the rules around the handler hold.
#[tokio::test]
async fn rules_of_the_layer_around_the_handler_hold() {
    let kept = Kept::default();
    let outer = TraceLayer::to_sink(Arc::new(kept.clone()));
    let rule = |_: tracestitch_wire::document::Place<'_>, text: &str| {
        (text == "secret").then(|| "[gone]".to_owned())
    };
    let inner = outer.clone().redact(crate::Redaction::from_fn(rule));
    let handler = inner.layer(service_fn(async |_: LambdaEvent<Value>| {
        crate::annotate("key", "secret");
        Ok::<_, Error>(Value::Null)
    }));
    let runtime = service_fn(|request: LambdaInvocation| {
        let event = LambdaEvent::new(Value::Null, request.context);
        handler.clone().oneshot(event)
    });
    let answer = outer.layer(runtime).oneshot(invocation(SAMPLED, "{}"));
    answer.await.unwrap();
    assert_eq!(kept.one("function")["annotations"]["key"], "[gone]");
}

/// An error with every printable sign around a value.
#[derive(Debug)]
struct Quoting;

impl std::fmt::Display for Quoting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let signs: String = ('!'..='~').collect();
        write!(f, "Duplicate entry '{signs}SECRET{signs}' for key 'SECRET'")
    }
}

impl std::error::Error for Quoting {}

/// Every place that holds the message of an error or panic, but the calls, which have a rule of
/// their own.
#[cfg(all(feature = "sqs", feature = "tracing"))]
#[tokio::test]
async fn quoted_values_of_errors_are_recorded_nowhere() {
    use std::panic::catch_unwind;

    use aws_lambda_events::sqs::SqsEvent;
    use futures_util::{StreamExt, stream};
    use lambda_runtime::{FunctionResponse, IntoFunctionResponse, StreamResponse};
    use tracing_subscriber::layer::SubscriberExt;

    use crate::layer::response_stream::HandlerResponse;

    let subscriber = tracing_subscriber::registry().with(crate::SpanLayer::new());
    let _guard = tracing::subscriber::set_default(subscriber);
    for whole in [false, true] {
        let kept = Kept::default();
        let mut tracer = kept.tracer();
        tracer.whole_messages = whole;
        let handler = async |_: LambdaEvent<()>| {
            let failed = crate::try_capture("captured", async { Err::<(), _>(Quoting) });
            assert!(failed.await.is_err());
            crate::capture_sync("recorded", || crate::record_error(&Quoting));
            let guard = Subsegment::begin("guard");
            guard.record_error(&Quoting);
            guard.finish();
            let panicked = catch_unwind(|| crate::capture_sync("panicked", || panic!("{Quoting}")));
            assert!(panicked.is_err());
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                let _guard = Subsegment::begin("dropped");
                panic!("{Quoting}")
            }));
            assert!(dropped.is_err());
            tracing::info_span!("event").in_scope(|| {
                tracing::error!("{Quoting}");
            });
            let mut event = SqsEvent::default();
            event.records = vec![Default::default()];
            crate::sqs::each(event, async |_| Err::<(), _>(Quoting)).await;
            let parts = stream::iter([Err::<&str, _>(Quoting)]);
            let response = HandlerResponse::of(StreamResponse::from(parts));
            let FunctionResponse::StreamingResponse(mut response) =
                IntoFunctionResponse::<(), _>::into_response(response)
            else {
                panic!("it was a stream")
            };
            while response.stream.next().await.is_some() {}
            Err::<(), Error>(Quoting.into())
        };
        let layer = TraceLayer::with(tracer).layer(service_fn(handler));
        let failed = layer.oneshot(LambdaEvent::new((), context(SAMPLED))).await;
        assert!(
            failed.unwrap_err().error_message.contains("SECRET"),
            "Lambda gets it whole"
        );
        let closed = kept.closed();
        assert_eq!(closed.len(), 9, "{closed:?}");
        for document in closed {
            let message = &document["cause"]["exceptions"][0]["message"];
            let message = message.as_str().unwrap();
            let is_of_the_fault = message.starts_with("Duplicate entry '");
            assert!(
                is_of_the_fault || message.starts_with("a panic unwound"),
                "{document}"
            );
            let json = document.to_string();
            assert!(whole || !json.contains("SECRET"), "{json}");
        }
    }
}
