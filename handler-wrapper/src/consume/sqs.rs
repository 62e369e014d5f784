//! SQS consumers: each message in its producer's trace.
//!
//! Most functions need only [`each`]. A [`Consumer`] handles messages concurrently, chooses a
//! [`Mode`], and is a tower layer.
//!
//! | the message | what happens |
//! |---|---|
//! | carries a sampled context | a segment in the producer's trace, a subsegment in the invocation's trace that points to it |
//! | carries `Sampled=0` | not recorded; its calls carry `Sampled=0` of the producer's trace. A failure is on its subsegment in the invocation's trace |
//! | carries `Root` only, or `Sampled=?` | as above, with the header unchanged |
//! | carries nothing, or nothing valid | handled in the invocation's trace |
//! | comes from the same trace as another one | one more segment in that trace |
//! | is delivered again | one more segment in the same trace; `receive_count` tells them apart |
//!
//! The invocation's trace points to the first 100 messages of a batch: X-Ray keeps at most 500 KB
//! of a trace (X-Ray endpoints and quotas). The segments of the other messages still point to the
//! invocation.

use std::future::Future;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use tracestitch_wire::header::{Sampling, TraceHeader};

use crate::{
    incoming::{self, embed},
    trace::failure::Failure,
};

mod consumer;
mod each_message;
mod item;
#[cfg(feature = "sqs-poll")]
mod poller;

#[cfg(feature = "sqs-poll")]
pub use self::poller::{BatchOutcome, Poller};
pub use self::{consumer::Consumer, each_message::EachMessage};
pub use crate::{
    batch::{
        report::{FailedMessage, Reason},
        stitch::Mode,
    },
    incoming::message::SqsRecord,
};

/// Handles the messages of a batch one after the other, each in its own trace. Returns the failed
/// ones.
///
/// A message that carries a sampled context gets a segment in its producer's trace, named after the
/// function, under the producer's call. Everything that `handle` does becomes a child of it, and
/// its calls carry that trace. The invocation's trace gets a thin subsegment that points to the
/// segment. A message with `Sampled=0` is not recorded, and its calls carry `Sampled=0`. A message
/// without a context is handled in the invocation's trace.
///
/// A message fails if `handle` returns an error or panics; the other messages are unaffected.
/// Failed messages are returned in `batchItemFailures`: switch on `ReportBatchItemFailures` in the
/// event source mapping, or Lambda counts the batch as a success (AWS Lambda developer guide,
/// "Handling errors for an SQS event source").
///
/// `Kind` is inferred: see [`Failure`](crate::Failure).
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
pub async fn each<H, F, T, E, Kind>(event: SqsEvent, handle: H) -> SqsBatchResponse
where
    H: FnMut(SqsMessage) -> F,
    F: Future<Output = Result<T, E>>,
    E: Failure<Kind>,
{
    Consumer::new().each(event, handle).await
}

/// Returns the trace header that a message carries: the first valid one of system attribute,
/// message attribute, envelope and embedded field.
///
/// ```
/// use aws_lambda_events::sqs::SqsMessage;
///
/// let mut message = SqsMessage::default();
/// let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
/// message.attributes.insert("AWSTraceHeader".to_owned(), header.to_owned());
/// assert_eq!(tracestitch::sqs::trace_header(&message).unwrap().to_string(), header);
/// ```
pub fn trace_header(message: &impl SqsRecord) -> Option<TraceHeader> {
    embed::with_carriers(|carriers| incoming::sqs::of_message(message, carriers))
}

/// Returns true if the producer decided to record the trace of this message.
///
/// The X-Ray SDKs read the system attribute alone; this function reads every place of
/// [`trace_header`].
///
/// ```
/// let message = aws_lambda_events::sqs::SqsMessage::default();
/// assert!(!tracestitch::sqs::is_sampled(&message));
/// ```
pub fn is_sampled(message: &impl SqsRecord) -> bool {
    trace_header(message).is_some_and(|header| header.sampling == Sampling::Sampled)
}

#[cfg(test)]
mod tests;
