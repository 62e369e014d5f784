//! A program that calls the tracing API without being a function, such as a unit test.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use tracestitch::aws::TraceInterceptor;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let config = aws_sdk_dynamodb::config::Builder::from(&shared)
        .interceptor(TraceInterceptor::new())
        .build();
    let table = aws_sdk_dynamodb::Client::from_conf(config);
    tracestitch::capture("outside", async {
        tracestitch::annotate("place", "laptop");
        tracestitch::metadata("place", "laptop");
        tracestitch::capture_sync("inner", || ());
        let key = AttributeValue::S("o-1".to_owned());
        table
            .get_item()
            .table_name("orders")
            .key("orderId", key)
            .send()
            .await
    })
    .await?;
    Ok(())
}
