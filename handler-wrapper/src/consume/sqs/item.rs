//! Messages of SQS as items of a batch.

use serde_json::Value;
use tracestitch_wire::header::TraceHeader;

use crate::{
    batch::item::Item,
    incoming::{self, message::SqsRecord},
    settings::carriers::Carriers,
};

impl<M: SqsRecord> Item for M {
    const SOURCE: &'static str = "sqs";
    const NOUN: &'static str = "message";

    fn carried(&self, carriers: &Carriers) -> Option<TraceHeader> {
        incoming::sqs::of_message(self, carriers)
    }

    /// Standard queues may have groups, too, for fair delivery; those imply no order (SQS developer
    /// guide, "Amazon SQS fair queues"). Only names of FIFO queues end in `.fifo` (SQS developer
    /// guide, "FIFO queue and message identifiers"), and only their messages have a sequence number
    /// (SQS API reference, `ReceiveMessage`).
    fn group(&self) -> Option<&str> {
        let group = self.system("MessageGroupId")?;
        let fifo = self.queue().is_some_and(|queue| queue.ends_with(".fifo"))
            || self.system("SequenceNumber").is_some();
        fifo.then_some(group)
    }

    fn id(&self) -> Option<&str> {
        SqsRecord::id(self)
    }

    fn receive_count(&self) -> Option<u64> {
        self.system("ApproximateReceiveCount")?.parse().ok()
    }

    fn came_from(&self) -> String {
        let arn = self.queue().unwrap_or("queue");
        arn.rsplit(':').next().unwrap_or(arn).to_owned()
    }

    fn annotations(&self) -> Vec<(&'static str, String)> {
        let id = Item::id(self).map(|id| ("message_id", id.to_owned()));
        let group = self
            .group()
            .map(|group| ("message_group", group.to_owned()));
        id.into_iter().chain(group).collect()
    }

    /// The time in the queue is a field. On the timeline it is the gap between the producer's call
    /// and this segment; a subsegment that begins before its segment is not drawn.
    fn facts(&self, now: i64) -> Vec<(&'static str, Option<Value>)> {
        let number = |name: &str| self.system(name)?.parse::<i64>().ok();
        let waited = number("SentTimestamp").map(|sent| now.saturating_sub(sent).max(0));
        vec![
            ("message_id", Item::id(self).map(Value::from)),
            ("queue", self.queue().map(Value::from)),
            ("receive_count", self.receive_count().map(Value::from)),
            ("queue_ms", waited.map(Value::from)),
        ]
    }
}
