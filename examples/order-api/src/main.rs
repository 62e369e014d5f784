//! Takes orders over HTTP, stores them in DynamoDB and sends them to SQS.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, RequestExt, Response, http::StatusCode, service_fn};
use serde::{Deserialize, Serialize};
use tracestitch::aws::TraceInterceptor;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    item: String,
    quantity: i64,
}

struct App {
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    table: String,
    queue: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let trace = TraceInterceptor::new();
    let dynamodb = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(trace.clone());
    let sqs = aws_sdk_sqs::config::Builder::from(&config).interceptor(trace);
    let app = App {
        dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb.build()),
        sqs: aws_sdk_sqs::Client::from_conf(sqs.build()),
        table: std::env::var("TABLE_NAME")?,
        queue: std::env::var("QUEUE_URL")?,
    };
    tracestitch::http::run(service_fn(|request| app.take_order(request))).await
}

impl App {
    async fn take_order(&self, request: Request) -> Result<Response<Body>, Error> {
        if request.method() != "POST" || request.raw_http_path() != "/orders" {
            return answer(
                StatusCode::NOT_FOUND,
                r#"{"error":"not found, expected POST /orders"}"#,
            );
        }
        let Ok(order) = serde_json::from_slice::<Order>(request.body()) else {
            return answer(
                StatusCode::BAD_REQUEST,
                r#"{"error":"expected {\"orderId\":text,\"item\":text,\"quantity\":number}"}"#,
            );
        };
        tracestitch::annotate("order_id", order.order_id.clone());

        self.store(&order).await?;
        self.sqs
            .send_message()
            .queue_url(&self.queue)
            .message_body(serde_json::to_string(&order)?)
            .send()
            .await?;
        answer(
            StatusCode::ACCEPTED,
            serde_json::json!({ "orderId": order.order_id }).to_string(),
        )
    }

    async fn store(&self, order: &Order) -> Result<(), Error> {
        self.dynamodb
            .put_item()
            .table_name(&self.table)
            .item("orderId", AttributeValue::S(order.order_id.clone()))
            .item("item", AttributeValue::S(order.item.clone()))
            .item("quantity", AttributeValue::N(order.quantity.to_string()))
            .item("status", AttributeValue::S("new".to_owned()))
            .send()
            .await?;
        Ok(())
    }
}

fn answer(status: StatusCode, body: impl Into<Body>) -> Result<Response<Body>, Error> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(response.body(body.into())?)
}
