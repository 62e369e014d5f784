//! Tests of the boundaries of a call.

use aws_sdk_dynamodb::config::{AsyncSleep, Sleep};

use super::{
    outcomes::{ERROR, OK, flags},
    *,
};

#[tokio::test]
async fn client_may_be_dropped_before_its_call_ends() {
    let endpoint = Endpoint::new([Answer::ok("{}")]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
    let kept = Kept::default();
    let call = dynamodb.describe_table().table_name("orders").send();
    drop(dynamodb);
    kept.invoke(SAMPLED, call).await.unwrap();
    assert_eq!(flags(&kept.one("DynamoDB")), OK);
}

/// Users get this from `client.config().to_builder()` when they set the interceptor again.
#[tokio::test]
async fn call_with_two_interceptors_is_recorded_once() {
    let twice =
        |config: aws_sdk_dynamodb::config::Builder| config.interceptor(TraceInterceptor::new());
    let (kept, headers) = call(SAMPLED, [Answer::ok("{}")], twice).await;
    let closed = kept.closed();
    let calls: Vec<_> = closed.iter().filter(|d| d["name"] == "DynamoDB").collect();
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!(flags(calls[0]), OK);
    let id = calls[0]["id"].as_str().unwrap();
    assert_eq!(
        headers,
        [Some(format!("Root={ROOT};Parent={id};Sampled=1"))]
    );
}

#[tokio::test]
async fn call_with_streaming_body_ends_when_the_body_begins() {
    let endpoint = Endpoint::new([Answer::Stall]).await;
    let s3 = s3(&endpoint.url);
    let kept = Kept::default();
    let get = s3.get_object().bucket("b").key("k").send();
    let output = kept.invoke(SAMPLED, get).await.unwrap();
    let call = kept.one("S3");
    assert_eq!(flags(&call), OK);
    assert_eq!(
        call["http"],
        json!({ "response": { "status": 200, "content_length": 10 } })
    );
    drop(output);
    assert_eq!(
        kept.one("S3"),
        call,
        "what becomes of the body changes nothing"
    );
}

#[tokio::test]
async fn each_page_is_a_call() {
    let endpoint = Endpoint::new([
        Answer::ok(r#"{"TableNames":["a"],"LastEvaluatedTableName":"a"}"#),
        Answer::ok(r#"{"TableNames":["b"]}"#),
    ])
    .await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        let mut pages = dynamodb.list_tables().into_paginator().send();
        while let Some(page) = pages.next().await {
            page.unwrap();
        }
    })
    .await;
    let closed = kept.closed();
    let calls: Vec<_> = closed.iter().filter(|d| d["name"] == "DynamoDB").collect();
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    assert_eq!(calls[1]["aws"]["exclusive_start_table_name"], "a");
}

/// Leaves out the pauses of a waiter, which are long; timeouts are shorter.
#[derive(Debug)]
struct NoPauses;

impl AsyncSleep for NoPauses {
    fn sleep(&self, duration: Duration) -> Sleep {
        let duration = if duration < Duration::from_secs(10) {
            duration
        } else {
            Duration::ZERO
        };
        Sleep::new(tokio::time::sleep(duration))
    }
}

#[tokio::test]
async fn each_poll_of_a_waiter_is_a_call() {
    use aws_sdk_dynamodb::client::Waiters;

    let state = |state: &str| Answer::ok(format!(r#"{{"Table":{{"TableStatus":"{state}"}}}}"#));
    let absent = Answer::http(400, r#"{"__type":"X#ResourceNotFoundException"}"#);
    let answers = [absent, state("CREATING"), state("ACTIVE")];
    let endpoint = Endpoint::new(answers).await;
    let config = config(&endpoint.url).sleep_impl(NoPauses);
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        let wait = dynamodb.wait_until_table_exists().table_name("orders");
        wait.wait(Duration::from_secs(600)).await.unwrap();
    })
    .await;
    let closed = kept.closed();
    let calls = closed.iter().filter(|d| d["name"] == "DynamoDB");
    let ends: Vec<_> = calls.map(flags).collect();
    assert_eq!(ends, [ERROR, OK, OK]);
}

#[tokio::test]
async fn call_with_event_stream_ends_when_the_stream_begins() {
    let endpoint = Endpoint::new([Answer::Stall]).await;
    let lambda = client!(aws_sdk_lambda, &endpoint.url);
    let kept = Kept::default();
    let call = lambda.invoke_with_response_stream().function_name("f");
    kept.invoke(SAMPLED, call.send()).await.unwrap();
    let call = kept.one("Lambda");
    assert_eq!(flags(&call), OK);
    assert_eq!(call["aws"]["function_name"], "f");
    assert_eq!(call["http"]["response"]["status"], 200);
}

#[tokio::test]
async fn interceptor_set_for_one_call_records_it() {
    let mut endpoint = Endpoint::new([Answer::ok("{}")]).await;
    let elsewhere = Endpoint::new([]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&elsewhere.url).build());
    let kept = Kept::default();
    let own = aws_sdk_dynamodb::Config::builder()
        .region(Region::new("us-west-2"))
        .endpoint_url(&endpoint.url);
    let call = dynamodb.describe_table().table_name("orders").customize();
    kept.invoke(SAMPLED, call.config_override(own).send())
        .await
        .unwrap();
    let call = kept.one("DynamoDB");
    assert_eq!(call["aws"]["region"], "us-west-2");
    assert_eq!(call["aws"]["table_name"], "orders");
    let header = endpoint.request().await.trace_header().unwrap();
    assert!(header.contains(call["id"].as_str().unwrap()), "{header}");
}
