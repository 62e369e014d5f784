//! A batch of SQS messages, whose bodies are the work to do.

use std::time::Duration;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::Error;
use serde::Deserialize;
use tracestitch::sqs::Consumer;

use crate::journal;

/// An SQS event with the number of the invocation.
#[derive(Debug, Deserialize)]
pub(crate) struct Batch {
    n: u64,
    /// Messages at a time; without it, one after the other.
    #[serde(default)]
    concurrency: usize,
    /// Time before the deadline at which it cancels the remaining messages.
    #[serde(default)]
    margin_seconds: u64,
    #[serde(rename = "Records")]
    records: Vec<SqsMessage>,
}

impl Batch {
    pub(crate) async fn work_off(
        self,
        table: &aws_sdk_dynamodb::Client,
        context: &lambda_runtime::Context,
    ) -> SqsBatchResponse {
        crate::over_with_init(self.n);
        crate::begun(self.n, "victim");
        let mut event = SqsEvent::default();
        event.records = self.records;
        let consumer = Consumer::new()
            .concurrency(self.concurrency)
            .deadline_margin(Duration::from_secs(self.margin_seconds));
        let worked = consumer.each(event, async |message| {
            let work = serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
            crate::perform(work, table, context).await?;
            Ok::<_, Error>(())
        });
        let response = worked.await;
        journal::note("finish", self.n, "victim", "");
        response
    }
}
