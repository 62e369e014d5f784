//! Allow-list of parameters and results of AWS calls.
//!
//! The list has the members that X-Ray's own SDKs record (`aws_whitelist.json` of the SDK for Node,
//! `DefaultOperationParameterWhitelist.json` of the SDK for Java) under the same keys, and the
//! resource's name for services that they do not know. Contents of messages, items, events, objects
//! and secrets are not in it. Other members are not recorded, unless the user adds them.

/// Name of a member in the service's API and key under which it is recorded. If only the count or
/// the keys of a list or map are recorded, the key says so.
pub(super) type Parameter = (&'static str, &'static str);

/// Signing name of Step Functions. It accepts a trace header in the input, too, but prefers the HTTP
/// header (Step Functions API reference, `StartExecution`), so the user's is sent in both places.
pub(super) const STEP_FUNCTIONS: &str = "states";
pub(super) const INPUT_HEADER: &str = "traceHeader";
/// Signing name of EventBridge.
pub(super) const EVENTBRIDGE: &str = "events";

/// Recorded members of one service.
#[derive(Debug)]
pub(super) struct Service {
    /// The SDK's name without spaces, which the X-Ray console shows.
    pub(super) name: &'static str,
    /// Known before the operation, so it decides which members the SDK is asked to capture.
    pub(super) signing_name: &'static str,
    /// Strings of the input, recorded for each operation that has them. The SDK captures them, so
    /// the service's types are not needed.
    pub(super) names: &'static [Parameter],
    pub(super) operations: &'static [Operations],
}

/// Members of some operations beyond [`Service::names`], read by type.
#[derive(Debug)]
pub(super) struct Operations {
    names: &'static [&'static str],
    pub(super) request: &'static [Parameter],
    pub(super) response: &'static [Parameter],
}

impl Service {
    pub(super) fn operations(&self, name: &str) -> Option<&'static Operations> {
        self.operations
            .iter()
            .find(|operations| operations.names.contains(&name))
    }

    /// Returns the input members that the SDK is asked to capture: names and a trace header.
    pub(super) fn requested(&self) -> impl Iterator<Item = &'static str> {
        let header = (self.signing_name == STEP_FUNCTIONS).then_some(INPUT_HEADER);
        self.names.iter().map(|(member, _)| *member).chain(header)
    }
}

/// Returns the service of this name, which may have spaces.
pub(super) fn service(name: &str) -> Option<&'static Service> {
    SERVICES
        .iter()
        .find(|service| same_name(service.name, name))
}

/// Returns true if the two differ in spaces only.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    let visible = |byte: &u8| *byte != b' ';
    one == other
        || (one.bytes().next() == other.bytes().next()
            && one
                .bytes()
                .filter(visible)
                .eq(other.bytes().filter(visible)))
}

const CONSUMED: Parameter = ("ConsumedCapacity", "consumed_capacity");
const METRICS: Parameter = ("ItemCollectionMetrics", "item_collection_metrics");
const TABLES: Parameter = ("RequestItems", "table_names");
const THROUGHPUT: Parameter = ("ProvisionedThroughput", "provisioned_throughput");
const CONSISTENT: Parameter = ("ConsistentRead", "consistent_read");
const ATTRIBUTES: Parameter = ("AttributesToGet", "attributes_to_get");
const LIMIT: Parameter = ("Limit", "limit");
const SELECT: Parameter = ("Select", "select");
const QUEUE_URL: Parameter = ("QueueUrl", "queue_url");
const VISIBILITY: Parameter = ("VisibilityTimeout", "visibility_timeout");

pub(super) static SERVICES: [Service; 11] = [
    Service {
        name: "DynamoDB",
        signing_name: "dynamodb",
        names: &[
            ("TableName", "table_name"),
            ("IndexName", "index_name"),
            ("ProjectionExpression", "projection_expression"),
            ("ExclusiveStartTableName", "exclusive_start_table_name"),
        ],
        operations: &[
            Operations {
                names: &["GetItem"],
                request: &[CONSISTENT],
                response: &[CONSUMED],
            },
            Operations {
                names: &["PutItem", "UpdateItem", "DeleteItem"],
                request: &[],
                response: &[CONSUMED, METRICS],
            },
            Operations {
                names: &["Query"],
                request: &[
                    LIMIT,
                    SELECT,
                    CONSISTENT,
                    ("ScanIndexForward", "scan_index_forward"),
                    ATTRIBUTES,
                ],
                response: &[CONSUMED],
            },
            Operations {
                names: &["Scan"],
                request: &[
                    LIMIT,
                    SELECT,
                    CONSISTENT,
                    ATTRIBUTES,
                    ("Segment", "segment"),
                    ("TotalSegments", "total_segments"),
                ],
                response: &[
                    CONSUMED,
                    ("Count", "count"),
                    ("ScannedCount", "scanned_count"),
                ],
            },
            Operations {
                names: &["BatchGetItem"],
                request: &[TABLES],
                response: &[CONSUMED],
            },
            Operations {
                names: &["BatchWriteItem"],
                request: &[TABLES],
                response: &[CONSUMED, METRICS],
            },
            Operations {
                names: &["CreateTable"],
                request: &[
                    THROUGHPUT,
                    ("GlobalSecondaryIndexes", "global_secondary_indexes"),
                    ("LocalSecondaryIndexes", "local_secondary_indexes"),
                ],
                response: &[],
            },
            Operations {
                names: &["UpdateTable"],
                request: &[
                    THROUGHPUT,
                    ("AttributeDefinitions", "attribute_definitions"),
                    (
                        "GlobalSecondaryIndexUpdates",
                        "global_secondary_index_updates",
                    ),
                ],
                response: &[],
            },
            Operations {
                names: &["ListTables"],
                request: &[LIMIT],
                response: &[("TableNames", "table_count")],
            },
        ],
    },
    Service {
        name: "SQS",
        signing_name: "sqs",
        names: &[
            QUEUE_URL,
            ("QueueName", "queue_name"),
            ("QueueNamePrefix", "queue_name_prefix"),
            ("QueueOwnerAWSAccountId", "queue_owner_aws_account_id"),
            ("Label", "label"),
        ],
        operations: &[
            Operations {
                names: &["SendMessage"],
                request: &[
                    ("DelaySeconds", "delay_seconds"),
                    ("MessageAttributes", "message_attribute_names"),
                ],
                response: &[("MessageId", "message_id")],
            },
            Operations {
                names: &["SendMessageBatch"],
                request: &[("Entries", "message_count")],
                response: &[
                    ("Failed", "failed_count"),
                    ("Successful", "successful_count"),
                ],
            },
            Operations {
                names: &["ReceiveMessage"],
                request: &[
                    ("AttributeNames", "attribute_names"),
                    (
                        "MessageSystemAttributeNames",
                        "message_system_attribute_names",
                    ),
                    ("MessageAttributeNames", "message_attribute_names"),
                    ("MaxNumberOfMessages", "max_number_of_messages"),
                    VISIBILITY,
                    ("WaitTimeSeconds", "wait_time_seconds"),
                ],
                response: &[("Messages", "message_count")],
            },
            Operations {
                names: &["ChangeMessageVisibility"],
                request: &[VISIBILITY],
                response: &[],
            },
            Operations {
                names: &["DeleteMessageBatch", "ChangeMessageVisibilityBatch"],
                request: &[],
                response: &[("Failed", "failed")],
            },
            Operations {
                names: &["GetQueueUrl"],
                request: &[],
                response: &[QUEUE_URL],
            },
            Operations {
                names: &["CreateQueue"],
                request: &[("Attributes", "attributes")],
                response: &[QUEUE_URL],
            },
            Operations {
                names: &["GetQueueAttributes"],
                request: &[],
                response: &[("Attributes", "attributes")],
            },
            Operations {
                names: &["SetQueueAttributes"],
                request: &[("Attributes", "attribute_names")],
                response: &[],
            },
            Operations {
                names: &["ListQueues"],
                request: &[],
                response: &[("QueueUrls", "queue_count")],
            },
            Operations {
                names: &["ListDeadLetterSourceQueues"],
                request: &[],
                response: &[("QueueUrls", "queue_urls")],
            },
        ],
    },
    Service {
        name: "SNS",
        signing_name: "sns",
        names: &[("TopicArn", "topic_arn"), ("TargetArn", "target_arn")],
        operations: &[],
    },
    Service {
        name: "S3",
        signing_name: "s3",
        names: &[
            ("Bucket", "bucket_name"),
            ("Key", "key"),
            ("VersionId", "version_id"),
            ("CopySource", "copy_source"),
            ("Prefix", "prefix"),
        ],
        operations: &[],
    },
    Service {
        name: "Lambda",
        signing_name: "lambda",
        names: &[
            ("FunctionName", "function_name"),
            ("Qualifier", "qualifier"),
        ],
        operations: &[Operations {
            names: &["Invoke"],
            request: &[
                ("InvocationType", "invocation_type"),
                ("LogType", "log_type"),
            ],
            response: &[
                ("FunctionError", "function_error"),
                ("StatusCode", "status_code"),
            ],
        }],
    },
    Service {
        name: "SageMakerRuntime",
        signing_name: "sagemaker",
        names: &[("EndpointName", "endpoint_name")],
        operations: &[],
    },
    Service {
        name: "EventBridge",
        signing_name: "events",
        names: &[("EventBusName", "event_bus_name")],
        operations: &[Operations {
            names: &["PutEvents"],
            request: &[("Entries", "event_bus_name")],
            response: &[],
        }],
    },
    Service {
        name: "SFN",
        signing_name: "states",
        names: &[("stateMachineArn", "state_machine_arn")],
        operations: &[],
    },
    Service {
        name: "SecretsManager",
        signing_name: "secretsmanager",
        names: &[("SecretId", "secret_id")],
        operations: &[],
    },
    Service {
        name: "SSM",
        signing_name: "ssm",
        names: &[("Name", "name")],
        operations: &[],
    },
    Service {
        name: "Kinesis",
        signing_name: "kinesis",
        names: &[("StreamName", "stream_name"), ("StreamARN", "stream_arn")],
        operations: &[],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn spaces_do_not_make_a_service() {
        for (name, found) in [
            ("DynamoDB", Some("DynamoDB")),
            ("Secrets Manager", Some("SecretsManager")),
            ("SageMaker Runtime", Some("SageMakerRuntime")),
            ("SageMaker", None),
            ("", None),
        ] {
            assert_eq!(service(name).map(|service| service.name), found, "{name}");
        }
    }

    #[test]
    fn nothing_is_listed_twice() {
        let mut services = HashSet::new();
        for service in &SERVICES {
            assert!(services.insert(service.name) && services.insert(service.signing_name));
            let mut operations = HashSet::new();
            for some in service.operations {
                for name in some.names {
                    assert!(operations.insert(name), "{} {name}", service.name);
                }
            }
        }
    }
}
