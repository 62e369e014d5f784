//! The event that Lambda makes from SQS messages.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::account::REGION;
use crate::sqs::Queue;

/// Builds the event (Lambda developer guide, "Example standard queue message event").
pub(super) fn build(messages: &[Value], queue: &Queue) -> Bytes {
    let records: Vec<Value> = messages
        .iter()
        .map(|message| record(message, queue))
        .collect();
    json!({"Records": records}).to_string().into()
}

fn record(message: &Value, queue: &Queue) -> Value {
    let own = message["MessageAttributes"]
        .as_object()
        .into_iter()
        .flatten();
    let own: Map<String, Value> = own
        .map(|(name, value)| (name.clone(), attribute(value)))
        .collect();
    json!({
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": own,
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": REGION,
    })
}

fn attribute(value: &Value) -> Value {
    let mut attribute = json!({
        "stringListValues": [],
        "binaryListValues": [],
        "dataType": value["DataType"],
    });
    for (from, to) in [
        ("StringValue", "stringValue"),
        ("BinaryValue", "binaryValue"),
    ] {
        if !value[from].is_null() {
            attribute[to] = value[from].clone();
        }
    }
    attribute
}
