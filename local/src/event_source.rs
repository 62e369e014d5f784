//! The event source mapping between a queue and a function: it receives messages, invokes the
//! function, deletes the processed messages and returns the failed ones to the queue.
//!
//! Source: Lambda developer guide, "Using Lambda with Amazon SQS" and "Implementing partial batch
//! responses". Batches run one after the other, as for a function with a single environment. The
//! invocation has no trace header: a batch has many producers, so Lambda starts a trace for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::server::Task;
use crate::sqs::{Queue, Sqs, SqsError};
use crate::target::Target;

mod event;
mod reply;

/// Largest number of messages of one ReceiveMessage (SQS API reference).
const RECEIVE: usize = 10;
/// Wait of one ReceiveMessage for a message, in seconds.
const POLL: u64 = 1;
/// Pause after an error of SQS itself, for example because the queue has been deleted.
const PAUSE: Duration = Duration::from_millis(200);

/// Settings of an event source mapping.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The queue.
    pub queue: Queue,
    /// Largest number of messages of one batch.
    pub batch_size: usize,
    /// Time to collect messages after the first one.
    pub batching_window: Duration,
    /// True if the answer names the failed messages (`ReportBatchItemFailures`). Otherwise any
    /// answer means that all succeeded.
    pub report_batch_item_failures: bool,
    /// Time until a failed message is visible again, in whole seconds; `None` leaves that to
    /// the queue's visibility timeout, as Lambda does.
    pub retry_after: Option<Duration>,
}

impl Mapping {
    /// Creates a mapping with Lambda's defaults: batches of 10, no window, no partial failures.
    #[must_use]
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            batch_size: 10,
            batching_window: Duration::ZERO,
            report_batch_item_failures: false,
            retry_after: None,
        }
    }
}

/// A processed batch, by message ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Messages that were deleted from the queue.
    pub succeeded: BTreeSet<String>,
    /// Messages that were returned to the queue.
    pub failed: BTreeSet<String>,
}

/// A running mapping; it stops when it is dropped.
#[derive(Debug)]
pub struct EventSource {
    batches: Arc<watch::Sender<Vec<Batch>>>,
    _poller: Task,
}

impl EventSource {
    /// Starts to poll the queue.
    #[must_use]
    pub fn start(sqs: Sqs, mapping: Mapping, target: Arc<impl Target>) -> Self {
        let batches = Arc::new(watch::Sender::new(Vec::new()));
        let done = Arc::clone(&batches);
        let poller = Poller { sqs, mapping };
        let task = tokio::spawn(async move {
            loop {
                match poller.batch(target.as_ref()).await {
                    Ok(Some(batch)) => done.send_modify(|batches| batches.push(batch)),
                    Ok(None) => {}
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        Self {
            batches,
            _poller: Task(task),
        }
    }

    /// Returns the batches processed so far, in order.
    #[must_use]
    pub fn batches(&self) -> Vec<Batch> {
        self.batches.borrow().clone()
    }

    /// Waits until `condition` is true for the processed batches. Returns false if `timeout` passes
    /// first.
    pub async fn wait_for(
        &self,
        mut condition: impl FnMut(&[Batch]) -> bool,
        timeout: Duration,
    ) -> bool {
        let mut changes = self.batches.subscribe();
        let held = changes.wait_for(|batches| condition(batches));
        matches!(tokio::time::timeout(timeout, held).await, Ok(Ok(_)))
    }
}

struct Poller {
    sqs: Sqs,
    mapping: Mapping,
}

impl Poller {
    async fn batch(&self, target: &impl Target) -> Result<Option<Batch>, SqsError> {
        let messages = self.collect().await?;
        if messages.is_empty() {
            return Ok(None);
        }
        let answer = target
            .invoke(event::build(&messages, &self.mapping.queue), None)
            .await;
        let ids: BTreeSet<String> = messages
            .iter()
            .map(|message| text(message, "MessageId"))
            .collect();
        let failed = match answer {
            Ok(answer) if self.mapping.report_batch_item_failures => reply::failed(&answer, &ids),
            Ok(_) => BTreeSet::new(),
            Err(_) => ids.clone(),
        };
        for message in &messages {
            if failed.contains(&text(message, "MessageId")) {
                self.return_to_queue(message).await?;
            } else {
                self.call("DeleteMessage", message, json!({})).await?;
            }
        }
        Ok(Some(Batch {
            succeeded: ids.difference(&failed).cloned().collect(),
            failed,
        }))
    }

    async fn collect(&self) -> Result<Vec<Value>, SqsError> {
        let mut messages = self.receive(self.mapping.batch_size, POLL).await?;
        let until = Instant::now() + self.mapping.batching_window;
        while !messages.is_empty() && messages.len() < self.mapping.batch_size {
            let more = tokio::time::timeout_at(
                until,
                self.receive(self.mapping.batch_size - messages.len(), POLL),
            );
            match more.await {
                Ok(more) => messages.extend(more?),
                Err(_) => break,
            }
        }
        Ok(messages)
    }

    async fn receive(&self, at_most: usize, wait_seconds: u64) -> Result<Vec<Value>, SqsError> {
        let input = json!({
            "QueueUrl": self.mapping.queue.url,
            "MaxNumberOfMessages": at_most.clamp(1, RECEIVE),
            "WaitTimeSeconds": wait_seconds,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let mut output = self.sqs.call("ReceiveMessage", input).await?;
        match output["Messages"].take() {
            Value::Array(messages) => Ok(messages),
            _ => Ok(Vec::new()),
        }
    }

    async fn return_to_queue(&self, message: &Value) -> Result<(), SqsError> {
        match self.mapping.retry_after {
            None => Ok(()),
            Some(after) => {
                let extra = json!({"VisibilityTimeout": after.as_secs()});
                self.call("ChangeMessageVisibility", message, extra).await
            }
        }
    }

    async fn call(&self, operation: &str, message: &Value, extra: Value) -> Result<(), SqsError> {
        let mut input = extra;
        input["QueueUrl"] = self.mapping.queue.url.as_str().into();
        input["ReceiptHandle"] = message["ReceiptHandle"].clone();
        self.sqs.call(operation, input).await.map(|_| ())
    }
}

fn text(message: &Value, member: &str) -> String {
    message[member].as_str().unwrap_or_default().to_owned()
}
