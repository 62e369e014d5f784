//! Tests of the user's changes to the allow-list.

use super::super::*;

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

/// The SDK captures the members that the user requested and the recorded ones.
#[tokio::test]
async fn captured_attributes_of_the_user_stay() {
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
