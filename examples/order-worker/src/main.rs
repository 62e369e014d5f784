//! Processes orders from SQS: each message in the trace of the request that placed the order.

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Deserialize;
use tracestitch::aws::TraceInterceptor;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    quantity: i64,
}

struct App {
    dynamodb: aws_sdk_dynamodb::Client,
    table: String,
    vendor: Option<String>,
    sns: aws_sdk_sns::Client,
    topic: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let dynamodb = aws_sdk_dynamodb::config::Builder::from(&config)
        .interceptor(TraceInterceptor::new())
        .build();
    let sns = aws_sdk_sns::config::Builder::from(&config)
        .interceptor(TraceInterceptor::new())
        .build();
    let app = App {
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
        sns: aws_sdk_sns::Client::from_conf(sns),
        table: std::env::var("TABLE_NAME")?,
        vendor: std::env::var("VENDOR_URL").ok(),
        topic: std::env::var("TOPIC_ARN").ok(),
    };
    tracestitch::run(service_fn(|event| app.process_batch(event))).await
}

impl App {
    async fn process_batch(&self, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
        Ok(tracestitch::sqs::each(event.payload, |message| self.process(message)).await)
    }

    async fn process(&self, message: SqsMessage) -> Result<(), Error> {
        let order: Order = serde_json::from_str(message.body.as_deref().unwrap_or_default())?;
        tracestitch::annotate("order_id", order.order_id.clone());

        self.load(&order.order_id).await?;
        if order.quantity <= 0 {
            return Err(format!("quantity is {}: nothing to ship", order.quantity).into());
        }
        if let Some(vendor) = &self.vendor {
            tracestitch::try_capture("notify vendor", notify(vendor, &order)).await?;
        }
        self.mark_processed(&order.order_id).await?;
        if let Some(topic) = &self.topic {
            self.announce(topic, &order.order_id).await?;
        }
        Ok(())
    }

    /// Tells whoever has subscribed to the topic.
    async fn announce(&self, topic: &str, order_id: &str) -> Result<(), Error> {
        let message = serde_json::json!({ "orderId": order_id, "status": "processed" });
        self.sns
            .publish()
            .topic_arn(topic)
            .message(message.to_string())
            .send()
            .await?;
        Ok(())
    }

    async fn load(&self, order_id: &str) -> Result<(), Error> {
        let found = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .key("orderId", AttributeValue::S(order_id.to_owned()))
            .send()
            .await?;
        found
            .item
            .map(drop)
            .ok_or_else(|| format!("order {order_id} is not in the table").into())
    }

    async fn mark_processed(&self, order_id: &str) -> Result<(), Error> {
        self.dynamodb
            .update_item()
            .table_name(&self.table)
            .key("orderId", AttributeValue::S(order_id.to_owned()))
            .update_expression("SET #status = :processed")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":processed", AttributeValue::S("processed".to_owned()))
            .send()
            .await?;
        Ok(())
    }
}

async fn notify(vendor: &str, order: &Order) -> Result<(), Error> {
    let body = serde_json::json!({ "orderId": order.order_id }).to_string();
    reqwest::Client::new()
        .post(vendor)
        .body(body)
        .send()
        .await?
        .error_for_status()?;
    Ok(())
}
