//! Tests of the trace headers that calls send.

use std::env;
use std::process::Command;

use aws_sdk_s3::presigning::PresigningConfig;

use super::*;
use crate::tests::header::PARENT;

/// A header of the user.
const OWN: &str = "Root=1-00000001-000000000000000000000001;Parent=0000000000000001;Sampled=1";

/// Returns the expected header of a call under `header`, with the subsegment `call` if recorded.
fn carried(header: &str, call: Option<&serde_json::Value>) -> String {
    match call {
        Some(call) => format!(
            "Root={ROOT};Parent={};Sampled=1",
            call["id"].as_str().unwrap()
        ),
        None => header.to_owned(),
    }
}

#[tokio::test]
async fn unsampled_header_is_sent_unchanged() {
    for header in [
        format!("Root={ROOT};Parent={PARENT};Sampled=0;Lineage=a87bd80c:1"),
        format!("Root={ROOT};Parent={PARENT}"),
    ] {
        let (kept, headers) = call(&header, [Answer::ok("{}")], |config| config).await;
        assert!(kept.events().is_empty());
        assert_eq!(headers, [Some(header)]);
    }
}

#[tokio::test]
async fn request_outside_an_invocation_is_unchanged() {
    let mut endpoint = Endpoint::new([Answer::ok("{}")]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
    assert!(get(&dynamodb).await);
    assert_eq!(endpoint.trace_headers(), [None]);
}

#[tokio::test]
async fn every_attempt_carries_the_header() {
    let answers = [
        Answer::http(500, "{}"),
        Answer::Close,
        Answer::http(429, "{}"),
    ];
    let (kept, headers) = call(SAMPLED, answers, |config| config).await;
    let header = carried(SAMPLED, Some(&kept.one("DynamoDB")));
    assert_eq!(headers, vec![Some(header); 3]);
}

/// Calls with a header that the user put on the request.
async fn call_with_own(dynamodb: &aws_sdk_dynamodb::Client) {
    let call = dynamodb.list_tables().customize();
    call.mutate_request(|request| {
        request.headers_mut().insert("x-amzn-trace-id", OWN);
    })
    .send()
    .await
    .unwrap();
}

#[tokio::test]
async fn header_of_the_user_stays() {
    let answers = [Answer::http(500, "{}"), Answer::ok("{}")];
    let mut endpoint = Endpoint::new(answers).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
    let kept = Kept::default();
    kept.invoke(SAMPLED, call_with_own(&dynamodb)).await;
    assert_eq!(endpoint.trace_headers(), vec![Some(OWN.to_owned()); 2]);
    assert_eq!(kept.one("DynamoDB")["aws"]["retries"], 1);
}

/// A user's interceptor that sets a header as early as possible.
#[derive(Debug)]
struct Own;

#[dyn_dispatch_hint]
impl Intercept for Own {
    fn name(&self) -> &'static str {
        "Own"
    }

    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.insert("x-amzn-trace-id", OWN);
        Ok(())
    }
}

#[tokio::test]
async fn header_of_an_interceptor_stays() {
    for (first, reason) in [(true, "before ours"), (false, "after ours")] {
        let answers = [Answer::http(500, "{}"), Answer::ok("{}")];
        let mut endpoint = Endpoint::new(answers).await;
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&endpoint.url)
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)));
        let config = if first {
            config.interceptor(Own).interceptor(TraceInterceptor::new())
        } else {
            config.interceptor(TraceInterceptor::new()).interceptor(Own)
        };
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
        let kept = Kept::default();
        assert!(kept.invoke(SAMPLED, get(&dynamodb)).await);
        let own = vec![Some(OWN.to_owned()); 2];
        assert_eq!(endpoint.trace_headers(), own, "{reason}");
        assert_eq!(kept.one("DynamoDB")["aws"]["retries"], 1, "{reason}");
    }
}

/// The attribute of a message beats the header (SQS), which covers those that have none.
#[tokio::test]
async fn a_message_keeps_the_header_that_it_has() {
    use aws_sdk_sqs::types::{
        MessageSystemAttributeNameForSends as Name, MessageSystemAttributeValue,
        SendMessageBatchRequestEntry,
    };

    let own = MessageSystemAttributeValue::builder().data_type("String");
    let own = own.string_value(OWN).build().unwrap();
    let mut endpoint = Endpoint::new([Answer::ok("{}"), Answer::ok("{}")]).await;
    let sqs = client!(aws_sdk_sqs, &endpoint.url);
    let kept = Kept::default();
    let entry = |id: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body("b")
    };
    let second = entry("2").message_system_attributes(Name::AwsTraceHeader, own.clone());
    kept.invoke(SAMPLED, async {
        let send = sqs
            .send_message()
            .queue_url(&endpoint.url)
            .message_body("b");
        let send = send.message_system_attributes(Name::AwsTraceHeader, own);
        let _ = send.send().await;
        let send = sqs.send_message_batch().queue_url(&endpoint.url);
        let send = send.entries(entry("1").build().unwrap());
        let _ = send.entries(second.build().unwrap()).send().await;
    })
    .await;
    let calls: Vec<_> = kept
        .closed()
        .into_iter()
        .filter(|d| d["name"] == "SQS")
        .collect();
    let attributes = json!({ "AWSTraceHeader": { "DataType": "String", "StringValue": OWN } });
    for (call, sent) in calls.iter().zip([
        json!({ "MessageBody": "b", "QueueUrl": endpoint.url, "MessageSystemAttributes": attributes }),
        json!({ "QueueUrl": endpoint.url, "Entries": [
            { "Id": "1", "MessageBody": "b" },
            { "Id": "2", "MessageBody": "b", "MessageSystemAttributes": attributes },
        ] }),
    ]) {
        let request = endpoint.request().await;
        assert_eq!(request.trace_header(), Some(carried(SAMPLED, Some(call))));
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body, sent);
    }
}

/// The field of an entry beats the header (EventBridge), which covers those that have none.
#[tokio::test]
async fn an_event_keeps_the_header_that_it_has() {
    use aws_sdk_eventbridge::types::PutEventsRequestEntry;

    let mut endpoint = Endpoint::new([Answer::ok("{}")]).await;
    let eventbridge = client!(aws_sdk_eventbridge, &endpoint.url);
    let kept = Kept::default();
    let entries = vec![
        PutEventsRequestEntry::builder().trace_header(OWN).build(),
        PutEventsRequestEntry::builder().build(),
    ];
    let put = eventbridge.put_events().set_entries(Some(entries));
    let _ = kept.invoke(SAMPLED, put.send()).await;
    let request = endpoint.request().await;
    let header = carried(SAMPLED, Some(&kept.one("EventBridge")));
    assert_eq!(request.trace_header(), Some(header));
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    assert_eq!(body, json!({ "Entries": [{ "TraceHeader": OWN }, {}] }));
}

/// Step Functions prefers the header to the input's field, so the user's is sent as header, too.
#[tokio::test]
async fn an_execution_gets_the_header_that_its_input_has() {
    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    for (header, own, reason) in [
        (SAMPLED, None, "ours"),
        (SAMPLED, Some(OWN), "the user's"),
        (&unsampled, None, "passed on"),
        (&unsampled, Some(OWN), "the user's, not sampled"),
    ] {
        let mut endpoint = Endpoint::new([Answer::ok("{}")]).await;
        let sfn = client!(aws_sdk_sfn, &endpoint.url);
        let kept = Kept::default();
        let start = sfn.start_execution().state_machine_arn("arn:m");
        let start = start.set_trace_header(own.map(str::to_owned));
        let _ = kept.invoke(header, start.send()).await;
        let request = endpoint.request().await;
        let closed = kept.closed();
        let recorded = closed.iter().find(|document| document["name"] == "SFN");
        let expected = own.map_or_else(|| carried(header, recorded), str::to_owned);
        assert_eq!(request.trace_header(), Some(expected), "{reason}");
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(
            body.get("traceHeader"),
            own.map(|own| json!(own)).as_ref(),
            "{reason}"
        );
    }
}

/// Presigns a GetObject inside an invocation. Returns the recorded events and the request.
async fn presign() -> (Kept, aws_sdk_s3::presigning::PresignedRequest) {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .interceptor(TraceInterceptor::new())
        .build();
    let s3 = aws_sdk_s3::Client::from_conf(config);
    let kept = Kept::default();
    let expires = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let get = s3.get_object().bucket("b").key("k").presigned(expires);
    let presigned = kept.invoke(SAMPLED, get).await.unwrap();
    (kept, presigned)
}

fn assert_unmarked(presigned: &aws_sdk_s3::presigning::PresignedRequest) {
    let mut headers = presigned.headers();
    assert!(headers.all(|(name, _)| name != "x-amzn-trace-id"));
    assert!(!presigned.uri().to_lowercase().contains("trace-id"));
}

#[tokio::test]
async fn presigning_leaves_no_trace() {
    let (kept, presigned) = presign().await;
    assert_unmarked(&presigned);
    let names: Vec<_> = kept.closed().iter().map(|d| d["name"].clone()).collect();
    assert_eq!(names, [json!("order-worker")]);
    assert!(
        matches!(kept.events()[2], Event::Discard(_)),
        "{:?}",
        kept.events()
    );
}

/// In a Lambda function the SDK takes a header from the environment, which is process-wide. So the
/// test starts itself again in a new process.
#[tokio::test]
async fn header_from_the_environment_is_replaced() {
    const ENVIRONMENT: &str =
        "Root=1-00000002-000000000000000000000002;Parent=0000000000000002;Sampled=1";
    if env::var_os("_X_AMZN_TRACE_ID").is_none() {
        let name = "outgoing::aws::tests::carried::header_from_the_environment_is_replaced";
        let inside = Command::new(env::current_exe().unwrap())
            .args(["--exact", name])
            .env("AWS_LAMBDA_FUNCTION_NAME", "order-worker")
            .env("_X_AMZN_TRACE_ID", ENVIRONMENT)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&inside.stdout);
        assert!(
            inside.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let answers = || [Answer::http(500, "{}"), Answer::ok("{}")];
    let (kept, headers) = call(SAMPLED, answers(), |config| config).await;
    let ours = carried(SAMPLED, Some(&kept.one("DynamoDB")));
    assert_eq!(headers, vec![Some(ours); 2], "sampled");

    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let (_, headers) = call(&unsampled, answers(), |config| config).await;
    assert_eq!(headers, vec![Some(unsampled); 2], "not sampled");

    let mut endpoint = Endpoint::new([Answer::ok("{}"), Answer::ok("{}")]).await;
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
    Kept::default()
        .invoke(SAMPLED, call_with_own(&dynamodb))
        .await;
    assert!(get(&dynamodb).await);
    let expected = [OWN, ENVIRONMENT].map(|header| Some(header.to_owned()));
    assert_eq!(
        endpoint.trace_headers(),
        expected,
        "the user's; outside an invocation"
    );

    assert_unmarked(&presign().await.1);
}

#[tokio::test]
async fn presigned_request_keeps_the_header_of_the_user() {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .interceptor(TraceInterceptor::new())
        .build();
    let s3 = aws_sdk_s3::Client::from_conf(config);
    let expires = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let get = s3
        .get_object()
        .bucket("b")
        .key("k")
        .customize()
        .mutate_request(|request| {
            request.headers_mut().insert("x-amzn-trace-id", OWN);
        })
        .presigned(expires);
    let presigned = Kept::default().invoke(SAMPLED, get).await.unwrap();
    let header = presigned
        .headers()
        .find(|(name, _)| *name == "x-amzn-trace-id");
    assert_eq!(header, Some(("x-amzn-trace-id", OWN)));
}

/// Without credentials there is no presigned request.
#[tokio::test]
async fn presigning_that_fails_leaves_no_trace_either() {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(credentials::NoCredentials)
        .interceptor(TraceInterceptor::new())
        .build();
    let s3 = aws_sdk_s3::Client::from_conf(config);
    let kept = Kept::default();
    let expires = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let get = s3.get_object().bucket("b").key("k").presigned(expires);
    assert!(kept.invoke(SAMPLED, get).await.is_err());
    let names: Vec<_> = kept.closed().iter().map(|d| d["name"].clone()).collect();
    assert_eq!(names, [json!("order-worker")]);
}
