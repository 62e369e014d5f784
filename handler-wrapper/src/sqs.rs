//! SQS consumers: each message in the trace of whoever sent it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::FutureExt;
use serde_json::Value;
use tracestitch_wire::{
    document::{Document, Link, Text},
    header::{Sampling, TraceHeader},
    time::Timestamp,
};

use crate::{
    capture::Recorded, clock, context::Context, failure::Failure, incoming, invocation::FUNCTION,
    subsegment::Subsegment, trace::Trace,
};

/// Handles each message of a batch in the message's own trace, one after the other, and says
/// which of them failed.
///
/// A message that brings a sampled context gets a segment in its producer's trace, named after
/// the function, under the producer's call; everything that `handle` does hangs under it, and
/// its calls carry that trace on. The invocation's own trace gets a thin subsegment that points
/// there. A message that brings `Sampled=0` is not recorded, and its calls carry that on. A
/// message that brings nothing is handled in the invocation's trace.
///
/// A message fails when `handle` returns an error or panics; the others are not touched by it.
/// Failed messages come back in `batchItemFailures`: switch on `ReportBatchItemFailures` in the
/// event source mapping, or Lambda takes the batch for a success (AWS Lambda developer guide,
/// "Handling errors for an SQS event source").
///
/// ```
/// use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut poison = SqsMessage::default();
/// poison.message_id = Some("m-1".to_owned());
/// poison.body = Some("not a number".to_owned());
/// let mut event = SqsEvent::default();
/// event.records = vec![poison];
///
/// let response = tracestitch::sqs::each(event, |message| async move {
///     message.body.unwrap_or_default().parse::<i32>().map(drop)
/// })
/// .await;
/// assert_eq!(response.batch_item_failures[0].item_identifier, "m-1");
/// # }
/// ```
pub async fn each<H, F, T, E, Kind>(event: SqsEvent, mut handle: H) -> SqsBatchResponse
where
    H: FnMut(SqsMessage) -> F,
    F: Future<Output = Result<T, E>>,
    E: Failure<Kind>,
{
    let context = Context::current();
    let mut failed = Vec::new();
    for message in event.records {
        let id = message.message_id.clone().unwrap_or_default();
        if !handle_one(&context, message, &mut handle).await {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = id;
            failed.push(failure);
        }
    }
    let mut response = SqsBatchResponse::default();
    response.batch_item_failures = failed;
    response
}

/// True when the message is done with.
async fn handle_one<F, T, E, Kind>(
    context: &Context,
    message: SqsMessage,
    handle: &mut impl FnMut(SqsMessage) -> F,
) -> bool
where
    F: Future<Output = Result<T, E>>,
    E: Failure<Kind>,
{
    let Stitched {
        context,
        segment,
        pointer,
    } = Stitched::begin(context, &message);
    // The closure's own part of the work, before its first await, belongs to the message, too.
    let work = async { handle(message).await };
    let judged = Recorded::new(context, segment, work, |outcome: Result<T, E>, segment| {
        outcome
            .inspect_err(|error| segment.record_failure(error))
            .is_ok()
    });
    let succeeded = AssertUnwindSafe(judged)
        .catch_unwind()
        .await
        .unwrap_or(false);
    if !succeeded {
        pointer.amend(|document| document.error = true);
    }
    pointer.finish();
    succeeded
}

/// Where a message is handled.
struct Stitched {
    /// What its work runs in.
    context: Context,
    /// What its outcome is put on: the segment in the producer's trace, or the subsegment in the
    /// invocation's, or nothing.
    segment: Subsegment,
    /// The thin subsegment in the invocation's trace.
    pointer: Subsegment,
}

impl Stitched {
    fn begin(invocation: &Context, message: &SqsMessage) -> Self {
        let facts = Facts::of(message);
        let describe = |document: &mut Document| facts.describe(document);
        let trace = invocation.trace();
        let carried = trace.and_then(|trace| Some((trace, incoming::sqs::of_message(message)?)));
        let Some((trace, header)) = carried else {
            let segment = Subsegment::begin_with(invocation, facts.queue(), describe);
            let context = if segment.is_recording() {
                segment.context()
            } else {
                invocation.clone()
            };
            return Self {
                context,
                segment,
                pointer: Subsegment::default(),
            };
        };
        let trace = Arc::new(trace.carried(header));
        let mut document = trace
            .sampled()
            .map(|header| segment_of(&trace, header, &facts));
        let link = document.as_ref().map(|segment| Link {
            trace_id: segment.trace_id,
            id: segment.id,
        });
        let pointer = Subsegment::begin_with(invocation, facts.queue(), |pointer| {
            facts.describe(pointer);
            note(
                pointer,
                "trace",
                trace.header.as_ref().map(|header| header.root.to_string()),
            );
            pointer.links.extend(link);
            let back = Link {
                trace_id: pointer.trace_id,
                id: pointer.id,
            };
            if let Some(segment) = &mut document {
                note(segment, "invocation_trace", Some(back.trace_id.to_string()));
                segment.links.push(back);
            }
        });
        match document {
            Some(document) => {
                let segment = Subsegment::start(trace, Box::new(document));
                Self {
                    context: segment.context(),
                    segment,
                    pointer,
                }
            }
            None => Self {
                context: Context::passing(trace),
                segment: Subsegment::default(),
                pointer,
            },
        }
    }
}

fn segment_of(trace: &Trace, header: &TraceHeader, facts: &Facts<'_>) -> Document {
    debug_assert_eq!(header.sampling, Sampling::Sampled);
    let name = trace.tracer.function_name.clone().into();
    let mut segment = Document::segment(name, header.root, header.parent, clock::now());
    segment.origin = Some(FUNCTION);
    facts.describe(&mut segment);
    segment
}

/// What a segment says of its message. Never its body or attributes.
struct Facts<'a> {
    message: &'a SqsMessage,
}

impl<'a> Facts<'a> {
    fn of(message: &'a SqsMessage) -> Self {
        Self { message }
    }

    /// Name of the queue: the last part of its ARN.
    fn queue(&self) -> String {
        let arn = self.message.event_source_arn.as_deref().unwrap_or("queue");
        arn.rsplit(':').next().unwrap_or(arn).to_owned()
    }

    fn attribute(&self, name: &str) -> Option<i64> {
        self.message.attributes.get(name)?.parse().ok()
    }

    fn describe(&self, document: &mut Document) {
        note(document, "message_id", self.message.message_id.clone());
        note(document, "queue", self.message.event_source_arn.clone());
        note(
            document,
            "receive_count",
            self.attribute("ApproximateReceiveCount"),
        );
        let waited = self
            .attribute("SentTimestamp")
            .map(|sent| millis(document.start_time).saturating_sub(sent).max(0));
        note(document, "queue_ms", waited);
    }
}

fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros() / 1000).unwrap_or(i64::MAX)
}

fn note(document: &mut Document, key: &'static str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        document.put_metadata(Text::from("sqs"), key.into(), value.into());
    }
}

#[cfg(test)]
mod tests;
