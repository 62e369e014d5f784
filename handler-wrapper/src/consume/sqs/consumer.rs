//! Settings of an SQS consumer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};

use crate::{
    batch::{report::FailedMessage, schedule::Schedule, stitch::Mode},
    trace::failure::Failure,
};

/// Handles batches of messages, each message in its own trace.
///
/// A message fails if its closure returns an error or panics; other messages are unaffected. The
/// messages of a group in a FIFO queue are handled in order, and after a failure the rest of the
/// group is returned unprocessed. Other groups continue.
///
/// Each message that is not done is reported in the function's log at level ERROR, with its id,
/// queue, group, receive count, trace and error: through the subscriber of `tracing` if there is one
/// (feature `tracing`), or else as a line of JSON on standard error. [`on_failure`](Self::on_failure)
/// replaces the report. The subsegment around the batch has the annotations `received`, `failed`
/// and `unprocessed`.
///
/// Once less than the margin is left until the function's deadline, no further message begins.
/// Messages in progress are dropped (their segments end as cancelled), and all of these are
/// returned as failed. Finished messages so stay finished, whereas a timeout would return the whole
/// batch. A closure that blocks its thread cannot be dropped.
///
/// ```
/// use std::time::Duration;
/// use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
/// use lambda_runtime::{Error, LambdaEvent};
/// use tracestitch::sqs::{Consumer, Mode};
///
/// async fn handler(event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
///     let consumer = Consumer::new()
///         .concurrency(10)
///         .deadline_margin(Duration::from_secs(2))
///         .mode_for(|message| match message.body.as_deref() {
///             Some("heartbeat") => Mode::Link,
///             _ => Mode::Stitch,
///         });
///     Ok(consumer.each(event.payload, |message| async move {
///         println!("{:?}", message.message_id);
///         Ok::<_, Error>(())
///     })
///     .await)
/// }
/// ```
///
/// A consumer is also a [tower layer](tower::Layer): it turns a service of single messages into a
/// handler of batches, see [`EachMessage`](crate::sqs::EachMessage).
pub struct Consumer<M = SqsMessage>(pub(super) Schedule<M>);

impl Consumer {
    /// Creates a consumer that handles one message at a time, with [`Mode::Stitch`] and a margin of
    /// half a second. `Consumer::default()` creates the same for messages of other types, for a
    /// `Poller`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Handles each message of `event` with `handle`. Returns the failed ones.
    ///
    /// The response has `batchItemFailures`: switch on `ReportBatchItemFailures` in the event
    /// source mapping (AWS Lambda developer guide, "Handling errors for an SQS event source").
    /// `Kind` is inferred: see [`Failure`](crate::Failure).
    pub fn each<H, F, T, E, Kind>(
        &self,
        event: SqsEvent,
        handle: H,
    ) -> impl Future<Output = SqsBatchResponse> + use<H, F, T, E, Kind>
    where
        H: FnMut(SqsMessage) -> F,
        F: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        let schedule = self.0.clone();
        async move {
            // For an empty id Lambda returns the whole batch (AWS Lambda developer guide, "Handling
            // errors for an SQS event source"), so no message is lost.
            let id = |message: &SqsMessage| message.message_id.clone().unwrap_or_default();
            let ids: Vec<String> = event.records.iter().map(id).collect();
            let done = schedule.work_off(event.records, handle).await;
            let mut response = SqsBatchResponse::default();
            for (id, done) in ids.into_iter().zip(done) {
                if !done {
                    let mut failure = BatchItemFailure::default();
                    failure.item_identifier = id;
                    response.batch_item_failures.push(failure);
                }
            }
            response
        }
    }
}

impl<M> Consumer<M> {
    /// Handles up to `limit` messages at a time; 0 counts as 1. They share the handler's task, so
    /// they overlap while they wait.
    #[must_use]
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.0.concurrency = limit.max(1);
        self
    }

    /// Handles all messages in this mode.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        self.mode_for(move |_| mode)
    }

    /// Chooses the mode of each message. A choice that panics counts as [`Mode::Stitch`].
    #[must_use]
    pub fn mode_for(mut self, choose: impl Fn(&M) -> Mode + Send + Sync + 'static) -> Self {
        self.0.choose = Arc::new(choose);
        self
    }

    /// Reports each message that is not done with `report`, instead of a line in the function's
    /// log. `report` runs in the message's trace, outside of its segment; its panics are contained.
    ///
    /// ```
    /// let consumer = tracestitch::sqs::Consumer::new().on_failure(|message| {
    ///     println!("{message}, received {:?} times", message.receive_count);
    /// });
    /// ```
    #[must_use]
    pub fn on_failure(mut self, report: impl Fn(&FailedMessage) + Send + Sync + 'static) -> Self {
        self.0.on_failure = Some(Arc::new(report));
        self
    }

    /// Sets the time before the function's deadline at which unfinished messages are given up; half
    /// a second unless set. At most half of the function's time counts. [`Duration::MAX`] switches
    /// this off.
    #[must_use]
    pub fn deadline_margin(mut self, margin: Duration) -> Self {
        self.0.margin = margin;
        self
    }
}

impl<M> Default for Consumer<M> {
    fn default() -> Self {
        Self(Schedule::default())
    }
}

impl<M> Clone for Consumer<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M> fmt::Debug for Consumer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.0).finish()
    }
}
