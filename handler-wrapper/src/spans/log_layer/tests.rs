use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::tests::{
    header::{PARENT, ROOT, SAMPLED},
    kept::Kept,
    log::Log,
};

/// Runs `work` as a handler under this layer. Returns the log and the documents.
async fn logged<F: Future>(header: &str, work: F) -> (Vec<Value>, Kept) {
    let log = Log::default();
    let layer = LogLayer::from_env().to(log.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let kept = Kept::default();
    kept.invoke(header, work).await;
    (log.lines(), kept)
}

#[tokio::test]
async fn line_names_its_trace_and_segment() {
    let (mut lines, kept) = logged(SAMPLED, async {
        crate::capture("price", async {
            tracing::warn!(
                items = 3,
                level = "high",
                ok = true,
                share = 0.5,
                bytes = u64::MAX,
                "priced {}\n\"so\"",
                "o-1"
            );
        })
        .await;
    })
    .await;
    let timestamp = lines[0]["timestamp"].take();
    assert_eq!(
        lines,
        [json!({
            "timestamp": null, "level": "WARN", "message": "priced o-1\n\"so\"",
            "target": module_path!(), "requestId": "r-1", "traceId": ROOT,
            "segmentId": kept.one("price")["id"], "items": 3, "level_": "high", "ok": true,
            "share": 0.5, "bytes": u64::MAX,
        })]
    );
    let timestamp = timestamp.as_str().unwrap();
    assert!(
        timestamp.starts_with("20") && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    assert_eq!(
        timestamp.len(),
        "2026-11-20T22:13:20.512Z".len(),
        "{timestamp}"
    );
}

#[tokio::test]
async fn line_of_an_unsampled_invocation_names_its_trace() {
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let (lines, _) = logged(&header, async { tracing::info!("hello") }).await;
    assert_eq!(
        (&lines[0]["traceId"], &lines[0]["requestId"]),
        (&ROOT.into(), &"r-1".into())
    );
    assert!(lines[0].get("segmentId").is_none());
}

#[tokio::test]
async fn line_below_the_level_is_not_written() {
    let (lines, _) = logged(SAMPLED, async { tracing::debug!("detail") }).await;
    assert!(lines.is_empty());
}

#[test]
fn line_outside_an_invocation_names_no_trace() {
    let log = Log::default();
    let layer = LogLayer::from_env().to(log.clone());
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || tracing::info!("hello"));
    let lines = log.lines();
    assert_eq!(lines[0]["message"], "hello");
    for key in ["requestId", "traceId", "segmentId"] {
        assert!(lines[0].get(key).is_none(), "{key}");
    }
}

#[cfg(feature = "sqs")]
#[tokio::test]
async fn line_of_a_message_names_its_trace() {
    let root = "1-5759e988-aaaaaaaaaaaaaaaaaaaaaaaa";
    let mut message = aws_lambda_events::sqs::SqsMessage::default();
    message.attributes.insert(
        "AWSTraceHeader".to_owned(),
        format!("Root={root};Parent={PARENT};Sampled=1"),
    );
    let mut event = aws_lambda_events::sqs::SqsEvent::default();
    event.records = vec![message];
    let (lines, _) = logged(SAMPLED, async {
        tracing::info!("before");
        crate::sqs::each(event, |_| async {
            tracing::info!("inside");
            Ok::<_, fmt::Error>(())
        })
        .await;
    })
    .await;
    assert_eq!(
        (&lines[0]["traceId"], &lines[1]["traceId"]),
        (&ROOT.into(), &root.into())
    );
    assert_eq!(lines[1]["requestId"], "r-1");
}

#[tokio::test]
async fn line_with_a_parent_names_the_trace_of_that_span() {
    let log = Log::default();
    let layers = tracing_subscriber::registry()
        .with(crate::SpanLayer::new())
        .with(LogLayer::from_env().to(log.clone()));
    let _guard = tracing::subscriber::set_default(layers);
    let kept = Kept::default();
    let (outer, inner) = kept
        .invoke(SAMPLED, async {
            let outer = tracing::info_span!("outer");
            (outer.clone(), tracing::debug_span!(parent: &outer, "inner"))
        })
        .await;
    // In a thread without a context of the invocation.
    std::thread::spawn({
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        move || {
            let _guard = tracing::dispatcher::set_default(&dispatch);
            tracing::info!(parent: &outer, "of it");
            tracing::info!(parent: &inner, "of one in it");
            tracing::info!("of nothing");
            // Dropped while the subscriber lives, which closes `outer` when `inner` is gone.
            drop((inner, outer));
        }
    })
    .join()
    .unwrap();
    let ids = log
        .lines()
        .into_iter()
        .map(|line| line["segmentId"].clone());
    let id = kept.one("outer")["id"].clone();
    assert_eq!(ids.collect::<Vec<_>>(), [id.clone(), id, Value::Null]);
}

/// A value whose own code fails or panics.
struct Broken(bool);

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        assert!(!self.0, "no text");
        f.write_str("half")?;
        Err(fmt::Error)
    }
}

#[tokio::test]
async fn value_that_fails_or_panics_is_replaced() {
    let (lines, _) = logged(SAMPLED, async {
        for panics in [false, true] {
            tracing::info!(value = ?Broken(panics), "shown");
            tracing::info!("{:?}", Broken(panics));
        }
    })
    .await;
    let said = "a value that panicked while it was shown";
    let shown: Vec<_> = lines
        .iter()
        .map(|line| (line["message"].as_str().unwrap(), line["value"].as_str()))
        .collect();
    let expected = [
        ("shown", Some("half")),
        ("half", None),
        ("shown", Some(said)),
        (said, None),
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn record_of_the_log_crate_has_its_own_target() {
    let (lines, _) = logged(SAMPLED, async {
        let record = log::Record::builder()
            .args(format_args!("connected"))
            .level(log::Level::Warn)
            .target("my::lib")
            .module_path(Some("my::lib"))
            .file(Some("lib.rs"))
            .line(Some(7))
            .build();
        tracing_log::format_trace(&record).unwrap();
    })
    .await;
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&line["message"], &line["target"]),
        (&json!("connected"), &json!("my::lib"))
    );
    assert_eq!(line["level"], "WARN");
    let log_fields = line
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| key.starts_with("log."));
    assert_eq!(log_fields.count(), 0, "{line}");
}
