//! Tests of spans that tasks and threads carry.

use super::*;

#[tokio::test]
async fn spawned_task_with_its_span_carries_the_trace() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let task = async { crate::capture("call", async {}).await };
        tokio::spawn(task.instrument(info_span!("task")))
            .await
            .unwrap();
        let bare = async { crate::capture("lost", async {}).await };
        tokio::spawn(bare).await.unwrap();
    })
    .await;
    assert_eq!(kept.one("call")["parent_id"], kept.one("task")["id"]);
    assert_eq!(kept.closed().len(), 3, "a task without its span is outside");
}

/// Keeps a span as the task of a connection does.
fn keep(span: tracing::Span) -> tokio::task::AbortHandle {
    tokio::spawn(std::future::pending::<()>().instrument(span)).abort_handle()
}

#[tokio::test]
async fn kept_span_ends_with_the_handler() {
    let subscriber = tracing_subscriber::registry().with(SpanLayer::new());
    let _guard = tracing::subscriber::set_default(subscriber);
    let kept = Kept::default();
    let connection = kept
        .invoke(SAMPLED, async {
            let connect = async { keep(tracing::Span::current()) };
            let around = async { connect.instrument(info_span!("connect")).await };
            let connection = around.instrument(info_span!("around")).await;
            crate::capture("call", tokio::task::yield_now()).await;
            connection
        })
        .await;
    let left = kept.one("call")["start_time"].as_f64();
    for (name, parent) in [("connect", "around"), ("around", "order-worker")] {
        let span = kept.one(name);
        assert!(span.get("fault").is_none(), "{span}");
        assert!(span["end_time"].as_f64() <= left, "as it was left: {span}");
        assert_eq!(span["parent_id"], kept.one(parent)["id"]);
    }
    connection.abort();
    while !connection.is_finished() {
        tokio::task::yield_now().await;
    }
    kept.one("connect");
}

#[tokio::test]
async fn span_that_the_handler_has_not_left_continues() {
    let subscriber = tracing_subscriber::registry().with(SpanLayer::new());
    let _guard = tracing::subscriber::set_default(subscriber);
    let kept = Kept::default();
    let (done, is_done) = tokio::sync::oneshot::channel::<()>();
    let (task, entered) = kept
        .invoke(SAMPLED, async {
            let work = async {
                is_done.instrument(info_span!("its part")).await.unwrap();
            };
            let task = tokio::spawn(work.instrument(info_span!("task")));
            tokio::task::yield_now().await;
            (task, info_span!("entered").entered())
        })
        .await;
    assert_eq!(
        kept.closed().len(),
        1,
        "the handler alone: {:?}",
        kept.closed()
    );
    done.send(()).unwrap();
    task.await.unwrap();
    drop(entered);
    for name in ["task", "its part", "entered"] {
        assert!(kept.one(name).get("fault").is_none(), "{name}");
    }
}

#[tokio::test]
async fn task_with_an_unrecorded_span_passes_the_trace_on() {
    let header = || {
        Context::current()
            .trace_header()
            .map(|header| header.to_string())
    };
    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let kept = traced(SpanLayer::new(), &unsampled, async {
        let task = async move { header() }.instrument(info_span!("task"));
        assert_eq!(tokio::spawn(task).await.unwrap(), Some(unsampled.clone()));
    })
    .await;
    assert!(kept.events().is_empty());

    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let before = info_span!("before");
        for _ in 0..1000 {
            drop(info_span!("one of many"));
        }
        let expected = before.in_scope(header);
        let span = info_span!(parent: &before, "one too many", late = tracing::field::Empty);
        span.record("late", true);
        let (first, second) = (before.enter(), span.enter());
        drop(first);
        crate::annotate("in", "before");
        drop(second);
        let task = async move { header() }.instrument(span);
        assert_eq!(tokio::spawn(task).await.unwrap(), expected);
    })
    .await;
    let before = kept.one("before");
    assert_eq!(before["annotations"]["in"], "before");
    assert!(before.get("metadata").is_none(), "of another: {before}");
}

#[tokio::test]
async fn filtered_span_leaves_no_gap() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let outer = info_span!("outer");
        let middle = tracing::debug_span!(parent: &outer, "middle");
        drop(info_span!(parent: &middle, "inner"));
        let task = async {
            crate::capture("before", tokio::task::yield_now()).await;
            crate::capture("after", async {}).await;
        };
        tokio::spawn(task.instrument(middle.clone())).await.unwrap();
        crate::capture_sync("own", || middle.in_scope(|| crate::annotate("in", "own")));
    })
    .await;
    let outer = kept.one("outer");
    assert_eq!(kept.one("own")["annotations"]["in"], "own");
    for name in ["inner", "before", "after"] {
        assert_eq!(kept.one(name)["parent_id"], outer["id"], "{name}");
    }
}

/// The runtime's span is created before the handler's subsegment. It is current in a handler
/// without a span.
#[tokio::test]
async fn task_with_the_runtimes_span_is_in_the_handler() {
    use lambda_runtime::{LambdaEvent, LambdaInvocation, layers::TracingLayer, service_fn};
    use tower::{Layer as _, ServiceExt};

    let subscriber = tracing_subscriber::registry().with(SpanLayer::new());
    let _guard = tracing::subscriber::set_default(subscriber);
    let kept = Kept::default();
    let trace = crate::TraceLayer::with(kept.tracer());
    let handler = trace.layer(service_fn(async |_: LambdaEvent<()>| {
        let task = async { crate::capture("call", async {}).await };
        tokio::spawn(task.in_current_span()).await?;
        Ok::<_, lambda_runtime::Error>(())
    }));
    let runtime = service_fn(move |request: LambdaInvocation| {
        let event = LambdaEvent::new((), request.context);
        let answer = handler.clone().oneshot(event);
        async { answer.await.map_err(|error| error.error_message.into()) }
    });
    let (parts, ()) = http::Response::new(()).into_parts();
    let mut context = lambda_runtime::Context::default();
    context.xray_trace_id = Some(SAMPLED.to_owned());
    let invocation = LambdaInvocation {
        parts,
        body: "{}".into(),
        context,
    };
    let services = trace.layer(TracingLayer::new().layer(runtime));
    services.oneshot(invocation).await.unwrap();
    let handler = kept.one("order-worker");
    assert_eq!(kept.one("call")["parent_id"], handler["id"]);
    assert_eq!(kept.closed().len(), 2, "the runtime's span is none of them");
}

#[tokio::test]
async fn span_may_be_entered_on_several_threads() {
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(SpanLayer::new()));
    let _guard = tracing::dispatcher::set_default(&dispatch);
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        let span = info_span!("shared");
        let barrier = std::sync::Barrier::new(2);
        let enter = |name| {
            let entered = span.enter();
            barrier.wait();
            crate::capture_sync(name, || {});
            barrier.wait();
            drop(entered);
            assert!(
                !Context::current().is_recording(),
                "{name} leaves nothing behind"
            );
        };
        std::thread::scope(|scope| {
            for name in ["one", "two"] {
                let (dispatch, enter) = (&dispatch, &enter);
                scope.spawn(move || tracing::dispatcher::with_default(dispatch, || enter(name)));
            }
        });
        crate::annotate("after", true);
    })
    .await;
    let shared = kept.one("shared");
    assert!(shared.get("fault").is_none(), "{shared}");
    for name in ["one", "two"] {
        assert_eq!(kept.one(name)["parent_id"], shared["id"], "{name}");
    }
    assert_eq!(kept.one("order-worker")["annotations"]["after"], true);
}
