use super::*;
use crate::tests::{
    header::{PARENT, ROOT, SAMPLED},
    kept::Kept,
};

fn first_invocation(kept: &Kept, header: &str) -> Arc<Trace> {
    Arc::new(Trace::new(
        Arc::new(kept.tracer()),
        header.parse().ok(),
        "r-1",
    ))
}

#[test]
fn init_work_is_in_the_first_trace() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context().sync_scope(|| {
        assert!(
            Context::current().trace_header().is_none(),
            "nothing to pass on yet"
        );
        crate::annotate("version", 3);
        crate::capture_sync("load settings", || crate::capture_sync("parse", || {}));
    });
    assert!(kept.events().is_empty());
    init.hand_over(&first_invocation(&kept, SAMPLED));

    let root = kept.one("init");
    assert_eq!(
        (&root["trace_id"], &root["parent_id"]),
        (&ROOT.into(), &PARENT.into())
    );
    assert_eq!(root["annotations"]["version"], 3);
    let settings = kept.one("load settings");
    assert_eq!(settings["parent_id"], root["id"]);
    assert!(settings.get("metadata").is_none(), "nothing was left out");
    assert_eq!(kept.one("parse")["parent_id"], settings["id"]);
    assert!(
        kept.closed()
            .iter()
            .all(|document| document["trace_id"] == ROOT)
    );
    assert!(!init.context().is_recording(), "it is over");
}

/// An invocation that is recorded only if it fails.
#[test]
fn init_work_has_no_parent_in_an_unsampled_trace() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context()
        .sync_scope(|| crate::capture_sync("load settings", || {}));
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let trace = Arc::new(Trace::new(Arc::new(tracer), header.parse().ok(), "r-1"));
    init.hand_over(&trace);
    let handler = Subsegment::begin_handler(&trace).unwrap();
    handler.record_error(&std::fmt::Error);
    handler.finish();
    let root = kept.one("init");
    assert!(root.get("parent_id").is_none() && root.get("type").is_none());
    assert_eq!(root["annotations"]["unsampled"], true);
    assert_eq!(kept.one("load settings")["parent_id"], root["id"]);
}

#[test]
fn init_work_that_ends_later_is_in_the_first_trace() {
    let kept = Kept::default();
    let init = Init::begin();
    let warm_up = init.context().sync_scope(|| Subsegment::begin("warm up"));
    init.hand_over(&first_invocation(&kept, SAMPLED));
    warm_up.finish();
    assert_eq!(kept.one("warm up")["trace_id"], ROOT);
}

#[test]
fn init_without_work_is_not_recorded() {
    let kept = Kept::default();
    Init::begin().hand_over(&first_invocation(&kept, SAMPLED));
    assert!(kept.events().is_empty());
}

#[test]
fn init_with_an_annotation_alone_is_recorded() {
    let facts: [(&str, fn()); 2] = [
        ("annotations", || crate::annotate("version", 3)),
        ("metadata", || crate::metadata("version", 3)),
    ];
    for (block, say) in facts {
        let kept = Kept::default();
        let init = Init::begin();
        init.context().sync_scope(say);
        init.hand_over(&first_invocation(&kept, SAMPLED));
        assert!(kept.one("init")[block].is_object(), "{block}");
    }
}

#[test]
fn init_with_a_failure_alone_is_recorded() {
    let kept = Kept::default();
    let init = Init::begin();
    let settings = "x".parse::<i32>().unwrap_err();
    init.context().sync_scope(|| crate::record_error(&settings));
    init.hand_over(&first_invocation(&kept, SAMPLED));
    let root = kept.one("init");
    assert_eq!(root["fault"], true);
    let message = &root["cause"]["exceptions"][0]["message"];
    assert_eq!(message, "invalid digit found in string");
}

#[test]
fn unrecorded_first_invocation_drops_init_work() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context()
        .sync_scope(|| crate::capture_sync("load settings", || {}));
    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    init.hand_over(&first_invocation(&kept, &unsampled));
    init.hand_over(&first_invocation(&kept, SAMPLED));
    assert!(kept.events().is_empty());
}

#[test]
fn init_long_before_the_first_invocation_is_not_in_its_trace() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context()
        .sync_scope(|| crate::capture_sync("load settings", || {}));
    let late = init.context().sync_scope(|| Subsegment::begin("warm up"));
    let mut tracer = kept.tracer();
    tracer.cold_until = Timestamp::from_micros(0);
    let trace = Trace::new(Arc::new(tracer), SAMPLED.parse().ok(), "r-1");
    init.hand_over(&Arc::new(trace));
    late.finish();
    assert!(kept.events().is_empty(), "{:?}", kept.events());
    assert!(!init.context().is_recording(), "the init phase is over");
}

#[test]
fn init_is_a_segment_without_a_segment_of_lambda() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context()
        .sync_scope(|| crate::capture_sync("load settings", || {}));
    init.hand_over(&first_invocation(&kept, &format!("Root={ROOT};Sampled=1")));
    let root = kept.one("init");
    assert!(root.get("type").is_none() && root.get("parent_id").is_none());
    assert_eq!(root["origin"], FUNCTION);
}

#[test]
fn init_is_a_segment_under_another_caller() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context()
        .sync_scope(|| crate::capture_sync("load settings", || {}));
    let trace = Trace {
        has_facade_segment: false,
        ..Trace::new(Arc::new(kept.tracer()), SAMPLED.parse().ok(), "r-1")
    };
    init.hand_over(&Arc::new(trace));
    let root = kept.one("init");
    assert!(root.get("type").is_none(), "{root}");
    assert_eq!(
        (&root["parent_id"], &root["origin"]),
        (&PARENT.into(), &FUNCTION.into())
    );
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn spans_that_are_kept_end_with_init() {
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    let layers = tracing_subscriber::registry().with(crate::SpanLayer::new());
    let _guard = tracing::subscriber::set_default(layers);
    let kept = Kept::default();
    let init = Init::begin();
    let connect = init.context().sync_scope(|| {
        let connect = tracing::info_span!("connect");
        connect.in_scope(|| {});
        connect
    });
    let connection = std::future::pending::<()>().instrument(connect);
    init.hand_over(&first_invocation(&kept, SAMPLED));
    let connect = kept.one("connect");
    assert_eq!(connect["trace_id"], ROOT);
    assert!(connect.get("fault").is_none(), "{connect}");
    drop(connection);
}

#[cfg(feature = "aws-sdk")]
#[tokio::test]
async fn aws_calls_in_init_are_recorded_and_keep_their_header() {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
    use tokio::io::AsyncReadExt;

    let endpoint = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(format!("http://{}", endpoint.local_addr().unwrap()))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::disabled())
        .interceptor(crate::aws::TraceInterceptor::new())
        .build();
    let request = tokio::spawn(async move {
        let (mut stream, _) = endpoint.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            stream.read_buf(&mut head).await.unwrap();
        }
        String::from_utf8(head).unwrap()
    });
    let kept = Kept::default();
    let init = Init::begin();
    let list = aws_sdk_dynamodb::Client::from_conf(config).list_tables();
    assert!(
        init.context().scope(list.send()).await.is_err(),
        "it is not answered"
    );
    assert!(!request.await.unwrap().contains("x-amzn-trace-id"));
    init.hand_over(&first_invocation(&kept, SAMPLED));
    assert_eq!(kept.one("DynamoDB")["aws"]["operation"], "ListTables");
}

#[test]
fn kept_init_documents_are_bounded() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context().sync_scope(|| {
        for _ in 0..MAX_HELD + 3 {
            crate::capture_sync("one of many", || {});
        }
    });
    init.hand_over(&first_invocation(&kept, SAMPLED));
    let closed = kept.closed();
    assert_eq!(closed.len(), MAX_HELD + 1);
    let ours = &kept.one("init")["metadata"]["tracestitch"];
    assert_eq!(ours["subsegments_left_out_of_init"], 3);
}

/// Its parent has ended at the latest when the work ends.
#[test]
fn init_work_that_nothing_ended_before_has_a_parent() {
    let kept = Kept::default();
    let init = Init::begin();
    let warm_up = init.context().sync_scope(|| Subsegment::begin("warm up"));
    init.hand_over(&first_invocation(&kept, SAMPLED));
    warm_up.finish();
    let parent = kept.one("init");
    assert_eq!(kept.one("warm up")["parent_id"], parent["id"]);
    assert_eq!(parent["parent_id"], PARENT);
}

#[test]
fn work_that_a_task_of_the_init_phase_begins_later_has_one_parent() {
    let kept = Kept::default();
    let init = Init::begin();
    let task = init.context();
    init.hand_over(&first_invocation(&kept, SAMPLED));
    assert!(kept.events().is_empty());
    for name in ["one", "two"] {
        task.clone().sync_scope(|| crate::capture_sync(name, || {}));
    }
    let parent = kept.one("init");
    for name in ["one", "two"] {
        assert_eq!(kept.one(name)["parent_id"], parent["id"], "{name}");
    }
}

#[test]
fn unsampled_context_records_nothing_in_the_init_phase() {
    let kept = Kept::default();
    let init = Init::begin();
    let quiet = init.context().unsampled();
    quiet.clone().sync_scope(|| {
        crate::annotate("version", 3);
        crate::capture_sync("fan-out", || {});
        assert!(Context::current().trace_header().is_none());
        assert!(!Context::current().is_recording());
    });
    init.hand_over(&first_invocation(&kept, SAMPLED));
    quiet.sync_scope(|| crate::capture_sync("later", || {}));
    assert!(kept.events().is_empty(), "{:?}", kept.events());
}

/// Refused by the trace and left out of the memory.
#[test]
fn all_init_work_that_is_left_out_is_counted() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context().sync_scope(|| {
        for _ in 0..1500 {
            crate::capture_sync("one of many", || {});
        }
    });
    init.hand_over(&first_invocation(&kept, SAMPLED));
    let ours = &kept.one("init")["metadata"]["tracestitch"];
    assert_eq!(ours["subsegments_left_out_of_init"], 1500 - MAX_HELD);
}

#[test]
fn large_init_documents_lose_their_metadata_only() {
    let kept = Kept::default();
    let init = Init::begin();
    init.context().sync_scope(|| {
        crate::capture_sync("large", || {
            crate::annotate("version", 3);
            crate::metadata("texts", vec!["x".repeat(900); MAX_BYTES / 900]);
        });
        for _ in 1..MAX_HELD {
            crate::capture_sync("small", || {
                crate::metadata("texts", vec!["x".repeat(500); 60])
            });
        }
    });
    let held = match &*init.documents.lock() {
        Phase::Collecting(collected) => collected.documents.iter().map(size).sum::<usize>(),
        phase => panic!("{phase:?}"),
    };
    assert!(held < MAX_BYTES + MAX_HELD * 1000, "{held} bytes");
    init.hand_over(&first_invocation(&kept, SAMPLED));
    let closed = kept.closed();
    let marked =
        |document: &&serde_json::Value| document["metadata"]["tracestitch"]["trimmed"].is_string();
    assert_eq!(closed.len(), MAX_HELD + 1);
    assert!(closed.iter().filter(marked).count() > MAX_HELD / 2);
    let large = kept.one("large");
    assert_eq!(large["annotations"]["version"], 3);
    assert_eq!(
        large["metadata"]
            .as_object()
            .map(|namespaces| namespaces.len()),
        Some(1)
    );
}
