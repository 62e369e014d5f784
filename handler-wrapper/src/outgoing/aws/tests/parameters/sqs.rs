//! The rows of SQS.

use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};

use super::{
    super::*,
    row::{Row, row},
};

const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";

fn sending() -> Vec<Row> {
    let attribute = || {
        let attribute = MessageAttributeValue::builder().data_type("String");
        attribute.string_value("s3cr3t").build().unwrap()
    };
    let entry = |id: &str| {
        let entry = SendMessageBatchRequestEntry::builder().id(id);
        entry.message_body("s3cr3t").build().unwrap()
    };
    vec![
        row!(aws_sdk_sqs "SQS" "SendMessage",
            |sqs| sqs.send_message().queue_url(QUEUE).message_body("s3cr3t").delay_seconds(3)
            .message_attributes("b", attribute()).message_attributes("a", attribute()),
            json!({ "MessageId": "m-1" }),
            { "queue_url": QUEUE, "delay_seconds": 3, "message_attribute_names": ["a", "b"],
              "message_id": "m-1" }),
        row!(aws_sdk_sqs "SQS" "SendMessageBatch",
            |sqs| sqs.send_message_batch().queue_url(QUEUE).entries(entry("1"))
            .entries(entry("2")).entries(entry("3")),
            json!({
            "Successful": [
                { "Id": "1", "MessageId": "m-1", "MD5OfMessageBody": "5ebe2294ecd0e0f08eab7690d2a6ee69" },
                { "Id": "3", "MessageId": "m-3", "MD5OfMessageBody": "5ebe2294ecd0e0f08eab7690d2a6ee69" },
            ],
            "Failed": [{ "Id": "2", "SenderFault": true, "Code": "InvalidMessage" }],
            }),
            { "queue_url": QUEUE, "message_count": 3, "successful_count": 2, "failed_count": 1 }),
    ]
}

#[allow(deprecated, reason = "the older parameter is recorded, too")]
fn receiving() -> Vec<Row> {
    let entry = || {
        let entry = DeleteMessageBatchRequestEntry::builder().id("1");
        entry.receipt_handle("s3cr3t").build().unwrap()
    };
    vec![
        row!(aws_sdk_sqs "SQS" "ReceiveMessage",
            |sqs| sqs.receive_message().queue_url(QUEUE).attribute_names(QueueAttributeName::All)
                .message_system_attribute_names(MessageSystemAttributeName::AwsTraceHeader)
                .message_attribute_names("a").max_number_of_messages(10)
                .visibility_timeout(30).wait_time_seconds(5),
            json!({ "Messages": [{ "MessageId": "m", "Body": "s3cr3t", "MD5OfBody": "5ebe2294ecd0e0f08eab7690d2a6ee69" }] }),
            { "queue_url": QUEUE, "attribute_names": ["All"],
              "message_system_attribute_names": ["AWSTraceHeader"],
              "message_attribute_names": ["a"], "max_number_of_messages": 10,
              "visibility_timeout": 30, "wait_time_seconds": 5, "message_count": 1 }),
        row!(aws_sdk_sqs "SQS" "DeleteMessage",
            |sqs| sqs.delete_message().queue_url(QUEUE).receipt_handle("s3cr3t"), "{}",
            { "queue_url": QUEUE }),
        row!(aws_sdk_sqs "SQS" "ChangeMessageVisibility",
            |sqs| sqs.change_message_visibility().queue_url(QUEUE).receipt_handle("s3cr3t")
            .visibility_timeout(9), "{}",
            { "queue_url": QUEUE, "visibility_timeout": 9 }),
        row!(aws_sdk_sqs "SQS" "DeleteMessageBatch",
            |sqs| sqs.delete_message_batch().queue_url(QUEUE).entries(entry()),
            json!({ "Successful": [], "Failed": [
            { "Id": "1", "SenderFault": true, "Code": "ReceiptHandleIsInvalid", "Message": "s3cr3t" },
            ] }),
            { "queue_url": QUEUE,
              "failed": [{ "Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": true }] }),
        row!(aws_sdk_sqs "SQS" "ChangeMessageVisibilityBatch",
            |sqs| sqs.change_message_visibility_batch().queue_url(QUEUE).set_entries(Some(vec![])),
            json!({ "Successful": [], "Failed": [] }), { "queue_url": QUEUE, "failed": [] }),
    ]
}

fn queues() -> Vec<Row> {
    vec![
        row!(aws_sdk_sqs "SQS" "GetQueueUrl",
            |sqs| sqs.get_queue_url().queue_name("orders").queue_owner_aws_account_id("123456789012"),
            json!({ "QueueUrl": QUEUE }),
            { "queue_name": "orders", "queue_owner_aws_account_id": "123456789012", "queue_url": QUEUE }),
        row!(aws_sdk_sqs "SQS" "CreateQueue",
            |sqs| sqs.create_queue().queue_name("orders").attributes(QueueAttributeName::Policy, "s3cr3t"),
            json!({ "QueueUrl": QUEUE }),
            { "queue_name": "orders", "attributes": ["Policy"], "queue_url": QUEUE }),
        row!(aws_sdk_sqs "SQS" "SetQueueAttributes",
            |sqs| sqs.set_queue_attributes().queue_url(QUEUE).attributes(QueueAttributeName::Policy, "s3cr3t"),
            "{}", { "queue_url": QUEUE, "attribute_names": ["Policy"] }),
        row!(aws_sdk_sqs "SQS" "GetQueueAttributes",
            |sqs| sqs.get_queue_attributes().queue_url(QUEUE).attribute_names(QueueAttributeName::All),
            json!({ "Attributes": { "VisibilityTimeout": "30", "Policy": "s3cr3t" } }),
            { "queue_url": QUEUE, "attributes": ["Policy", "VisibilityTimeout"] }),
        row!(aws_sdk_sqs "SQS" "AddPermission",
            |sqs| sqs.add_permission().queue_url(QUEUE).label("readers")
            .aws_account_ids("210987654321").actions("ReceiveMessage"),
            "{}", { "queue_url": QUEUE, "label": "readers" }),
        row!(aws_sdk_sqs "SQS" "RemovePermission",
            |sqs| sqs.remove_permission().queue_url(QUEUE).label("readers"),
            "{}", { "queue_url": QUEUE, "label": "readers" }),
        row!(aws_sdk_sqs "SQS" "ListQueues", |sqs| sqs.list_queues().queue_name_prefix("or"),
            json!({ "QueueUrls": [QUEUE] }), { "queue_name_prefix": "or", "queue_count": 1 }),
        row!(aws_sdk_sqs "SQS" "ListDeadLetterSourceQueues",
            |sqs| sqs.list_dead_letter_source_queues().queue_url(QUEUE),
            json!({ "queueUrls": [QUEUE] }), { "queue_url": QUEUE, "queue_urls": [QUEUE] }),
        row!(aws_sdk_sqs "SQS" "ListDeadLetterSourceQueues",
            |sqs| sqs.list_dead_letter_source_queues().queue_url(QUEUE),
            json!({ "queueUrls": vec![QUEUE; 101] }),
            { "queue_url": QUEUE, "queue_urls": (vec![QUEUE; 100]) }),
        row!(aws_sdk_sqs "SQS" "PurgeQueue", |sqs| sqs.purge_queue().queue_url(QUEUE), "{}",
            { "queue_url": QUEUE }),
        row!(aws_sdk_sqs "SQS" "DeleteQueue", |sqs| sqs.delete_queue().queue_url(QUEUE), "{}",
            { "queue_url": QUEUE }),
    ]
}

pub(super) fn rows() -> Vec<Row> {
    [sending(), receiving(), queues()]
        .into_iter()
        .flatten()
        .collect()
}
