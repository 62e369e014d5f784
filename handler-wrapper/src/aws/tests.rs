//! Real clients against real HTTP answers.

use std::collections::VecDeque;
use std::time::Duration;

use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_s3::presigning::PresigningConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::testing::{Event, Kept, PARENT, ROOT, SAMPLED};

/// What an endpoint does with one request.
enum Answer {
    Http(u16, &'static str),
    Hang,
    Close,
}

/// An HTTP endpoint that gives the answers in order, and tells the trace header of each request.
async fn endpoint(
    answers: impl IntoIterator<Item = Answer>,
) -> (String, mpsc::UnboundedReceiver<Option<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, headers) = mpsc::unbounded_channel();
    let mut answers: VecDeque<_> = answers.into_iter().collect();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Some(answer) = answers.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            tell.send(read_request(&mut stream).await).unwrap();
            match answer {
                Answer::Http(status, body) => respond(&mut stream, status, body).await,
                Answer::Hang => held.push(stream),
                Answer::Close => {}
            }
        }
        std::future::pending::<()>().await;
    });
    (url, headers)
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let (head, body) = loop {
        stream.read_buf(&mut request).await.unwrap();
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            break (head.to_owned(), body.len());
        }
    };
    let header = |name: &str| {
        let prefix = format!("{name}: ");
        head.lines()
            .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
    };
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut rest = vec![0; length - body];
    stream.read_exact(&mut rest).await.unwrap();
    header("x-amzn-trace-id")
}

async fn respond(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nx-amzn-requestid: req-1\r\n\
         content-type: application/x-amz-json-1.0\r\nconnection: close\r\n\r\n",
        body.len(),
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
}

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

/// One GetItem under `header`, answered by `answers`: what was recorded, and which headers came.
async fn call(
    header: &str,
    answers: impl IntoIterator<Item = Answer>,
    adjust: impl FnOnce(aws_sdk_dynamodb::config::Builder) -> aws_sdk_dynamodb::config::Builder,
) -> (Kept, Vec<Option<String>>) {
    let (url, mut headers) = endpoint(answers).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(adjust(config(&url)).build());
    let kept = Kept::default();
    kept.invoke(header, get(&dynamodb)).await;
    let mut seen = Vec::new();
    while let Ok(header) = headers.try_recv() {
        seen.push(header);
    }
    (kept, seen)
}

#[tokio::test]
async fn a_call_is_one_subsegment() {
    let (kept, headers) = call(SAMPLED, [Answer::Http(200, "{}")], |config| config).await;
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
    let (kept, _) = call(SAMPLED, [Answer::Http(200, "{}")], |config| config).await;
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
async fn retries_are_counted_and_every_attempt_carries_the_header() {
    let answers = [
        Answer::Http(500, "{}"),
        Answer::Close,
        Answer::Http(200, "{}"),
    ];
    let (kept, headers) = call(SAMPLED, answers, |config| config).await;
    let call = kept.one("DynamoDB");
    assert_eq!(
        (&call["aws"]["retries"], call.get("fault")),
        (&json!(2), None)
    );
    let header = format!(
        "Root={ROOT};Parent={};Sampled=1",
        call["id"].as_str().unwrap()
    );
    assert_eq!(headers, vec![Some(header); 3]);
}

#[tokio::test]
async fn failures_are_told_apart() {
    const THROTTLED: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}"#;
    const ABSENT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no table"}"#;
    for (answer, flags, kind, remote, reason) in [
        (
            Answer::Http(400, ABSENT),
            [true, false, false],
            "ResourceNotFoundException",
            true,
            "4xx is an error",
        ),
        (
            Answer::Http(400, THROTTLED),
            [true, true, false],
            "ProvisionedThroughputExceededException",
            true,
            "a throttling code",
        ),
        (
            Answer::Http(429, "{}"),
            [true, true, false],
            "HTTP 429",
            true,
            "429",
        ),
        (
            Answer::Http(500, "{}"),
            [false, false, true],
            "HTTP 500",
            true,
            "5xx is a fault",
        ),
        (
            Answer::Close,
            [false, false, true],
            "ConnectionFailure",
            false,
            "no answer",
        ),
        (
            Answer::Http(200, "not json"),
            [false, false, true],
            "UnreadableResponse",
            false,
            "an answer that cannot be read",
        ),
    ] {
        let once = |config: aws_sdk_dynamodb::config::Builder| {
            config.retry_config(RetryConfig::disabled())
        };
        let (kept, _) = call(SAMPLED, [answer], once).await;
        let call = kept.one("DynamoDB");
        let found = ["error", "throttle", "fault"].map(|flag| call.get(flag).is_some());
        assert_eq!(found, flags, "{reason}: {call}");
        let exception = &call["cause"]["exceptions"][0];
        assert_eq!(exception["type"], kind, "{reason}: {call}");
        assert_eq!(
            exception.get("remote").is_some(),
            remote,
            "{reason}: {call}"
        );
    }
}

#[tokio::test]
async fn a_timeout_is_a_fault() {
    let timeout = TimeoutConfig::builder()
        .operation_timeout(Duration::from_millis(50))
        .build();
    let (kept, _) = call(SAMPLED, [Answer::Hang], |config| {
        config.timeout_config(timeout)
    })
    .await;
    let call = kept.one("DynamoDB");
    assert_eq!(
        (&call["fault"], &call["cause"]["exceptions"][0]["type"]),
        (&json!(true), &json!("Timeout"))
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_as_cancelled() {
    let (url, mut headers) = endpoint([Answer::Hang]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&url).build());
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        tokio::select! {
            _ = get(&dynamodb) => unreachable!("nobody answers"),
            _ = headers.recv() => {}
        }
    })
    .await;
    assert_eq!(
        kept.one("DynamoDB")["cause"]["exceptions"][0]["type"],
        "Cancelled"
    );
}

#[tokio::test]
async fn what_is_not_sampled_is_only_passed_on() {
    for header in [
        format!("Root={ROOT};Parent={PARENT};Sampled=0;Lineage=a87bd80c:1"),
        format!("Root={ROOT};Parent={PARENT}"),
    ] {
        let (kept, headers) = call(&header, [Answer::Http(200, "{}")], |config| config).await;
        assert!(kept.events().is_empty());
        assert_eq!(headers, [Some(header)]);
    }
}

#[tokio::test]
async fn outside_an_invocation_nothing_is_touched() {
    let (url, mut headers) = endpoint([Answer::Http(200, "{}")]).await;
    assert!(get(&aws_sdk_dynamodb::Client::from_conf(config(&url).build())).await);
    assert_eq!(headers.recv().await, Some(None));
}

#[tokio::test]
async fn a_header_of_the_users_is_left_alone() {
    let (url, mut headers) = endpoint([Answer::Http(200, "{}")]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&url).build());
    let kept = Kept::default();
    const OWN: &str = "Root=1-00000001-000000000000000000000001";
    kept.invoke(SAMPLED, async {
        let call = dynamodb.list_tables().customize();
        call.mutate_request(|request| {
            request.headers_mut().insert("x-amzn-trace-id", OWN);
        })
        .send()
        .await
        .unwrap();
    })
    .await;
    assert_eq!(headers.recv().await, Some(Some(OWN.to_owned())));
}

#[tokio::test]
async fn presigning_leaves_no_trace() {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .interceptor(TraceInterceptor::new())
        .build();
    let s3 = aws_sdk_s3::Client::from_conf(config);
    let kept = Kept::default();
    let presigned = kept
        .invoke(SAMPLED, async {
            let expires = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
            s3.get_object()
                .bucket("b")
                .key("k")
                .presigned(expires)
                .await
                .unwrap()
        })
        .await;
    assert!(
        presigned
            .headers()
            .all(|(name, _)| name != "x-amzn-trace-id")
    );
    assert!(!presigned.uri().to_lowercase().contains("trace-id"));
    let names: Vec<Value> = kept.closed().iter().map(|d| d["name"].clone()).collect();
    assert_eq!(names, [json!("order-worker")]);
    assert!(
        matches!(kept.events()[2], Event::Discard(_)),
        "{:?}",
        kept.events()
    );
}

#[tokio::test]
async fn a_queue_is_named() {
    let (url, mut headers) = endpoint([Answer::Http(200, r#"{"MessageId":"m"}"#)]).await;
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&url)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .interceptor(TraceInterceptor::new())
        .build();
    let sqs = aws_sdk_sqs::Client::from_conf(config);
    let kept = Kept::default();
    let queue = format!("{url}/123456789012/orders");
    kept.invoke(SAMPLED, async {
        let _ = sqs
            .send_message()
            .queue_url(&queue)
            .message_body("secret")
            .send()
            .await;
    })
    .await;
    let call = kept.one("SQS");
    assert_eq!(call["aws"]["operation"], "SendMessage");
    assert_eq!(call["aws"]["queue_url"], queue);
    assert!(
        headers
            .recv()
            .await
            .unwrap()
            .unwrap()
            .contains(call["id"].as_str().unwrap())
    );
    assert!(!format!("{:?}", kept.events()).contains("secret"));
}
