//! order-worker: each message is processed in its producer's trace.

use std::collections::BTreeSet;

use e2e::binaries;
use e2e::invocation::Invocation;
use e2e::world::World;
use serde_json::{Value, json};
use tracestitch_traces::model::{Kind, Place, Trace};

use crate::support::SAMPLED;

const PRODUCERS: [(&str, &str, &str, i64); 3] = [
    (
        "o-1",
        "1-67891233-00000000000000000000aaaa",
        "000000000000000a",
        2,
    ),
    (
        "o-2",
        "1-67891233-00000000000000000000bbbb",
        "000000000000000b",
        0,
    ),
    (
        "o-3",
        "1-67891233-00000000000000000000cccc",
        "000000000000000c",
        1,
    ),
];

fn batch() -> Value {
    let records = PRODUCERS.iter().map(|(order, root, parent, quantity)| {
        let body = json!({ "orderId": order, "item": "teapot", "quantity": quantity });
        json!({
            "messageId": format!("message-{order}"),
            "receiptHandle": format!("receipt-{order}"),
            "body": body.to_string(),
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1795176000000",
                "SenderId": "AIDAEXAMPLE",
                "ApproximateFirstReceiveTimestamp": "1795176000001",
                "AWSTraceHeader": format!("Root={root};Parent={parent};Sampled=1")
            },
            "messageAttributes": {},
            "md5OfBody": "00000000000000000000000000000000",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:orders",
            "awsRegion": "eu-central-1"
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

#[tokio::test]
async fn each_message_is_in_its_producers_trace_and_only_the_invalid_one_fails() {
    let world = World::start().await;
    let mut rie = world
        .function("order-worker", binaries::order_worker())
        .start()
        .await;

    let answer = rie
        .invoke(Invocation::new(batch().to_string()).traced(SAMPLED))
        .await;
    assert_eq!(
        answer.json(),
        json!({ "batchItemFailures": [{ "itemIdentifier": "message-o-2" }] }),
        "{}",
        rie.logs()
    );
    rie.stop().await;

    let traces = world.sound_traces().await;
    for (order, root, parent, quantity) in PRODUCERS {
        let trace = traces
            .iter()
            .find(|trace| trace.id == root)
            .unwrap_or_else(|| panic!("no trace of {order} in {traces:#?}"));
        let segment = message_segment(trace);
        assert_eq!(segment.parent_id.as_deref(), Some(parent), "{order}");
        assert_eq!(segment.name, "order-worker", "{order}");
        assert_eq!(segment.class(), Some("AWS::Lambda::Function"), "{order}");
        assert_eq!(segment.fault, quantity <= 0, "{order}: {segment:#?}");
        assert!(
            trace.walk(segment).any(|node| node.name == "DynamoDB"),
            "{order}: {segment:#?}"
        );
    }
    assert_eq!(
        traces.len(),
        1 + PRODUCERS.len(),
        "the traces of the invocation and of the producers"
    );
}

#[tokio::test]
async fn calls_for_a_message_carry_its_trace() {
    let world = World::start().await;
    let mut rie = world
        .function("order-worker", binaries::order_worker())
        .start()
        .await;

    rie.invoke(Invocation::new(batch().to_string()).traced(SAMPLED))
        .await;
    rie.stop().await;

    for request in world.aws.received() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let (_, root, ..) = PRODUCERS
            .iter()
            .find(|(order, ..)| body.contains(order))
            .unwrap_or_else(|| panic!("no order in {body}"));
        let header = request.trace_header().expect("a valid header");
        assert_eq!(header.root.to_string(), *root, "{body}");
    }
}

#[tokio::test]
async fn invocation_and_messages_link_to_each_other() {
    let world = World::start().await;
    let mut rie = world
        .function("order-worker", binaries::order_worker())
        .start()
        .await;

    rie.invoke(Invocation::new(batch().to_string()).traced(SAMPLED))
        .await;
    rie.stop().await;

    let traces = world.sound_traces().await;
    let (own, others): (Vec<_>, Vec<_>) = traces
        .iter()
        .partition(|trace| PRODUCERS.iter().all(|(_, root, ..)| trace.id != *root));
    assert_eq!((own.len(), others.len()), (1, PRODUCERS.len()));
    let to_messages: BTreeSet<_> = links(own[0]);
    let messages: BTreeSet<_> = others
        .iter()
        .map(|trace| (trace.id.clone(), message_segment(trace).id.clone()))
        .collect();
    assert_eq!(to_messages, messages);
    for trace in others {
        assert!(
            links(trace)
                .iter()
                .all(|(trace_id, _)| *trace_id == own[0].id)
        );
        assert!(!links(trace).is_empty(), "{trace:#?}");
    }
}

fn links(trace: &Trace) -> BTreeSet<(String, String)> {
    let links = trace.nodes().flat_map(|node| &node.links);
    links
        .map(|link| (link.trace_id.clone(), link.id.clone()))
        .collect()
}

#[track_caller]
fn message_segment(trace: &Trace) -> &Place {
    let mut segments = trace.nodes().filter(|node| node.kind == Kind::Segment);
    let segment = segments
        .next()
        .unwrap_or_else(|| panic!("no segment in {trace:#?}"));
    assert!(
        segments.next().is_none(),
        "more than one segment in {trace:#?}"
    );
    segment
}
