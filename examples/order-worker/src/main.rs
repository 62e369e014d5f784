//! Processes orders from SQS, each message in the trace of the request that placed the order.

use aws_config::BehaviorVersion;
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde::Deserialize;
use serde_json::json;
use tracestitch::aws::TraceInterceptor;
use tracestitch::http_client::TraceRequests;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    quantity: i64,
}

struct App {
    dynamodb: aws_sdk_dynamodb::Client,
    table: String,
    http: ClientWithMiddleware,
    vendor: Option<String>,
    sns: aws_sdk_sns::Client,
    topic: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let trace = TraceInterceptor::new();
    let dynamodb = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(trace.clone());
    let sns = aws_sdk_sns::config::Builder::from(&config).interceptor(trace);
    let http = ClientBuilder::new(reqwest::Client::new()).with(TraceRequests::new());
    let app = App {
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
        table: std::env::var("TABLE_NAME")?,
        http: http.build(),
        vendor: std::env::var("VENDOR_URL").ok(),
        sns: aws_sdk_sns::Client::from_conf(sns.build()),
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
            self.notify(vendor, &order.order_id).await?;
        }
        self.mark_processed(&order.order_id).await?;
        if let Some(topic) = &self.topic {
            self.announce(topic, &order.order_id).await?;
        }
        Ok(())
    }

    /// Checks that the order is in the table.
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

    /// Posts the order to the vendor; the request carries the trace.
    async fn notify(&self, vendor: &str, order_id: &str) -> Result<(), Error> {
        let order = json!({ "orderId": order_id });
        self.http
            .post(vendor)
            .header("content-type", "application/json")
            .body(order.to_string())
            .send()
            .await?
            .error_for_status()?;
        Ok(())
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

    /// Publishes to the topic that the order is processed.
    async fn announce(&self, topic: &str, order_id: &str) -> Result<(), Error> {
        let message = json!({ "orderId": order_id, "status": "processed" });
        self.sns
            .publish()
            .topic_arn(topic)
            .message(message.to_string())
            .send()
            .await?;
        Ok(())
    }
}
