use serde_json::json;

use super::*;

const TRACE: &str = "1-581cf771-a006649127e371903a2de979";

fn documents(bodies: Vec<Value>) -> Vec<Document> {
    let complete = |mut body: Value| {
        body["trace_id"] = TRACE.into();
        Document::read(body).unwrap()
    };
    bodies.into_iter().map(complete).collect()
}

/// Returns five documents of an order that passed through a queue and failed there.
fn chain() -> Vec<Document> {
    documents(vec![
        json!({"id": "0000000000000005", "parent_id": "0000000000000004", "name": "order-worker",
            "origin": "AWS::Lambda::Function", "start_time": 10.1, "end_time": 10.15, "fault": true,
            "cause": {"exceptions": [{"type": "Rejected", "message": "quantity 0\u{1b}[31m"}]},
            "links": [{"trace_id": "1-581cf771-b006649127e371903a2de979", "id": "00000000000000aa"}],
            "subsegments": [{"id": "0000000000000006", "name": "DynamoDB", "namespace": "aws",
                "start_time": 10.11, "end_time": 10.12,
                "aws": {"operation": "GetItem", "table_name": "orders"},
                "http": {"response": {"status": 200}}}]}),
        json!({"id": "0000000000000004", "parent_id": "0000000000000002", "name": "SQS",
            "type": "subsegment", "namespace": "aws", "start_time": 10.02, "end_time": 10.03,
            "aws": {"operation": "SendMessage", "retries": 1,
                "queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/orders"}}),
        json!({"id": "0000000000000003", "parent_id": "0000000000000002", "name": "validate",
            "type": "subsegment", "start_time": 10.01, "in_progress": true,
            "annotations": {"order_id": "A-1", "quantity": 0}}),
        json!({"id": "0000000000000002", "parent_id": "0000000000000001", "name": "order-api",
            "origin": "AWS::Lambda::Function", "start_time": 10.0, "end_time": 10.05}),
        json!({"id": "0000000000000001", "name": "order-api", "origin": "AWS::Lambda",
            "start_time": 10.0, "end_time": 10.05}),
    ])
}

#[test]
fn trace_through_a_queue_is_printed_as_a_tree() {
    let expected = "\
trace 1-581cf771-a006649127e371903a2de979  150.0 ms
order-api  [AWS::Lambda]  50.0 ms
└─ order-api  [AWS::Lambda::Function]  50.0 ms
   ├─ validate  in progress  order_id=A-1  quantity=0
   └─ SQS  [aws]  10.0 ms  operation=SendMessage  queue=orders  retries=1
      └─ order-worker  [AWS::Lambda::Function]  50.0 ms  FAULT
         │   ! Rejected: quantity 0\u{fffd}[31m
         │   -> 00000000000000aa of 1-581cf771-b006649127e371903a2de979
         └─ DynamoDB  [aws]  10.0 ms  operation=GetItem  table=orders  status=200
";
    assert_eq!(Trace::build(TRACE, &chain()).to_string(), expected);
}

#[test]
fn tree_does_not_depend_on_the_order_of_arrival() {
    let mut documents = chain();
    let expected = Trace::build(TRACE, &documents);
    documents.reverse();
    assert_eq!(Trace::build(TRACE, &documents), expected);
}

#[test]
fn node_without_its_parent_is_printed_separately() {
    let documents = documents(vec![
        json!({"id": "0000000000000002", "parent_id": "00000000000000ff", "name": "late",
            "type": "subsegment", "start_time": 2.0, "end_time": 2.5, "error": true, "throttle": true}),
        json!({"id": "0000000000000001", "parent_id": "00000000000000ff", "name": "early",
            "type": "subsegment", "start_time": 1.0, "end_time": 1.5}),
        json!({"id": "0000000000000003", "parent_id": "0000000000000001", "name": "inner",
            "type": "subsegment", "start_time": 1.0, "end_time": 1.0}),
    ]);
    let expected = "\
trace 1-581cf771-a006649127e371903a2de979  1500.0 ms
(parent not received)
├─ early  500.0 ms
│  └─ inner  0.0 ms
└─ late  500.0 ms  ERROR  THROTTLE
";
    assert_eq!(Trace::build(TRACE, &documents).to_string(), expected);
}

#[test]
fn nodes_in_a_ring_are_kept() {
    let documents = documents(vec![
        json!({"id": "0000000000000001", "parent_id": "0000000000000002", "name": "a",
            "start_time": 1.0, "end_time": 1.5}),
        json!({"id": "0000000000000002", "parent_id": "0000000000000001", "name": "b",
            "start_time": 1.0, "end_time": 1.5}),
        json!({"id": "0000000000000003", "parent_id": "0000000000000003", "name": "c",
            "start_time": 1.0, "end_time": 1.5}),
    ]);
    let names: Vec<_> = Trace::build(TRACE, &documents)
        .nodes()
        .map(|node| node.name.clone())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn finished_embedded_subsegment_replaces_its_fragment() {
    let documents = documents(vec![
        json!({"id": "0000000000000002", "parent_id": "0000000000000001", "name": "call",
            "type": "subsegment", "start_time": 1.0, "in_progress": true}),
        json!({"id": "0000000000000001", "name": "whole", "start_time": 1.0, "end_time": 2.0,
            "subsegments": [{"id": "0000000000000002", "name": "call",
                "start_time": 1.0, "end_time": 1.5}]}),
    ]);
    let trace = Trace::build(TRACE, &documents);
    assert!(trace.nodes().all(|node| node.end.is_some()), "{trace}");
}
