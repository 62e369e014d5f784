use serde_json::{Value, json};

use super::*;
use crate::model::{Document, Trace};

const ORDER: &str = "1-00000001-00000000000000000000000a";
const FIRST: &str = "1-00000002-00000000000000000000000b";
const SECOND: &str = "1-00000003-00000000000000000000000c";
const ARN: &str = "arn:aws:sqs:us-east-1:123456789012:";

fn trace(id: &str, bodies: Vec<Value>) -> Trace {
    let read = |mut body: Value| {
        body["trace_id"] = id.into();
        Document::read(body).unwrap()
    };
    let documents: Vec<_> = bodies.into_iter().map(read).collect();
    Trace::build(id, &documents)
}

/// A segment of the worker in the producer's trace, as the crate `tracestitch` writes it.
fn attempt(id: u8, start: f64, queue: &str, receive: u32, invocation: &str, fails: bool) -> Value {
    let mut body = json!({"id": format!("{id:016x}"), "parent_id": "0000000000000005",
        "name": if queue == "orders" { "worker" } else { "undertaker" },
        "origin": "AWS::Lambda::Function", "start_time": start, "end_time": start + 0.5,
        "metadata": {"sqs": {"message_id": "m-1", "queue": format!("{ARN}{queue}"),
            "receive_count": receive, "queue_ms": (start - 10.5) * 1000.0,
            "invocation_trace": invocation}},
        "links": [{"trace_id": invocation, "id": "00000000000000aa"}]});
    if fails {
        body["fault"] = true.into();
        body["cause"] = json!({"exceptions": [{"type": "Rejected", "message": "quantity is 0"}]});
    }
    body
}

fn order(attempts: Vec<Value>) -> Trace {
    let mut bodies = vec![
        json!({"id": "0000000000000001", "name": "api", "origin": "AWS::Lambda",
            "start_time": 10.0, "end_time": 10.75}),
        json!({"id": "0000000000000002", "parent_id": "0000000000000001", "name": "api",
            "origin": "AWS::Lambda::Function", "start_time": 10.0, "end_time": 10.75,
            "subsegments": [{"id": "0000000000000003", "name": "api", "start_time": 10.0,
                "end_time": 10.75, "http": {"request": {"method": "POST", "url": "http://x/orders"},
                    "response": {"status": 202}},
                "subsegments": [{"id": "0000000000000005", "name": "SQS", "namespace": "aws",
                    "start_time": 10.5, "end_time": 10.625, "aws": {"operation": "SendMessage",
                        "queue_url": "https://sqs/1/orders"}}]}]}),
    ];
    bodies.extend(attempts);
    trace(ORDER, bodies)
}

fn invocation(id: &str, receive: u32, timeout: bool) -> Trace {
    let mut function = json!({"id": "00000000000000a1", "parent_id": "00000000000000a0",
        "name": "worker", "origin": "AWS::Lambda::Function", "start_time": 11.0, "end_time": 12.0,
        "subsegments": [{"id": "00000000000000aa", "name": "orders", "start_time": 11.0,
            "end_time": 11.5, "fault": true,
            "metadata": {"sqs": {"message_id": "m-1", "receive_count": receive, "trace": ORDER}},
            "links": [{"trace_id": ORDER, "id": "0000000000000006"}]}]});
    if timeout {
        function["fault"] = true.into();
        function["cause"] = json!({"exceptions": [{"type": "Timeout", "message": "after 3 s"}]});
    }
    let service = json!({"id": "00000000000000a0", "name": "worker", "origin": "AWS::Lambda",
        "start_time": 11.0, "end_time": 12.0});
    trace(id, vec![service, function])
}

/// The order fails twice and moves to the dead-letter queue, where the undertaker handles it.
fn failed() -> Vec<Trace> {
    vec![
        order(vec![
            attempt(6, 11.0, "orders", 1, FIRST, true),
            attempt(7, 13.0, "orders", 2, SECOND, true),
            attempt(
                8,
                15.0,
                "orders-dead",
                1,
                "1-00000004-00000000000000000000000d",
                false,
            ),
        ]),
        invocation(FIRST, 1, true),
        invocation(SECOND, 2, false),
    ]
}

#[test]
fn order_through_queue_retry_and_dead_letter_queue_is_one_story() {
    let expected = "\
story of 3 traces  1970-01-01T00:00:10Z  5500.0 ms
slowest: dead-letter queue orders-dead  1500.0 ms
first failure: function worker  worker: fault: Rejected: quantity is 0

+0.0 ms  request POST http://x/orders  status 202  750.0 ms  0000000000000002 of 1-00000001-00000000000000000000000a
+0.0 ms  function api  750.0 ms  0000000000000002 of 1-00000001-00000000000000000000000a
+500.0 ms  queue orders  waited 500.0 ms  receive 1  message m-1
+1000.0 ms  function worker  500.0 ms  receive 1  0000000000000006 of 1-00000001-00000000000000000000000a
    invocation 1-00000002-00000000000000000000000b  1000.0 ms
    ! worker: fault: Timeout: after 3 s
    ! worker: fault: Rejected: quantity is 0
+1500.0 ms  queue orders  waited 1500.0 ms  receive 2  message m-1
    (since the last receive failed)
+3000.0 ms  function worker  500.0 ms  receive 2  0000000000000007 of 1-00000001-00000000000000000000000a
    invocation 1-00000003-00000000000000000000000c  1000.0 ms
    ! worker: fault: Rejected: quantity is 0
+3500.0 ms  dead-letter queue orders-dead  waited 1500.0 ms  receive 1  message m-1
    (since the last receive failed)
+5000.0 ms  function undertaker  500.0 ms  receive 1  0000000000000008 of 1-00000001-00000000000000000000000a
    invocation 1-00000004-00000000000000000000000d
";
    assert_eq!(story(&failed()).to_string(), expected);
}

#[test]
fn message_whose_last_receive_failed_and_message_without_receipt_are_noted() {
    let last = story(&[order(vec![attempt(6, 11.0, "orders", 1, FIRST, true)])]);
    let note = last.hops.last().unwrap().note.as_deref();
    assert!(note.unwrap().contains("dead-letter queue"));
    let sent = story(&[order(Vec::new())]);
    let queue = sent.hops.last().unwrap();
    assert_eq!(
        (queue.kind, queue.name.as_str()),
        (HopKind::Queue, "orders")
    );
    assert!(queue.note.as_deref().unwrap().contains("sent"));
    assert_eq!(sent.first_failure, None);
}

#[test]
fn topic_follows_the_function_that_publishes() {
    let notifier = story(&[trace(
        ORDER,
        vec![json!({"id": "0000000000000001", "name": "worker",
        "origin": "AWS::Lambda::Function", "start_time": 1.0, "end_time": 2.0,
        "subsegments": [{"id": "0000000000000002", "name": "SNS", "namespace": "aws",
            "start_time": 1.5, "end_time": 1.75, "fault": true, "http": {"response": {"status": 500}},
            "aws": {"operation": "Publish", "topic_arn": "arn:aws:sns:us-east-1:1:shipped"}}]})],
    )]);
    let kinds: Vec<_> = notifier
        .hops
        .iter()
        .map(|hop| (hop.kind, hop.name.as_str()))
        .collect();
    assert_eq!(
        kinds,
        [(HopKind::Function, "worker"), (HopKind::Topic, "shipped")]
    );
    assert_eq!(notifier.hops[0].failures, ["SNS Publish: fault: HTTP 500"]);
}

#[test]
fn links_lead_to_invocations_and_messages() {
    let traces = failed();
    let from_order = linked(&traces[0]);
    assert_eq!(from_order.invocations.len(), 3);
    assert!(from_order.messages.is_empty());
    let from_invocation = linked(&traces[1]);
    assert_eq!(
        from_invocation.messages.into_iter().collect::<Vec<_>>(),
        [ORDER]
    );
    assert!(from_invocation.invocations.is_empty());
}

#[test]
fn empty_story_has_no_hops() {
    assert_eq!(story(&[]).hops, []);
    assert_eq!(story(&[trace(ORDER, Vec::new())]).duration, 0.0);
}
