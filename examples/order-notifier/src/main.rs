//! Notifies customers of processed orders: the last function of a chain over two queues and a
//! topic. A message has SNS's envelope or, by raw delivery, none.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use tracestitch::sqs::Consumer;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Processed {
    order_id: String,
}

/// SNS's envelope around a message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    message: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let consumer = Consumer::new().concurrency(10);
    let handler = |event: LambdaEvent<SqsEvent>| {
        let work = consumer.each(event.payload, notify);
        async move { Ok::<SqsBatchResponse, Error>(work.await) }
    };
    tracestitch::run(service_fn(handler)).await
}

async fn notify(message: SqsMessage) -> Result<(), Error> {
    let order = read(message.body.as_deref().unwrap_or_default())?;
    tracestitch::annotate("order_id", order.order_id.clone());
    tracestitch::capture("notify customer", async {
        tracestitch::metadata("channel", "mail");
    })
    .await;
    Ok(())
}

fn read(body: &str) -> serde_json::Result<Processed> {
    match serde_json::from_str::<Envelope>(body) {
        Ok(envelope) => serde_json::from_str(&envelope.message),
        Err(_) => serde_json::from_str(body),
    }
}
