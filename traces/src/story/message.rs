//! The facts that the crate `tracestitch` records about a message.

use crate::model::Node;

/// A message of a queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) id: String,
    /// The queue's name.
    pub(super) queue: String,
    pub(super) receive_count: Option<u64>,
    /// The seconds from its sending to the start of the work.
    pub(super) waited: Option<f64>,
    /// The trace of the invocation that handled it.
    pub(super) invocation: Option<String>,
}

/// Returns the message that a segment or subsegment handles.
pub(super) fn message(node: &Node) -> Option<Message> {
    let text = |key: &str| node.text(&["metadata", "sqs", key]);
    let value = |key: &str| node.value(&["metadata", "sqs", key]);
    let arn = text("queue").unwrap_or("queue");
    Some(Message {
        id: text("message_id")?.to_owned(),
        queue: arn.rsplit([':', '/']).next().unwrap_or(arn).to_owned(),
        receive_count: value("receive_count").and_then(|count| count.as_u64()),
        waited: value("queue_ms")
            .and_then(|waited| waited.as_f64())
            .map(|milliseconds| milliseconds / 1000.0),
        invocation: text("invocation_trace").map(str::to_owned),
    })
}
