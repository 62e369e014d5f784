//! How calls end.

use aws_sdk_dynamodb::config::{AsyncSleep, SharedHttpClient, Sleep, timeout::TimeoutConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};
use serde_json::Value;

use super::*;

/// `error`, `throttle` and `fault` of a document.
fn flags(document: &Value) -> [bool; 3] {
    ["error", "throttle", "fault"].map(|flag| document.get(flag).is_some())
}

const OK: [bool; 3] = [false, false, false];
const ERROR: [bool; 3] = [true, false, false];
const THROTTLED: [bool; 3] = [true, true, false];
const FAULT: [bool; 3] = [false, false, true];

/// The flags, and the type of the outermost exception.
fn end(document: &Value) -> ([bool; 3], &str) {
    let exception = &document["cause"]["exceptions"][0];
    (flags(document), exception["type"].as_str().unwrap_or(""))
}

fn once(config: aws_sdk_dynamodb::config::Builder) -> aws_sdk_dynamodb::config::Builder {
    config.retry_config(RetryConfig::disabled())
}

#[tokio::test]
async fn answers_are_told_apart() {
    const LIMIT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}"#;
    const ABSENT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no table"}"#;
    for (answer, expected, kind, said, reason) in [
        (
            Answer::http(400, ABSENT),
            ERROR,
            "ResourceNotFoundException",
            Some("no table"),
            "4xx",
        ),
        (
            Answer::http(400, LIMIT),
            THROTTLED,
            "ProvisionedThroughputExceededException",
            Some("slow down"),
            "a throttling code",
        ),
        (
            Answer::http(400, r#"{"__type":"X#ThrottlingException"}"#),
            THROTTLED,
            "ThrottlingException",
            None,
            "a throttling code without a message",
        ),
        (
            Answer::With(
                503,
                ("x-amzn-errortype", "SlowDown:http://internal/"),
                String::new(),
            ),
            THROTTLED,
            "SlowDown",
            None,
            "a throttling code in a header, on 5xx",
        ),
        (Answer::http(429, "{}"), THROTTLED, "HTTP 429", None, "429"),
        (
            Answer::http(403, "<html>"),
            ERROR,
            "HTTP 403",
            None,
            "a proxy's page",
        ),
        (Answer::http(500, "{}"), FAULT, "HTTP 500", None, "5xx"),
        (
            Answer::http(
                500,
                r#"{"__type":"X#InternalServerError","message":"oops"}"#,
            ),
            FAULT,
            "InternalServerError",
            Some("oops"),
            "5xx with a code",
        ),
    ] {
        let (kept, _) = call(SAMPLED, [answer], once).await;
        let call = kept.one("DynamoDB");
        assert_eq!(end(&call), (expected, kind), "{reason}: {call}");
        let exception = &call["cause"]["exceptions"][0];
        assert_eq!(exception["remote"], true, "{reason}: {call}");
        if let Some(said) = said {
            assert_eq!(exception["message"], said, "{reason}");
        }
        assert!(call["http"]["response"]["status"].is_number(), "{reason}");
        assert_eq!(call["aws"]["request_id"], "req-1", "{reason}");
    }
}

#[tokio::test]
async fn xml_errors_and_the_second_id_of_s3() {
    const GONE: &str = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
    const LATE: &str = "<Error><Code>InternalError</Code><Message>late</Message></Error>";
    for (status, body, expected, reason) in [
        (404, GONE, (ERROR, "NoSuchKey"), "404"),
        (304, "", (ERROR, "HTTP 304"), "a condition that was not met"),
        (200, LATE, (FAULT, "InternalError"), "an error after 200"),
    ] {
        let id = ("x-amz-id-2", "extended");
        let endpoint = Endpoint::new([Answer::With(status, id, body.to_owned())]).await;
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&endpoint.url)
            .force_path_style(true)
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::disabled())
            .interceptor(TraceInterceptor::new());
        let s3 = aws_sdk_s3::Client::from_conf(config.build());
        let kept = Kept::default();
        let copy = s3.copy_object().bucket("b").key("k").copy_source("c/l");
        assert!(kept.invoke(SAMPLED, copy.send()).await.is_err());
        let call = kept.one("S3");
        assert_eq!(end(&call), expected, "{reason}: {call}");
        assert_eq!(call["aws"]["id_2"], "extended", "{reason}");
        assert_eq!(call["http"]["response"]["status"], status, "{reason}");
    }
}

#[tokio::test]
async fn a_query_compatible_service_is_understood() {
    let header = (
        "x-amzn-query-error",
        "AWS.SimpleQueueService.NonExistentQueue;Sender",
    );
    let body = r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no queue"}"#;
    let endpoint = Endpoint::new([Answer::With(400, header, body.to_owned())]).await;
    let sqs = client!(aws_sdk_sqs, &endpoint.url);
    let kept = Kept::default();
    let purge = sqs.purge_queue().queue_url("q");
    assert!(kept.invoke(SAMPLED, purge.send()).await.is_err());
    let call = kept.one("SQS");
    assert_eq!(
        end(&call),
        (ERROR, "AWS.SimpleQueueService.NonExistentQueue")
    );
}

#[tokio::test]
async fn no_answer_is_a_fault() {
    for (answer, kind, reason) in [
        (
            Answer::Close,
            "ConnectionFailure",
            "the connection is closed",
        ),
        (
            Answer::ok("not json"),
            "UnreadableResponse",
            "an answer that cannot be read",
        ),
    ] {
        let (kept, _) = call(SAMPLED, [answer], once).await;
        let call = kept.one("DynamoDB");
        assert_eq!(end(&call), (FAULT, kind), "{reason}: {call}");
        let exception = &call["cause"]["exceptions"][0];
        assert!(exception.get("remote").is_none(), "{reason}");
    }
}

/// Finds no host.
#[derive(Debug, Clone)]
struct NoHosts;

impl ResolveDns for NoHosts {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Err(ResolveDnsError::new(format!("no host {name}"))))
    }
}

#[tokio::test]
async fn a_host_that_is_not_there_is_named() {
    // A port that was free a moment ago: nobody listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let resolving: SharedHttpClient = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_with_resolver(NoHosts);
    for (url, client, said) in [
        (refusing.as_str(), None, "refused"),
        (
            "http://dynamodb.invalid",
            Some(resolving),
            "no host dynamodb.invalid",
        ),
    ] {
        let mut config = once(config(url));
        config.set_http_client(client);
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
        let kept = Kept::default();
        assert!(!kept.invoke(SAMPLED, get(&dynamodb)).await);
        let call = kept.one("DynamoDB");
        assert_eq!(end(&call), (FAULT, "ConnectionFailure"), "{call}");
        assert!(call["cause"].to_string().contains(said), "{said}: {call}");
        assert!(call.get("http").is_none(), "{call}");
    }
}

#[tokio::test]
async fn failures_before_the_request_are_faults() {
    let missing = aws_sdk_dynamodb::config::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url("http://127.0.0.1:1")
        .region(Region::new("eu-west-1"))
        .retry_config(RetryConfig::disabled())
        .interceptor(TraceInterceptor::new());
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(missing.build());
    let kept = Kept::default();
    assert!(!kept.invoke(SAMPLED, get(&dynamodb)).await);
    let call = kept.one("DynamoDB");
    assert_eq!(end(&call), (FAULT, "CallFailure"), "{call}");
    assert_eq!(call["aws"]["table_name"], "orders");
}

#[tokio::test]
async fn attempts_are_counted() {
    for (answers, retries, expected, reason) in [
        (vec![Answer::ok("{}")], 0, OK, "at once"),
        (
            vec![Answer::http(500, "{}"), Answer::Close, Answer::ok("{}")],
            2,
            OK,
            "what succeeds in the end has not failed",
        ),
        (
            vec![Answer::http(500, "{}"); 3],
            2,
            FAULT,
            "the last answer counts",
        ),
        (vec![Answer::http(400, "{}")], 0, ERROR, "not retried"),
    ] {
        let (kept, _) = call(SAMPLED, answers, |config| config).await;
        let call = kept.one("DynamoDB");
        assert_eq!(call["aws"]["retries"], retries, "{reason}");
        assert_eq!(flags(&call), expected, "{reason}: {call}");
    }
}

#[tokio::test]
async fn timeouts_are_faults() {
    let short = Duration::from_millis(60);
    let operation = TimeoutConfig::builder().operation_timeout(short);
    let attempt = TimeoutConfig::builder().operation_attempt_timeout(short);
    let read = TimeoutConfig::builder().read_timeout(short);
    for (timeout, answers, retries, reason) in [
        (&operation, vec![Answer::Hang], 0, "operation"),
        (&operation, vec![Answer::Stall], 0, "operation, in the body"),
        (&attempt, vec![Answer::Hang; 3], 2, "each attempt"),
        (&read, vec![Answer::Hang; 3], 2, "reading"),
    ] {
        let (kept, _) = call(SAMPLED, answers, |config| {
            config.timeout_config(timeout.clone().build())
        })
        .await;
        let call = kept.one("DynamoDB");
        assert_eq!(end(&call), (FAULT, "Timeout"), "{reason}: {call}");
        assert_eq!(call["aws"]["retries"], retries, "{reason}: {call}");
    }
}

#[tokio::test]
async fn an_attempt_that_times_out_may_be_followed_by_one_that_succeeds() {
    let timeout = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(1));
    let (kept, _) = call(SAMPLED, [Answer::Hang, Answer::ok("{}")], |config| {
        config.timeout_config(timeout.build())
    })
    .await;
    let call = kept.one("DynamoDB");
    assert_eq!((flags(&call), &call["aws"]["retries"]), (OK, &json!(1)));
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_as_cancelled() {
    for way in ["select", "timeout", "abort"] {
        let mut endpoint = Endpoint::new([Answer::Hang]).await;
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            match way {
                "select" => tokio::select! {
                    _ = get(&dynamodb) => unreachable!("nobody answers"),
                    _ = endpoint.request() => {}
                },
                "timeout" => {
                    let call = tokio::time::timeout(Duration::from_millis(50), get(&dynamodb));
                    call.await.unwrap_err();
                }
                _ => {
                    let work = async move { get(&dynamodb).await };
                    let task = tokio::spawn(Context::current().scope(work));
                    endpoint.request().await;
                    task.abort();
                    assert!(task.await.unwrap_err().is_cancelled());
                }
            }
        })
        .await;
        let call = kept.one("DynamoDB");
        assert_eq!(end(&call), (FAULT, "Cancelled"), "{way}: {call}");
        assert_eq!(call["aws"]["table_name"], "orders", "{way}");
    }
}

#[tokio::test]
async fn a_client_may_go_before_its_call_ends() {
    let endpoint = Endpoint::new([Answer::ok("{}")]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
    let kept = Kept::default();
    let call = dynamodb.describe_table().table_name("orders").send();
    drop(dynamodb);
    kept.invoke(SAMPLED, call).await.unwrap();
    assert_eq!(flags(&kept.one("DynamoDB")), OK);
}

#[tokio::test]
async fn a_stream_is_over_when_it_begins() {
    let endpoint = Endpoint::new([Answer::Stall]).await;
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&endpoint.url)
        .force_path_style(true)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .interceptor(TraceInterceptor::new());
    let s3 = aws_sdk_s3::Client::from_conf(config.build());
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
async fn each_look_of_a_waiter_is_a_call() {
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
