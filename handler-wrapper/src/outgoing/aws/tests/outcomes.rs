//! Tests of outcomes.

mod unanswered;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use serde_json::Value;

use super::*;

/// `error`, `throttle` and `fault` of a document.
pub(super) fn flags(document: &Value) -> [bool; 3] {
    FLAGS.map(|flag| document.get(flag).is_some())
}

const FLAGS: [&str; 3] = ["error", "throttle", "fault"];
pub(super) const OK: [bool; 3] = [false, false, false];
pub(super) const ERROR: [bool; 3] = [true, false, false];
const THROTTLED: [bool; 3] = [true, true, false];
const FAULT: [bool; 3] = [false, false, true];

/// Flags, and the type of the outermost exception.
fn end(document: &Value) -> ([bool; 3], &str) {
    let exception = &document["cause"]["exceptions"][0];
    (flags(document), exception["type"].as_str().unwrap_or(""))
}

/// Outcome of a call.
struct End<'a> {
    flags: [bool; 3],
    /// Response: status, length, and true if it has a request id.
    answer: Option<(u16, usize, bool)>,
    /// `None` if the call was dropped.
    retries: Option<u32>,
    /// Type, message, and true if the service returned it. Further exceptions are the client's and
    /// not compared.
    exception: Option<(&'a str, &'a str, bool)>,
}

/// Compares the whole document of the one GetItem.
#[track_caller]
fn compare(kept: &Kept, end: &End<'_>, reason: &str) {
    let mut document = kept.one("DynamoDB");
    let fields = document.as_object_mut().unwrap();
    for key in ["id", "start_time", "end_time"] {
        assert!(fields.remove(key).is_some(), "{reason}: {key}");
    }
    let cause = fields.remove("cause");
    let mut expected = json!({
        "name": "DynamoDB", "namespace": "aws", "type": "subsegment", "trace_id": ROOT,
        "parent_id": kept.one("order-worker")["id"],
        "aws": { "operation": "GetItem", "region": "eu-west-1", "table_name": "orders" },
    });
    for (flag, set) in FLAGS.into_iter().zip(end.flags) {
        if set {
            expected[flag] = json!(true);
        }
    }
    if let Some(retries) = end.retries {
        expected["aws"]["retries"] = json!(retries);
    }
    if let Some((status, length, named)) = end.answer {
        expected["http"] = json!({ "response": { "status": status, "content_length": length } });
        if named {
            expected["aws"]["request_id"] = json!("req-1");
        }
    }
    assert_eq!(document, expected, "{reason}");
    let Some((kind, said, remote)) = end.exception else {
        assert_eq!(cause, None, "{reason}");
        return;
    };
    let exceptions = cause.unwrap()["exceptions"].take();
    let first = exceptions[0].as_object().unwrap();
    assert_eq!(first["type"], kind, "{reason}: {exceptions}");
    assert_eq!(first.get("remote").is_some(), remote, "{reason}");
    if remote {
        assert_eq!(exceptions.as_array().unwrap().len(), 1, "{reason}");
        assert_eq!(first["message"], said, "{reason}");
    } else {
        let text = exceptions.to_string();
        assert!(text.contains(said), "{reason}: {text}");
    }
    assert!(!exceptions.to_string().contains("secret"), "{reason}");
}

fn once(config: aws_sdk_dynamodb::config::Builder) -> aws_sdk_dynamodb::config::Builder {
    config.retry_config(RetryConfig::disabled())
}

#[tokio::test]
async fn responses_decide_error_throttle_and_fault() {
    const LIMIT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}"#;
    const ABSENT: &str = r#"{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"no table"}"#;
    for (answer, expected, kind, said, reason) in [
        (
            Answer::http(400, ABSENT),
            ERROR,
            "ResourceNotFoundException",
            "no table",
            "4xx",
        ),
        (
            Answer::http(400, LIMIT),
            THROTTLED,
            "ProvisionedThroughputExceededException",
            "slow down",
            "a throttling code",
        ),
        (
            Answer::http(400, r#"{"__type":"X#ThrottlingException"}"#),
            THROTTLED,
            "ThrottlingException",
            "ThrottlingException",
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
            "unhandled error…",
            "a throttling code in a header, on 5xx",
        ),
        (
            Answer::http(429, "{}"),
            THROTTLED,
            "HTTP 429",
            "unhandled error",
            "429",
        ),
        (
            Answer::http(403, "<html>"),
            ERROR,
            "HTTP 403",
            "unhandled error",
            "a proxy's page",
        ),
        (
            Answer::http(500, "{}"),
            FAULT,
            "HTTP 500",
            "unhandled error",
            "5xx",
        ),
        (
            Answer::http(
                500,
                r#"{"__type":"X#InternalServerError","message":"oops"}"#,
            ),
            FAULT,
            "InternalServerError",
            "oops",
            "5xx with a code",
        ),
    ] {
        let (Answer::Http(status, body) | Answer::With(status, _, body)) = &answer else {
            unreachable!("all of these are answers");
        };
        let end = End {
            flags: expected,
            answer: Some((*status, body.len(), true)),
            retries: Some(0),
            exception: Some((kind, said, true)),
        };
        let (kept, _) = call(SAMPLED, [answer], once).await;
        compare(&kept, &end, reason);
    }
}

#[tokio::test]
async fn xml_errors_and_the_second_id_of_s3() {
    const GONE: &str = "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
    const LATE: &str = "<Error><Code>InternalError</Code><Message>late</Message></Error>";
    for (status, body, flag, kind, said, reason) in [
        (404, GONE, "error", "NoSuchKey", "gone", "404"),
        (
            304,
            "",
            "error",
            "HTTP 304",
            "unhandled error",
            "a condition that was not met",
        ),
        (
            200,
            LATE,
            "fault",
            "InternalError",
            "late",
            "an error after 200",
        ),
    ] {
        let id = ("x-amz-id-2", "extended");
        let endpoint = Endpoint::new([Answer::With(status, id, body.to_owned())]).await;
        let s3 = s3(&endpoint.url);
        let kept = Kept::default();
        let copy = s3.copy_object().bucket("b").key("k").copy_source("c/l");
        assert!(kept.invoke(SAMPLED, copy.send()).await.is_err());
        let mut call = kept.one("S3");
        let exception = &mut call["cause"]["exceptions"][0];
        assert!(exception.as_object_mut().unwrap().remove("id").is_some());
        let fields = call.as_object_mut().unwrap();
        for key in ["id", "start_time", "end_time"] {
            assert!(fields.remove(key).is_some(), "{reason}: {key}");
        }
        assert_eq!(
            call,
            json!({
                "name": "S3", "namespace": "aws", "type": "subsegment", "trace_id": ROOT,
                "parent_id": kept.one("order-worker")["id"], flag: true,
                "aws": {
                    "operation": "CopyObject", "region": "eu-west-1", "bucket_name": "b",
                    "key": "k", "copy_source": "c/l", "retries": 0, "request_id": "req-1",
                    "id_2": "extended",
                },
                "http": { "response": { "status": status, "content_length": body.len() } },
                "cause": { "exceptions": [{ "type": kind, "message": said, "remote": true }] },
            }),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn message_of_service_is_recorded_without_values() {
    let body = |message: &str| json!({ "__type": "n#ValidationException", "message": message });
    for (message, clause, whole) in [
        (
            "One or more parameter values were invalid: Type mismatch for key id: SECRET",
            "One or more parameter values were invalid…",
            "One or more parameter values were invalid: Type mismatch for key id: SECRET",
        ),
        (
            "cannot reach https://h.example/a?token=SECRET",
            "cannot reach ?…",
            "cannot reach https://h.example/a",
        ),
    ] {
        for (interceptor, expected) in [
            (TraceInterceptor::new(), clause),
            (TraceInterceptor::new().with_whole_messages(), whole),
        ] {
            let answer = Answer::http(400, body(message).to_string());
            let mut endpoint = Endpoint::new([answer]).await;
            let config = aws_sdk_dynamodb::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-west-1"))
                .credentials_provider(Credentials::for_tests())
                .endpoint_url(&endpoint.url)
                .interceptor(interceptor)
                .build();
            let client = aws_sdk_dynamodb::Client::from_conf(config);
            let kept = Kept::default();
            kept.invoke(SAMPLED, async {
                get(&client).await;
                Ok::<_, std::io::Error>(())
            })
            .await
            .unwrap();
            endpoint.trace_headers();
            let message = &kept.one("DynamoDB")["cause"]["exceptions"][0]["message"];
            assert_eq!(message, expected);
        }
    }
}

#[tokio::test]
async fn code_of_query_compatible_service_is_recorded() {
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
async fn attempts_are_counted() {
    let failed = Some(("HTTP 500", "unhandled error", true));
    let refused = Some(("HTTP 400", "unhandled error", true));
    for (answers, retries, status, flags, exception, reason) in [
        (vec![Answer::ok("{}")], 0, 200, OK, None, "at once"),
        (
            vec![Answer::http(500, "{}"), Answer::Close, Answer::ok("{}")],
            2,
            200,
            OK,
            None,
            "what succeeds in the end has not failed",
        ),
        (
            vec![Answer::http(500, "{}"); 3],
            2,
            500,
            FAULT,
            failed,
            "the last answer counts",
        ),
        (
            vec![Answer::http(400, "{}")],
            0,
            400,
            ERROR,
            refused,
            "not retried",
        ),
    ] {
        let (kept, _) = call(SAMPLED, answers, |config| config).await;
        let end = End {
            flags,
            answer: Some((status, 2, true)),
            retries: Some(retries),
            exception,
        };
        compare(&kept, &end, reason);
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
