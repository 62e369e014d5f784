use serde_json::json;

use super::*;
use crate::model::Document;

const TRACE: &str = "1-581cf771-a006649127e371903a2de979";

fn text(bodies: Vec<Value>) -> String {
    let complete = |mut body: Value| {
        body["trace_id"] = TRACE.into();
        Document::read(body).unwrap()
    };
    let documents: Vec<_> = bodies.into_iter().map(complete).collect();
    Trace::build(TRACE, &documents).to_string()
}

#[test]
fn trace_through_a_queue_is_printed_as_a_tree() {
    let order = vec![
        json!({"id": "0000000000000005", "parent_id": "0000000000000004", "name": "order-worker",
            "origin": "AWS::Lambda::Function", "start_time": 10.1, "end_time": 10.15, "fault": true,
            "cause": {"exceptions": [{"type": "Rejected", "message": "quantity 0\u{1b}[31m"},
                {"type": "ParseError", "message": "no digit\nfound"}]},
            "metadata": {"sqs": {"message_id": "m-1", "receive_count": 2}},
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
    ];
    let expected = "\
trace 1-581cf771-a006649127e371903a2de979  1970-01-01T00:00:10Z  150.0 ms
order-api  [AWS::Lambda]  50.0 ms
└─ order-api  [AWS::Lambda::Function]  50.0 ms
   ├─ validate  in progress  order_id=A-1  quantity=0
   └─ SQS  [aws]  10.0 ms  operation=SendMessage  queue=orders  retries=1
      └─ order-worker  [AWS::Lambda::Function]  50.0 ms  FAULT
         │   ! Rejected: quantity 0\u{fffd}[31m
         │   ! caused by ParseError: no digit
         │   ! found
         │   -> 00000000000000aa of 1-581cf771-b006649127e371903a2de979
         │   sqs.message_id: m-1
         │   sqs.receive_count: 2
         └─ DynamoDB  [aws]  10.0 ms  operation=GetItem  table=orders  status=200
";
    assert_eq!(text(order), expected);
}

#[test]
fn node_without_its_parent_is_printed_separately() {
    let parts = vec![
        json!({"id": "0000000000000002", "parent_id": "00000000000000ff", "name": "late",
            "type": "subsegment", "start_time": 2.0, "end_time": 2.5, "error": true, "throttle": true}),
        json!({"id": "0000000000000001", "parent_id": "00000000000000ff", "name": "early",
            "type": "subsegment", "start_time": 1.0, "end_time": 1.5}),
        json!({"id": "0000000000000003", "parent_id": "0000000000000001", "name": "inner",
            "type": "subsegment", "start_time": 1.0, "end_time": 1.0}),
        json!({"id": "0000000000000004", "parent_id": "0000000000000003", "name": "innermost",
            "type": "subsegment", "start_time": 1.0, "end_time": 1.0}),
    ];
    let expected = "\
trace 1-581cf771-a006649127e371903a2de979  1970-01-01T00:00:01Z  1500.0 ms
(parent not received)
├─ early  500.0 ms
│  └─ inner  0.0 ms
│     └─ innermost  0.0 ms
└─ late  500.0 ms  ERROR  THROTTLE
";
    assert_eq!(text(parts), expected);
}

#[test]
fn text_of_ten_thousand_levels_grows_with_the_nodes() {
    let level = |number: u64| {
        json!({"id": format!("{number:016x}"), "parent_id": format!("{:016x}", number - 1),
            "name": "level", "type": "subsegment", "start_time": 1.0, "end_time": 2.0})
    };
    let deep = text((1..=10_000).map(level).collect());
    assert_eq!(deep.lines().count(), 10_002);
    assert!(deep.len() < 10_000 * 320, "{} bytes", deep.len());
}
