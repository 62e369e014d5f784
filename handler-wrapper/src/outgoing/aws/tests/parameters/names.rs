//! Rows of services whose names alone are recorded, which need no feature.

use aws_smithy_types::Blob;

use super::{
    super::*,
    row::{Row, row},
};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:orders";
const STREAM: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";
const MACHINE: &str = "arn:aws:states:eu-west-1:123456789012:stateMachine:ship";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(aws_sdk_sns "SNS" "Publish",
            |sns| sns.publish().topic_arn(TOPIC).message("s3cr3t"),
            "<PublishResponse><PublishResult></PublishResult></PublishResponse>",
            { "topic_arn": TOPIC }),
        row!(aws_sdk_sns "SNS" "Publish",
            |sns| sns.publish().target_arn(TOPIC).message("s3cr3t"),
            "<PublishResponse><PublishResult></PublishResult></PublishResponse>",
            { "target_arn": TOPIC }),
        row!(aws_sdk_sns "SNS" "PublishBatch",
            |sns| sns.publish_batch().topic_arn(TOPIC)
                .set_publish_batch_request_entries(Some(vec![])),
            "<PublishBatchResponse><PublishBatchResult></PublishBatchResult></PublishBatchResponse>",
            { "topic_arn": TOPIC }),
        row!(aws_sdk_sfn "SFN" "StartExecution",
            |sfn| sfn.start_execution().state_machine_arn(MACHINE).input("\"s3cr3t\"").name("n"),
            json!({ "executionArn": "arn:e", "startDate": 1.5 }),
            { "state_machine_arn": MACHINE }),
        row!(aws_sdk_sfn "SFN" "DescribeStateMachine",
            |sfn| sfn.describe_state_machine().state_machine_arn(MACHINE),
            json!({ "stateMachineArn": MACHINE, "name": "ship", "definition": "s3cr3t",
                    "roleArn": "arn:r", "type": "STANDARD", "creationDate": 1.5 }),
            { "state_machine_arn": MACHINE }),
        row!(aws_sdk_secretsmanager "SecretsManager" "GetSecretValue",
            |secrets| secrets.get_secret_value().secret_id("db/password"),
            json!({ "Name": "db/password", "SecretString": "s3cr3t" }),
            { "secret_id": "db/password" }),
        row!(aws_sdk_secretsmanager "SecretsManager" "PutSecretValue",
            |secrets| secrets.put_secret_value().secret_id("db/password").secret_string("s3cr3t"),
            json!({ "Name": "db/password" }), { "secret_id": "db/password" }),
        row!(aws_sdk_secretsmanager "SecretsManager" "DescribeSecret",
            |secrets| secrets.describe_secret().secret_id("db/password"),
            json!({ "Name": "db/password" }), { "secret_id": "db/password" }),
        row!(aws_sdk_ssm "SSM" "GetParameter",
            |ssm| ssm.get_parameter().name("/db/password").with_decryption(true),
            json!({ "Parameter": { "Name": "/db/password", "Value": "s3cr3t" } }),
            { "name": "/db/password" }),
        row!(aws_sdk_ssm "SSM" "PutParameter",
            |ssm| ssm.put_parameter().name("/db/password").value("s3cr3t"),
            json!({ "Version": 1 }), { "name": "/db/password" }),
        row!(aws_sdk_ssm "SSM" "GetParameterHistory",
            |ssm| ssm.get_parameter_history().name("/db/password"),
            json!({ "Parameters": [{ "Name": "/db/password", "Value": "s3cr3t" }] }),
            { "name": "/db/password" }),
        row!(aws_sdk_kinesis "Kinesis" "PutRecord",
            |kinesis| kinesis.put_record().stream_name("clicks").partition_key("s3cr3t")
                .data(Blob::new("s3cr3t")),
            json!({ "ShardId": "s", "SequenceNumber": "1" }), { "stream_name": "clicks" }),
        row!(aws_sdk_kinesis "Kinesis" "PutRecord",
            |kinesis| kinesis.put_record().stream_arn(STREAM).partition_key("s3cr3t")
                .data(Blob::new("s3cr3t")),
            json!({ "ShardId": "s", "SequenceNumber": "1" }), { "stream_arn": STREAM }),
        row!(aws_sdk_kinesis "Kinesis" "PutRecords",
            |kinesis| kinesis.put_records().stream_name("clicks").set_records(Some(vec![])),
            json!({ "Records": [], "FailedRecordCount": 0 }), { "stream_name": "clicks" }),
        row!(aws_sdk_kinesis "Kinesis" "DescribeStreamSummary",
            |kinesis| kinesis.describe_stream_summary().stream_name("clicks"),
            json!({ "StreamDescriptionSummary": {
                "StreamName": "clicks", "StreamARN": "arn:s", "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.5,
                "EnhancedMonitoring": [], "OpenShardCount": 1,
            } }),
            { "stream_name": "clicks" }),
        row!(aws_sdk_sagemakerruntime "SageMakerRuntime" "InvokeEndpoint",
            |sagemaker| sagemaker.invoke_endpoint().endpoint_name("rank")
                .body(Blob::new("s3cr3t")),
            "{}", { "endpoint_name": "rank" }),
    ]
}
