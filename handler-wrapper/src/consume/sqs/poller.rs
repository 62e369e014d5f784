//! Consumer of messages that the process receives itself.

use std::future::Future;
use std::sync::Arc;

use aws_sdk_sqs::types::Message;

use super::consumer::Consumer;
use crate::{
    layer::{invocation::Invocation, settings::TraceLayer},
    trace::{context::Context, failure::Failure, trace::Trace, tracer::Tracer},
};

/// Handles messages from `ReceiveMessage`, each in its producer's trace, for services in ECS, on
/// EC2 or on a developer's machine.
///
/// SQS returns only the attributes that a request names. A client with
/// [`TraceInterceptor`](crate::aws::TraceInterceptor) requests `AWSTraceHeader`, and
/// `MessageGroupId` and `SequenceNumber` if the queue's URL ends in `.fifo`. Without it, name them
/// (or `All`) in `message_system_attribute_names`; messages without a group or a sequence number
/// count as messages of a standard queue. Also name `SentTimestamp` and `ApproximateReceiveCount`, which segments record, and in
/// `message_attribute_names` the message attributes in which producers put a context.
///
/// A message without a context is recorded only if a rule of `TRACESTITCH_SAMPLING` matches: its
/// segment then begins a trace. Documents go to the X-Ray daemon at `AWS_XRAY_DAEMON_ADDRESS`. The
/// documents of a batch leave before [`each`](Self::each) completes, unless the daemon's name is
/// still being resolved. With [`Mode::Link`](super::Mode::Link) nothing is recorded: there is no
/// invocation to link from.
///
/// ```no_run
/// use lambda_runtime::Error;
/// use tracestitch::{TraceLayer, sqs::{Consumer, Poller}};
///
/// # async fn poll(sqs: aws_sdk_sqs::Client, queue: &str) -> Result<(), Error> {
/// let poller = Poller::new(TraceLayer::new(), "order-poller").with(Consumer::default().concurrency(10));
/// loop {
///     let received = sqs.receive_message().queue_url(queue).wait_time_seconds(20).send().await?;
///     let worked = poller.each(received.messages.unwrap_or_default(), |message| async move {
///         println!("{:?}", message.message_id());
///         Ok::<_, Error>(())
///     });
///     for handle in worked.await.done {
///         sqs.delete_message().queue_url(queue).receipt_handle(handle).send().await?;
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Poller {
    /// `None` if tracing is switched off.
    tracer: Option<Arc<Tracer>>,
    consumer: Consumer<Message>,
}

/// The outcome of a batch: receipt handles of its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchOutcome {
    /// Handled messages, to be deleted from the queue.
    pub done: Vec<String>,
    /// Failed messages, to be left to the visibility timeout.
    pub failed: Vec<String>,
}

impl Poller {
    /// Creates a poller that traces with the rules of `layer`. Segments are named `service`.
    ///
    /// The poller reads the environment and connects here, separately from other uses of `layer`.
    pub fn new(layer: TraceLayer, service: impl Into<String>) -> Self {
        Self {
            tracer: layer.service_tracer(service.into()),
            consumer: Consumer::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn tracing(tracer: Tracer) -> Self {
        Self {
            tracer: Some(Arc::new(tracer)),
            consumer: Consumer::default(),
        }
    }

    /// Handles messages with the settings of `consumer`.
    #[must_use]
    pub fn with(mut self, consumer: Consumer<Message>) -> Self {
        self.consumer = consumer;
        self
    }

    /// Handles each of `messages`. Messages of a FIFO queue, which have a group and a sequence number,
    /// are handled in order within their group: after a failure the rest of the group is not handled,
    /// and is among the failed ones. The groups of a standard queue imply no order.
    ///
    /// `Kind` is inferred: see [`Failure`](crate::Failure).
    pub fn each<H, F, T, E, Kind>(
        &self,
        messages: Vec<Message>,
        handle: H,
    ) -> impl Future<Output = BatchOutcome> + use<H, F, T, E, Kind>
    where
        H: FnMut(Message) -> F,
        F: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        let consumer = self.consumer.clone();
        let tracer = self.tracer.clone();
        async move {
            let handles: Vec<String> = messages
                .iter()
                .map(|message| message.receipt_handle().unwrap_or_default().to_owned())
                .collect();
            let work = consumer.0.work_off(messages, handle);
            let done = match &tracer {
                None => work.await,
                Some(tracer) => {
                    let trace = Trace {
                        deadline: Context::current().deadline(),
                        ..Trace::new(tracer.clone(), None, "")
                    };
                    Invocation::of_service(Arc::new(trace)).run(work).await
                }
            };
            let mut worked = BatchOutcome::default();
            for (handle, done) in handles.into_iter().zip(done) {
                let list = if done {
                    &mut worked.done
                } else {
                    &mut worked.failed
                };
                list.push(handle);
            }
            worked
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::MessageSystemAttributeName;
    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;
    use crate::{
        consume::sqs::{SqsRecord, is_sampled},
        tests::{
            header::{PARENT, ROOT, SAMPLED},
            kept::{Event, Kept},
        },
    };

    fn message(id: &str, header: &str) -> Message {
        Message::builder()
            .message_id(id)
            .receipt_handle(format!("r-{id}"))
            .attributes(MessageSystemAttributeName::AwsTraceHeader, header)
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "3")
            .build()
    }

    #[tokio::test]
    async fn received_messages_are_segments_of_the_service() {
        let kept = Kept::default();
        let poller = Poller::tracing(kept.tracer());
        let messages = vec![
            message("good", SAMPLED),
            message("bad", SAMPLED),
            message("none", ""),
        ];
        assert!(is_sampled(&messages[0]) && !is_sampled(&messages[2]));
        let worked = poller.each(messages, async |message| {
            (message.id() != Some("bad"))
                .then_some(())
                .ok_or(std::fmt::Error)
        });
        let worked = worked.await;
        assert_eq!(worked.done, ["r-good", "r-none"]);
        assert_eq!(worked.failed, ["r-bad"]);
        let segments = kept.closed();
        assert_eq!(segments.len(), 2, "{segments:?}");
        for segment in segments {
            assert_eq!(
                (&segment["trace_id"], &segment["parent_id"]),
                (&json!(ROOT), &json!(PARENT))
            );
            assert_eq!(segment["metadata"]["sqs"]["receive_count"], 3);
            assert_eq!(
                segment["fault"] == true,
                segment["metadata"]["sqs"]["message_id"] == "bad"
            );
        }
    }

    #[tokio::test]
    async fn rest_of_a_group_is_left_after_a_failure() {
        let grouped = |id: &str| {
            let mut message = message(id, "");
            let attributes = message.attributes.get_or_insert_default();
            attributes.insert(MessageSystemAttributeName::MessageGroupId, "g".to_owned());
            attributes.insert(MessageSystemAttributeName::SequenceNumber, "1".to_owned());
            message
        };
        let poller = Poller::tracing(Kept::default().tracer());
        let handled = std::sync::Mutex::new(Vec::new());
        let worked = poller.each(vec![grouped("1"), grouped("2")], async |message| {
            handled.lock().unwrap().push(message.message_id);
            Err::<(), _>(std::fmt::Error)
        });
        assert_eq!(worked.await.failed, ["r-1", "r-2"]);
        assert_eq!(handled.into_inner().unwrap(), [Some("1".to_owned())]);
    }

    /// A fair queue.
    #[tokio::test]
    async fn groups_of_a_standard_queue_imply_no_order() {
        let grouped = |id: &str| {
            let mut message = message(id, "");
            let attributes = message.attributes.get_or_insert_default();
            attributes.insert(MessageSystemAttributeName::MessageGroupId, "g".to_owned());
            message
        };
        let poller = Poller::tracing(Kept::default().tracer());
        let worked = poller.each(vec![grouped("1"), grouped("2")], async |message| {
            (message.id() == Some("2"))
                .then_some(())
                .ok_or(std::fmt::Error)
        });
        let worked = worked.await;
        assert_eq!(
            (worked.done, worked.failed),
            (vec!["r-2".to_owned()], vec!["r-1".to_owned()])
        );
    }

    #[tokio::test]
    async fn local_rule_decides_for_messages_without_a_context() {
        let kept = Kept::default();
        let mut tracer = kept.tracer();
        tracer.sampling = "source=sqs rate=1".parse().unwrap();
        let messages = vec![
            message("none", ""),
            message("no", "Sampled=0;Root=1-5759e988-bd862e3fe1be46a994272793"),
        ];
        Poller::tracing(tracer)
            .each(messages, async |message| {
                crate::capture("work", async {}).await;
                let header = Context::current().trace_header().unwrap();
                let recorded = header.sampling == tracestitch_wire::header::Sampling::Sampled;
                assert_eq!(recorded, message.id() == Some("none"));
                Ok::<_, std::fmt::Error>(())
            })
            .await;
        let (work, segment) = (kept.one("work"), kept.one("order-worker"));
        assert_eq!(segment["metadata"]["sqs"]["message_id"], "none");
        assert_eq!(segment.get("parent_id"), None, "{segment}");
        assert_eq!(work["parent_id"], segment["id"]);
        assert_eq!(work["trace_id"], segment["trace_id"]);
    }

    /// A batch is not announced: the extension would wait for its end in each invocation.
    #[tokio::test]
    async fn each_batch_has_an_end() {
        let kept = Kept::default();
        let poller = Poller::tracing(kept.tracer());
        let nothing = poller.each(Vec::new(), |_| async { Ok::<_, std::fmt::Error>(()) });
        let nothing = tokio::spawn(nothing).map(Result::unwrap);
        assert_eq!(nothing.await, BatchOutcome::default());
        let end = Event::End(String::new());
        assert_eq!(kept.events(), [Event::Begin, end.clone()]);

        let stuck = poller.each(vec![message("stuck", SAMPLED)], async |_| {
            std::future::pending::<Result<(), std::fmt::Error>>().await
        });
        assert!(stuck.now_or_never().is_none());
        let cause = &kept.one("order-worker")["cause"]["exceptions"][0];
        assert_eq!(cause["type"], "Cancelled");
        assert_eq!(kept.events().last(), Some(&end));
    }
}
