//! Tests of real clients against an HTTP endpoint.

mod calls;
mod carried;
mod credentials;
mod endpoint;
mod outcomes;
mod parameters;

use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use serde_json::json;

use self::endpoint::{Answer, Endpoint};
use super::*;
use crate::tests::{
    header::{ROOT, SAMPLED},
    kept::{Event, Kept},
};

/// A client of a service at `$url`, which does not retry.
macro_rules! client {
    ($sdk:ident, $url:expr) => {
        client!($sdk, $url, $crate::aws::TraceInterceptor::new())
    };
    ($sdk:ident, $url:expr, $interceptor:expr) => {
        $sdk::Client::from_conf(
            $sdk::Config::builder()
                .behavior_version($sdk::config::BehaviorVersion::latest())
                .endpoint_url($url)
                .region($sdk::config::Region::new("eu-west-1"))
                .credentials_provider($sdk::config::Credentials::for_tests())
                .retry_config($sdk::config::retry::RetryConfig::disabled())
                .interceptor($interceptor)
                .build(),
        )
    };
}
use client;

/// A client of S3 that does not use the bucket as host name.
fn s3(url: &str) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .force_path_style(true)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::disabled())
        .interceptor(TraceInterceptor::new());
    aws_sdk_s3::Client::from_conf(config.build())
}

/// Configuration of a DynamoDB client that retries without delay.
fn config(url: &str) -> aws_sdk_dynamodb::config::Builder {
    aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .interceptor(TraceInterceptor::new())
}

async fn get(dynamodb: &aws_sdk_dynamodb::Client) -> bool {
    let key = aws_sdk_dynamodb::types::AttributeValue::S("secret key".to_owned());
    dynamodb
        .get_item()
        .table_name("orders")
        .key("orderId", key)
        .send()
        .await
        .is_ok()
}

/// Makes one GetItem call under `header`. Returns recorded events and received trace headers.
async fn call(
    header: &str,
    answers: impl IntoIterator<Item = Answer>,
    adjust: impl FnOnce(aws_sdk_dynamodb::config::Builder) -> aws_sdk_dynamodb::config::Builder,
) -> (Kept, Vec<Option<String>>) {
    let mut endpoint = Endpoint::new(answers).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(adjust(config(&endpoint.url)).build());
    let kept = Kept::default();
    kept.invoke(header, get(&dynamodb)).await;
    let headers = endpoint.trace_headers();
    (kept, headers)
}

#[tokio::test]
async fn a_call_is_one_subsegment() {
    let (kept, headers) = call(SAMPLED, [Answer::ok("{}")], |config| config).await;
    let call = kept.one("DynamoDB");
    assert_eq!(call["namespace"], "aws");
    assert_eq!(call["parent_id"], kept.one("order-worker")["id"]);
    assert_eq!(
        call["aws"],
        json!({
            "operation": "GetItem", "region": "eu-west-1", "table_name": "orders",
            "retries": 0, "request_id": "req-1",
        })
    );
    assert_eq!(
        call["http"],
        json!({ "response": { "status": 200, "content_length": 2 } })
    );
    for flag in ["error", "throttle", "fault", "cause"] {
        assert!(call.get(flag).is_none(), "{flag}");
    }
    let id = call["id"].as_str().unwrap();
    assert_eq!(
        headers,
        [Some(format!("Root={ROOT};Parent={id};Sampled=1"))]
    );
    let everything = format!("{:?}", kept.events());
    assert!(
        !everything.contains("secret"),
        "keys of items are never recorded"
    );
}

#[tokio::test]
async fn a_call_is_known_while_it_is_in_flight() {
    let (kept, _) = call(SAMPLED, [Answer::ok("{}")], |config| config).await;
    let open = kept.events().into_iter().find_map(|event| match event {
        Event::Open(document) if document["name"] == "DynamoDB" => Some(document),
        _ => None,
    });
    let open = open.unwrap();
    assert_eq!(open["in_progress"], true);
    assert_eq!(open["aws"]["table_name"], "orders");
    assert_eq!(open["id"], kept.one("DynamoDB")["id"]);
}

#[tokio::test]
async fn calls_at_once_keep_apart() {
    let endpoint = Endpoint::new(vec![Answer::ok("{}"); 8]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        let calls = (0..8).map(|table| {
            let call = dynamodb.describe_table().table_name(format!("t-{table}"));
            async move { call.send().await.map(drop) }
        });
        for outcome in futures_util::future::join_all(calls).await {
            outcome.unwrap();
        }
    })
    .await;
    let mut tables: Vec<_> = kept
        .closed()
        .iter()
        .filter_map(|document| document["aws"]["table_name"].as_str().map(str::to_owned))
        .collect();
    tables.sort();
    let expected: Vec<_> = (0..8).map(|table| format!("t-{table}")).collect();
    assert_eq!(tables, expected);
}
