//! Events of the real services, as `aws_lambda_events` ships them with its source: each is told
//! for what it is, and with a context at the place where its service or producer puts one, the
//! documents are those that are expected.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::events::documents;
use crate::{
    embed,
    incoming::kind,
    testing::{PARENT, ROOT, SAMPLED},
};

/// The recorded events of the sources that bring a context: what each is taken for, its path, and
/// the trace of the header that it came with.
#[rustfmt::skip]
const RECORDED: [(&str, &str, Option<&str>, Option<&str>); 55] = [
    ("alb-lambda-target-request-headers-only", "http", Some("/"), Some("1-5c34e93e-4dea0086f9763ac0667b115a")),
    ("alb-lambda-target-request-multivalue-headers", "http", Some("/"), Some("1-5c34e7d4-00ca239424b68028d4c56d68")),
    ("apigw-console-request", "http", Some("/path/to/resource"), None),
    ("apigw-console-test-request", "http", Some("/myPath"), None),
    ("apigw-custom-auth-request", "direct", None, None),
    ("apigw-custom-auth-request-type-request", "http", Some("/request"), None),
    ("apigw-request", "http", Some("/hello/world"), None),
    ("apigw-request-catch-all", "http", Some("/hello/world"), None),
    ("apigw-request-multi-value-parameters", "http", Some("/hello/world"), None),
    ("apigw-restapi-openapi-request", "http", Some("/hello/world"), None),
    ("apigw-sam-http-request", "http", Some("/dump"), None),
    ("apigw-sam-rest-request", "http", Some("/test"), None),
    ("apigw-v2-custom-authorizer-v1-request", "http", Some("/request"), None),
    ("apigw-v2-custom-authorizer-v2-request", "http", Some("/my/path"), None),
    ("apigw-v2-custom-authorizer-v2-request-null-maps", "http", Some("/my/path"), None),
    ("apigw-v2-custom-authorizer-v2-request-without-cookies", "http", Some("/my/path"), None),
    ("apigw-v2-custom-authorizer-v2-request-without-identity-source", "http", Some("/my/path"), None),
    ("apigw-v2-custom-authorizer-websocket-request", "http", None, None),
    ("apigw-v2-request-iam", "http", Some("/my/path"), None),
    ("apigw-v2-request-jwt-authorizer", "http", Some("/my/path"), None),
    ("apigw-v2-request-lambda-authorizer", "http", Some("/my/path"), None),
    ("apigw-v2-request-multi-value-parameters", "http", Some("/my/path"), None),
    ("apigw-v2-request-no-authorizer", "http", Some("/"), Some("1-5e9f0c65-1de4d666d4dd26aced652b6c")),
    ("apigw-websocket-request", "http", Some("/hello/world"), None),
    ("apigw-websocket-request-disconnect-route", "http", None, None),
    // Their headers hold "Root=*" and "Root=1-asdf-asdfasdf": no traces.
    ("apigw-websocket-request-without-method", "http", None, None),
    ("appsync-direct-resolver", "appsync", None, Some("1-68713e21-7a03739120ad60703e794b22")),
    ("appsync-lambda-auth-request", "appsync", None, None),
    ("vpc-lattice-v1-request", "http", Some("/api/product"), None),
    ("vpc-lattice-v2-request", "http", Some("/health"), None),
    ("vpc-lattice-v2-request-base64", "http", Some("/api/files/upload"), None),
    ("vpc-lattice-v2-request-roles-anywhere", "http", Some("/api/external/data-sync"), None),
    ("sqs-event", "sqs", None, None),
    ("sqs-event-obj", "sqs", None, None),
    ("sns-event", "sns", None, None),
    ("sns-event-obj", "sns", None, None),
    ("sns-event-pascal-case", "sns", None, None),
    ("cloudwatch-alarm-sns-payload-single-metric", "sns", None, None),
    ("cloudwatch-alarm-sns-payload-multiple-metrics", "sns", None, None),
    ("eventbridge-event-obj", "eventbridge", None, None),
    ("eventbridge-schedule", "eventbridge", None, None),
    ("autoscaling-event-launch-successful", "eventbridge", None, None),
    ("codebuild-phase-change", "eventbridge", None, None),
    ("codedeploy-deployment-event", "eventbridge", None, None),
    ("codepipeline-execution-state-change-event", "eventbridge", None, None),
    ("ecr-image-scan-event", "eventbridge", None, None),
    ("s3-event", "s3", None, None),
    ("s3-event-with-decoded", "s3", None, None),
    ("kinesis-event", "kinesis", None, None),
    ("kinesis-event-encrypted", "kinesis", None, None),
    ("dynamodb-event", "dynamodb", None, None),
    ("dynamodb-event-null-items", "dynamodb", None, None),
    ("secretsmanager-secret-rotation-event", "direct", None, None),
    ("cloudformation-custom-resource-create-request", "direct", None, None),
    ("bedrock-agent-runtime-event", "direct", None, None),
];

/// Those that have no place for a context of their own: they have the runtime's alone.
const WITHOUT_A_PLACE: [&str; 3] = [
    "appsync-lambda-auth-request",
    "s3-event",
    "s3-event-with-decoded",
];

/// The folder of the recorded events, in the package's source.
fn folder() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo, to find the source of aws_lambda_events");
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {problem}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages
        .iter()
        .find(|package| package["name"] == "aws_lambda_events")
        .expect("a dependency of this crate");
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("src").join("fixtures")
}

fn read(event: &str) -> Vec<u8> {
    let file = folder().join(format!("example-{event}.json"));
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn each_is_told_for_what_it_is() {
    for (event, kind, path, trace) in RECORDED {
        let text = read(event);
        let (found, at) = kind::of_event(&text);
        assert_eq!((found, at.as_deref()), (kind, path), "{event}");
        let header = embed::from_event(&text).map(|header| header.to_string());
        assert_eq!(header, trace.map(|id| format!("Root={id}")), "{event}");
    }
}

/// Also responses and parts of events, which nobody hands to a function.
#[test]
fn none_of_all_that_are_shipped_does_harm() {
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        count += 1;
        let text = fs::read(&path).unwrap();
        let known = path.file_stem().and_then(|stem| stem.to_str()).unwrap();
        let known = |(event, ..): &(&str, _, _, _)| known.strip_prefix("example-") == Some(event);
        let brings = RECORDED.iter().any(|row| known(row) && row.3.is_some());
        let found = [embed::from_event(&text), embed::from_json(&text)];
        assert_eq!(found[0].is_some(), brings, "{}", path.display());
        let cut = &text[..text.len() / 2];
        assert!(
            embed::from_event(cut).is_none() || brings,
            "{}",
            path.display()
        );
    }
    assert!(count > 100, "only {count} events");
}

/// Puts a context where the service of this event, or else its producer, puts it.
fn carrying(kind: &str, mut event: Value) -> Value {
    match kind {
        "http" => in_headers(&mut event),
        "appsync" => in_headers(&mut event["request"]),
        "eventbridge" => event["detail"]["traceHeader"] = SAMPLED.into(),
        "direct" => event["_traceId"] = SAMPLED.into(),
        _ => {
            // Of several records each would have its own.
            let records = event["Records"].as_array_mut().unwrap();
            records.truncate(1);
            let record = &mut records[0];
            match kind {
                "sqs" => record["attributes"]["AWSTraceHeader"] = SAMPLED.into(),
                "sns" => {
                    let attribute = json!({ "Type": "String", "Value": SAMPLED });
                    record["Sns"]["MessageAttributes"]["traceHeader"] = attribute;
                }
                "kinesis" => {
                    let data = json!({ "order": 1, "_traceId": SAMPLED }).to_string();
                    record["kinesis"]["data"] = BASE64_STANDARD.encode(data).into();
                }
                "dynamodb" => record["dynamodb"]["NewImage"]["_traceId"] = json!({ "S": SAMPLED }),
                _ => panic!("no place for a context in an event of {kind}"),
            }
        }
    }
    event
}

/// Into `headers` and `multiValueHeaders`, as far as they are there, in place of what is there.
fn in_headers(request: &mut Value) {
    const NAME: &str = "X-Amzn-Trace-Id";
    if !request["headers"].is_object() && !request["multiValueHeaders"].is_object() {
        request["headers"] = json!({});
    }
    for (maps, value) in [
        ("headers", json!(SAMPLED)),
        ("multiValueHeaders", json!([SAMPLED])),
    ] {
        let Some(headers) = request.get_mut(maps).and_then(Value::as_object_mut) else {
            continue;
        };
        // VPC Lattice has lists under the one name.
        let lists = headers.values().any(Value::is_array);
        headers.retain(|name, _| !name.eq_ignore_ascii_case(NAME));
        let value = if lists { json!([SAMPLED]) } else { value };
        headers.insert(NAME.to_owned(), value);
    }
}

/// What is left of a document without its id and times, which must be in order.
fn lasting(document: &Value) -> Map<String, Value> {
    let mut fields = document.as_object().unwrap().clone();
    let mut time = |name: &str| fields.remove(name).and_then(|time| time.as_f64()).unwrap();
    assert!(time("start_time") <= time("end_time"), "{document}");
    let id = fields.remove("id").unwrap();
    assert_eq!(id.as_str().map(str::len), Some(16), "{document}");
    fields
}

#[tokio::test]
async fn documents_that_result() {
    for (event, kind, _, _) in RECORDED {
        let bare: Value = serde_json::from_slice(&read(event)).unwrap();
        let found = documents(&bare.to_string(), "").await;
        assert_eq!(
            found,
            [Value::Null; 0],
            "{event}: nobody decided to record it"
        );
        if WITHOUT_A_PLACE.contains(&event) {
            continue;
        }
        let event_with = carrying(kind, bare);
        let found = documents(&event_with.to_string(), "").await;
        assert_eq!(found.len(), 1, "{event}: {found:?}");
        let mut fields = lasting(&found[0]);
        let mut expected = json!({
            "name": "order-worker", "trace_id": ROOT, "parent_id": PARENT,
            "origin": "AWS::Lambda::Function",
        });
        if kind == "sqs" {
            let record = &event_with["Records"][0];
            let facts = fields["metadata"]["sqs"].as_object_mut().unwrap();
            assert!(
                facts.remove("queue_ms").unwrap().as_i64() > Some(0),
                "{event}"
            );
            let count = record["attributes"]["ApproximateReceiveCount"]
                .as_str()
                .unwrap();
            expected["metadata"] = json!({ "sqs": {
                "message_id": record["messageId"], "queue": record["eventSourceARN"],
                "receive_count": count.parse::<u32>().unwrap(),
            }});
        } else {
            expected["annotations"] = json!({ "cold_start": true });
        }
        assert_eq!(Value::Object(fields), expected, "{event}");
    }
}
