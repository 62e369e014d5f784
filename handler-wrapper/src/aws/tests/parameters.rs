//! The rows of the allow-list: for each, the whole document of a call by the real client.

#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "sqs")]
mod sqs;

use std::future::Future;

use aws_smithy_types::Blob;
use serde_json::Value;

use super::*;
use crate::testing::PARENT;

/// Calls `$sdk`'s `$operation` with `$set` on its builder, has `$body` for an answer, and
/// compares the parameters that are recorded.
macro_rules! row {
    ($sdk:ident $name:literal $operation:literal, |$client:ident| $call:expr, $body:expr, $expected:tt) => {{
        let call = |url: String| async move {
            let $client = client!($sdk, &url);
            $call.send().await.map(drop).unwrap();
        };
        let aws = document(&$body.to_string(), $name, $operation, call).await;
        assert_eq!(aws, json!($expected), $operation);
    }};
}
use row;

/// The document of one call to a service that answers with `body`, without what every one has:
/// that it has it is asserted here.
async fn document<F: Future>(
    body: &str,
    name: &str,
    operation: &str,
    call: impl FnOnce(String) -> F,
) -> Value {
    let endpoint = Endpoint::new([Answer::ok(body)]).await;
    let kept = Kept::default();
    kept.invoke(SAMPLED, call(endpoint.url.clone())).await;
    let everything = format!("{:?}", kept.events());
    assert!(!everything.contains("s3cr3t"), "{everything}");
    let mut document = kept.one(name);
    let aws = document["aws"].as_object_mut().unwrap();
    for (key, value) in [
        ("operation", json!(operation)),
        ("region", json!("eu-west-1")),
        ("retries", json!(0)),
        ("request_id", json!("req-1")),
    ] {
        assert_eq!(aws.remove(key), Some(value), "{operation}");
    }
    let aws = document["aws"].take();
    let fields = document.as_object_mut().unwrap();
    for key in ["id", "start_time", "end_time"] {
        assert!(fields.remove(key).is_some(), "{key} of {operation}");
    }
    assert_eq!(
        document,
        json!({
            "name": name, "namespace": "aws", "type": "subsegment", "trace_id": ROOT,
            "parent_id": kept.one("order-worker")["id"], "aws": null,
            "http": { "response": { "status": 200, "content_length": body.len() } },
        }),
        "{operation}"
    );
    assert_ne!(document["parent_id"], PARENT);
    aws
}

#[cfg(feature = "lambda")]
#[tokio::test]
async fn lambda() {
    use aws_sdk_lambda::types::{InvocationType, LogType};

    let call = |url: String| async move {
        let lambda = client!(aws_sdk_lambda, &url);
        let invoke = lambda.invoke().function_name("pay").qualifier("live");
        let invoke = invoke.invocation_type(InvocationType::RequestResponse);
        let invoke = invoke.log_type(LogType::None).client_context("s3cr3t");
        invoke.payload(Blob::new("s3cr3t")).send().await.unwrap();
    };
    let aws = document("{}", "Lambda", "Invoke", call).await;
    assert_eq!(
        aws,
        json!({ "function_name": "pay", "qualifier": "live", "log_type": "None",
                "invocation_type": "RequestResponse", "status_code": 200 })
    );
    let failed = ("x-amz-function-error", "Unhandled");
    let endpoint = Endpoint::new([Answer::With(200, failed, "{}".to_owned())]).await;
    let kept = Kept::default();
    let lambda = client!(aws_sdk_lambda, &endpoint.url);
    let outcome = kept.invoke(SAMPLED, lambda.invoke().function_name("pay").send());
    outcome.await.unwrap();
    assert_eq!(kept.one("Lambda")["aws"]["function_error"], "Unhandled");
}

#[cfg(feature = "eventbridge")]
#[tokio::test]
async fn eventbridge() {
    use aws_sdk_eventbridge::types::PutEventsRequestEntry;

    let entry = || PutEventsRequestEntry::builder().detail("\"s3cr3t\"");
    for (entries, expected, reason) in [
        (vec![], json!({}), "no entry"),
        (
            vec![entry()],
            json!({ "event_bus_name": "default" }),
            "the default bus",
        ),
        (
            vec![
                entry().event_bus_name("orders"),
                entry().event_bus_name("orders"),
            ],
            json!({ "event_bus_name": "orders" }),
            "one bus",
        ),
        (
            vec![entry().event_bus_name("orders"), entry()],
            json!({ "event_bus_name": ["default", "orders"] }),
            "two buses",
        ),
    ] {
        let entries = entries.into_iter().map(|entry| entry.build()).collect();
        let call = |url: String| async move {
            let eventbridge = client!(aws_sdk_eventbridge, &url);
            eventbridge
                .put_events()
                .set_entries(Some(entries))
                .send()
                .await
                .unwrap();
        };
        let body = r#"{"FailedEntryCount":0,"Entries":[]}"#;
        let aws = document(body, "EventBridge", "PutEvents", call).await;
        assert_eq!(aws, expected, "{reason}");
    }
    row!(aws_sdk_eventbridge "EventBridge" "DescribeRule",
        |eventbridge| eventbridge.describe_rule().name("r").event_bus_name("orders"), "{}",
        { "event_bus_name": "orders" });
}

#[tokio::test]
async fn names_need_no_feature() {
    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:orders";
    const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:ship";
    row!(aws_sdk_sns "SNS" "Publish",
        |sns| sns.publish().topic_arn(TOPIC).message("s3cr3t"),
        "<PublishResponse><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>",
        { "topic_arn": TOPIC });
    row!(aws_sdk_sns "SNS" "PublishBatch",
        |sns| sns.publish_batch().topic_arn(TOPIC).set_publish_batch_request_entries(Some(vec![])),
        "<PublishBatchResponse><PublishBatchResult></PublishBatchResult></PublishBatchResponse>",
        { "topic_arn": TOPIC });
    row!(aws_sdk_sfn "SFN" "StartExecution",
        |sfn| sfn.start_execution().state_machine_arn(MACHINE).input("\"s3cr3t\"").name("n"),
        json!({ "executionArn": "arn:e", "startDate": 1.5 }), { "state_machine_arn": MACHINE });
    row!(aws_sdk_secretsmanager "SecretsManager" "GetSecretValue",
        |secrets| secrets.get_secret_value().secret_id("db/password"),
        json!({ "Name": "db/password", "SecretString": "s3cr3t" }), { "secret_id": "db/password" });
    row!(aws_sdk_ssm "SSM" "GetParameter",
        |ssm| ssm.get_parameter().name("/db/password").with_decryption(true),
        json!({ "Parameter": { "Name": "/db/password", "Value": "s3cr3t" } }),
        { "name": "/db/password" });
    row!(aws_sdk_kinesis "Kinesis" "PutRecord",
        |kinesis| kinesis.put_record().stream_name("clicks").partition_key("s3cr3t").data(Blob::new("s3cr3t")),
        json!({ "ShardId": "s", "SequenceNumber": "1" }), { "stream_name": "clicks" });
    row!(aws_sdk_sagemakerruntime "SageMakerRuntime" "InvokeEndpoint",
        |sagemaker| sagemaker.invoke_endpoint().endpoint_name("rank").body(Blob::new("s3cr3t")),
        "{}", { "endpoint_name": "rank" });
}

/// S3's own, because it takes a bucket for a host name unless it is told not to.
#[tokio::test]
async fn s3() {
    macro_rules! s3 {
        ($operation:literal, |$s3:ident| $call:expr, $body:expr, $expected:tt) => {{
            let call = |url: String| async move {
                let config = aws_sdk_s3::Config::builder()
                    .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
                    .endpoint_url(url)
                    .force_path_style(true)
                    .region(Region::new("eu-west-1"))
                    .credentials_provider(Credentials::for_tests())
                    .interceptor(TraceInterceptor::new())
                    .build();
                let $s3 = aws_sdk_s3::Client::from_conf(config);
                $call.send().await.map(drop).unwrap();
            };
            let aws = document($body, "S3", $operation, call).await;
            assert_eq!(aws, json!($expected), $operation);
        }};
    }
    s3!("GetObject", |s3| s3.get_object().bucket("b").key("a/k").version_id("v"), "s3cr3t",
        { "bucket_name": "b", "key": "a/k", "version_id": "v" });
    s3!("PutObject", |s3| s3.put_object().bucket("b").key("k").body(b"s3cr3t".to_vec().into()), "",
        { "bucket_name": "b", "key": "k" });
    s3!("DeleteObject", |s3| s3.delete_object().bucket("b").key("k").version_id("v"), "",
        { "bucket_name": "b", "key": "k", "version_id": "v" });
    s3!("GetObjectTagging", |s3| s3.get_object_tagging().bucket("b").key("k").version_id("v"),
        "<Tagging><TagSet></TagSet></Tagging>",
        { "bucket_name": "b", "key": "k", "version_id": "v" });
    s3!("CopyObject", |s3| s3.copy_object().bucket("b").key("k").copy_source("c/l"),
        "<CopyObjectResult></CopyObjectResult>",
        { "bucket_name": "b", "key": "k", "copy_source": "c/l" });
    s3!("ListObjectsV2", |s3| s3.list_objects_v2().bucket("b").prefix("p/"),
        "<ListBucketResult></ListBucketResult>", { "bucket_name": "b", "prefix": "p/" });
    s3!("ListObjectVersions", |s3| s3.list_object_versions().bucket("b").prefix("p/"),
        "<ListVersionsResult></ListVersionsResult>", { "bucket_name": "b", "prefix": "p/" });
    s3!("ListMultipartUploads", |s3| s3.list_multipart_uploads().bucket("b").prefix("p/"),
        "<ListMultipartUploadsResult></ListMultipartUploadsResult>",
        { "bucket_name": "b", "prefix": "p/" });
    s3!("UploadPartCopy", |s3| s3.upload_part_copy().bucket("b").key("k").copy_source("c/l")
            .upload_id("s3cr3t").part_number(1),
        "<CopyPartResult></CopyPartResult>",
        { "bucket_name": "b", "key": "k", "copy_source": "c/l" });
    s3!("GetBucketTagging", |s3| s3.get_bucket_tagging().bucket("b"),
        "<Tagging><TagSet></TagSet></Tagging>", { "bucket_name": "b" });
}

#[tokio::test]
async fn users_add_and_remove() {
    let interceptor = TraceInterceptor::new()
        .record("DynamoDB", "KeyConditionExpression", "key_condition")
        .record("SecretsManager", "VersionStage", "version_stage")
        .record("SNS", "Subject", "subject")
        .omit("DynamoDB", "index_name")
        .omit("Secrets Manager", "secret_id")
        .account_id("123456789012");
    let answers = [Answer::ok("{}"), Answer::ok("{}"), Answer::ok("{}")];
    let endpoint = Endpoint::new(answers).await;
    let kept = Kept::default();
    let dynamodb = client!(aws_sdk_dynamodb, &endpoint.url, interceptor.clone());
    let secrets = client!(aws_sdk_secretsmanager, &endpoint.url, interceptor.clone());
    let sns = client!(aws_sdk_sns, &endpoint.url, interceptor);
    kept.invoke(SAMPLED, async {
        let query = dynamodb.query().table_name("t").index_name("i");
        query
            .key_condition_expression("k = :k")
            .send()
            .await
            .unwrap();
        let get = secrets.get_secret_value().secret_id("s");
        get.version_stage("AWSCURRENT").send().await.unwrap();
        let publish = sns.publish().topic_arn("t").subject("x".repeat(300));
        let _ = publish.message("m").send().await;
    })
    .await;
    let common = ["operation", "region", "retries", "request_id"];
    for (name, expected) in [
        (
            "DynamoDB",
            json!({ "table_name": "t", "key_condition": "k = :k", "account_id": "123456789012" }),
        ),
        (
            "SecretsManager",
            json!({ "version_stage": "AWSCURRENT", "account_id": "123456789012" }),
        ),
        (
            "SNS",
            json!({ "topic_arn": "t", "subject": "x".repeat(250), "account_id": "123456789012" }),
        ),
    ] {
        let mut aws = kept.one(name)["aws"].take();
        let fields = aws.as_object_mut().unwrap();
        fields.retain(|key, _| !common.contains(&key.as_str()));
        assert_eq!(aws, expected);
    }
}

/// The SDK keeps what the user asked it for, next to what is recorded.
#[tokio::test]
async fn the_users_own_captured_attributes_stay() {
    use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
    use std::sync::{Arc, Mutex};

    #[derive(Debug, Clone, Default)]
    struct Reads(Arc<Mutex<Option<String>>>);

    #[dyn_dispatch_hint]
    impl Intercept for Reads {
        fn name(&self) -> &'static str {
            "Reads"
        }

        fn read_before_transmit(
            &self,
            _context: &BeforeTransmitInterceptorContextRef<'_>,
            _components: &RuntimeComponents,
            cfg: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            let captured = cfg.load::<CapturedTelemetryAttributes>().unwrap();
            *self.0.lock().unwrap() = captured.get("UpdateExpression").map(str::to_owned);
            Ok(())
        }
    }

    let reads = Reads::default();
    let (own, endpoint) = (reads.clone(), Endpoint::new([Answer::ok("{}")]).await);
    let config = config(&endpoint.url)
        .capture_input_attributes(["UpdateExpression"])
        .interceptor(own);
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        let update = dynamodb.update_item().table_name("t");
        update.update_expression("SET a = :a").send().await.unwrap();
    })
    .await;
    assert_eq!(reads.0.lock().unwrap().as_deref(), Some("SET a = :a"));
    let aws = kept.one("DynamoDB")["aws"].take();
    assert_eq!(aws["table_name"], "t");
    assert!(aws.get("update_expression").is_none(), "{aws}");
}
