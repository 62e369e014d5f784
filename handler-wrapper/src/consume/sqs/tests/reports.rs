//! Tests of the reports of messages that are not done.

use std::process::Command;

use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::{LogLayer, SpanLayer, tests::log::Log};

/// Returns a message of a FIFO queue.
fn grouped(id: &str, group: &str, header: &str) -> SqsMessage {
    let mut message = message(id, header);
    message.event_source_arn = Some("arn:aws:sqs:eu-west-1:123456789012:orders.fifo".to_owned());
    let group = group.to_owned();
    let attributes = &mut message.attributes;
    attributes.insert("MessageGroupId".to_owned(), group);
    message
}

#[derive(Debug)]
struct NoStock;

impl std::fmt::Display for NoStock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no stock at https://shop.example/a?token=SECRET of \"SECRET\"")
    }
}

impl std::error::Error for NoStock {}

/// Does the work that the id of a message names.
async fn work(message: SqsMessage) -> Result<(), NoStock> {
    match message.message_id.as_deref() {
        Some("failing") => Err(NoStock),
        Some("panicking") => panic!("no kettle"),
        Some("waiting") => std::future::pending().await,
        _ => Ok(()),
    }
}

/// Messages that end in each way; three of them are of one group.
fn messages() -> SqsEvent {
    let header = producer('a').0;
    batch([
        message("good", &header),
        message("failing", &header),
        message("panicking", ""),
        grouped("first", "g", ""),
        grouped("waiting", "g", &header),
        grouped("last", "g", ""),
    ])
}

#[tokio::test]
async fn each_message_that_is_not_done_is_reported_once_with_its_reason() {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let consumer = Consumer::new().concurrency(4).on_failure({
        let reported = reported.clone();
        move |message| {
            // The report runs in the message's trace.
            let context = Context::current().trace_header();
            let root = context.map(|header| header.root);
            assert_eq!(message.trace_id.or(root), root);
            reported.lock().unwrap().push(message.clone());
        }
    });
    let kept = Kept::default();
    let event = consumer.each(messages(), work);
    let response = kept.invoke_until(SAMPLED, Some(limit(3000)), event).await;
    assert_eq!(failures(&response).len(), 4);

    let mut reported = reported.lock().unwrap();
    reported.sort_by(|one, other| one.id.cmp(&other.id));
    let error = "no stock at https://shop.example/a of \"?\"";
    let root = producer('a').1;
    let expected = [
        ("failing", None, Reason::Failed(error.to_owned()), &*root),
        ("last", Some("g"), Reason::Unprocessed, ""),
        (
            "panicking",
            None,
            Reason::Panicked("no kettle".to_owned()),
            ROOT,
        ),
        ("waiting", Some("g"), Reason::GivenUp, &root),
    ];
    assert_eq!(reported.len(), expected.len(), "{reported:?}");
    for (message, (id, group, reason, root)) in reported.iter().zip(expected) {
        assert_eq!(message.id.as_deref(), Some(id));
        assert_eq!(
            (message.group.as_deref(), &message.reason),
            (group, &reason)
        );
        assert_eq!(message.receive_count, Some(2), "{id}");
        let trace = message
            .trace_id
            .map(|id| id.to_string())
            .unwrap_or_default();
        assert_eq!(trace, root, "{id}");
    }
    let handler = kept.closed().pop().unwrap();
    let annotations = &handler["annotations"];
    for (key, count) in [("received", 6), ("failed", 3), ("unprocessed", 1)] {
        assert_eq!(annotations[key], count, "{key}");
    }
}

#[tokio::test]
async fn report_that_panics_does_not_change_the_response() {
    let consumer = Consumer::new().on_failure(|_| panic!("no pager"));
    let event = batch([message("failing", ""), message("good", "")]);
    assert_eq!(failures(&consumer.each(event, work).await), ["failing"]);
}

#[tokio::test]
async fn failed_message_is_an_error_line_of_its_trace_and_no_cause_of_the_handler() {
    let log = Log::default();
    let layers = tracing_subscriber::registry()
        .with(SpanLayer::new())
        .with(LogLayer::from_env().to(log.clone()));
    let _guard = tracing::subscriber::set_default(layers);
    let kept = Kept::default();
    let (header, root) = producer('a');
    let unsampled = header.replace("Sampled=1", "Sampled=0");
    let event = batch([
        message("failing", &header),
        grouped("failing", "g", &unsampled),
    ]);
    kept.invoke(SAMPLED, each(event, work)).await;

    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, (queue, group)) in lines
        .iter()
        .zip([("orders", Value::Null), ("orders.fifo", json!("g"))])
    {
        let text = format!("message failing of {queue} failed: no stock at https://shop.example/a");
        let message = line["message"].as_str().unwrap();
        assert!(message.starts_with(&text), "{message}");
        assert!(!line.to_string().contains("SECRET"), "{line}");
        assert_eq!(
            (&line["level"], &line["message_id"], &line["receive_count"]),
            (&json!("ERROR"), &json!("failing"), &json!(2))
        );
        assert_eq!((&line["traceId"], &line["group"]), (&json!(root), &group));
    }
    let handler = kept.closed().pop().unwrap();
    assert_eq!(handler.get("fault"), None, "{handler}");
}

#[tokio::test]
async fn unprocessed_messages_beyond_the_hundredth_share_a_line() {
    let log = Log::default();
    let layer = LogLayer::from_env().to(log.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    let first = grouped("failing", "g", "");
    let others = (0..150).map(|n| grouped(&format!("m-{n}"), "g", ""));
    each(batch(std::iter::once(first).chain(others)), work).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 1 + 100 + 1);
    assert_eq!(
        lines[101]["message"],
        "50 more of the batch were left unprocessed"
    );
}

/// A subscriber would belong to the whole process, so this test runs once more in another one.
#[tokio::test]
async fn failed_message_is_a_line_of_json_without_a_subscriber() {
    const INSIDE: &str = "TRACESTITCH_TEST_REPORT";
    if crate::support::environment::variable(INSIDE).is_some() {
        let kept = Kept::default();
        let event = batch([message("failing", &producer('a').0)]);
        kept.invoke(SAMPLED, each(event, work)).await;
        return;
    }
    for (level, expected) in [("warn", 1), ("off", 0)] {
        let inside = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(concat!(
                "consume::sqs::tests::reports::",
                "failed_message_is_a_line_of_json_without_a_subscriber"
            ))
            .env(INSIDE, "1")
            .env("TRACESTITCH_LOG", level)
            .output()
            .unwrap();
        let (out, log) = (inside.stdout, String::from_utf8_lossy(&inside.stderr));
        assert!(String::from_utf8_lossy(&out).contains("1 passed"), "{log}");
        let json = |line| serde_json::from_str::<Value>(line).ok();
        let lines: Vec<_> = log.lines().filter_map(json).collect();
        assert_eq!(lines.len(), expected, "{log}");
        for line in lines {
            assert_eq!(line["level"], "ERROR");
            assert_eq!(line["traceId"], json!(producer('a').1));
            assert_eq!(line["requestId"], "r-1");
            assert_eq!(
                (&line["message_id"], &line["source"], &line["receive_count"]),
                (&json!("failing"), &json!("orders"), &json!(2))
            );
        }
    }
}

#[tokio::test]
async fn message_id_and_group_are_annotations_of_the_segment_alone() {
    let kept = Kept::default();
    let event = batch([grouped("m-1", "g", &producer('a').0)]);
    kept.invoke(SAMPLED, each(event, work)).await;
    let segment = &segments(&kept)[0];
    let annotations = (
        &segment["annotations"]["message_id"],
        &segment["annotations"]["message_group"],
    );
    assert_eq!(annotations, (&json!("m-1"), &json!("g")));
    assert_eq!(kept.one("orders.fifo").get("annotations"), None);
}
