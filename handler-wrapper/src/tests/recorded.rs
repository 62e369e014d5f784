//! Recorded events of the real services and their origin. Events that no crate ships are in
//! `tests/events`, with a list of their sources and licences.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use Origin::{Batched, Events, Here, Http, InSqs, RawInSqs};

/// Origin of a recorded event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin {
    /// The source of `aws_lambda_events`.
    Events,
    /// The source of `lambda_http`.
    Http,
    /// `tests/events`.
    Here,
    /// Two recorded halves: an event of `Events` as the body of a recorded message, as S3 and
    /// EventBridge deliver to a queue. For SNS the notification is the body.
    InSqs,
    /// A notification of SNS with raw message delivery: its message alone is the body.
    RawInSqs,
    /// Two equal events of `Events` in a list: AppSync's batch for a resolver.
    Batched,
}

/// Origin and name, source, path, and trace of the header in the event.
type Row = (
    Origin,
    &'static str,
    &'static str,
    Option<&'static str>,
    Option<&'static str>,
);

/// Events of all sources that invoke a function.
#[rustfmt::skip]
pub(crate) const RECORDED: [Row; 81] = [
    (Events, "alb-lambda-target-request-headers-only", "http", Some("/"), Some("1-5c34e93e-4dea0086f9763ac0667b115a")),
    (Events, "alb-lambda-target-request-multivalue-headers", "http", Some("/"), Some("1-5c34e7d4-00ca239424b68028d4c56d68")),
    (Http, "alb_health_check", "http", Some("/"), None),
    (Http, "alb_multi_value_request", "http", Some("/"), Some("1-5bdb40ca-556d8b0c50dc66f0511bf520")),
    (Http, "alb_multi_value_request_encoded_query_parameters", "http", Some("/"), Some("1-5bdb40ca-556d8b0c50dc66f0511bf520")),
    (Http, "alb_no_host", "http", Some("/v1/health/"), None),
    (Http, "alb_request", "http", Some("/"), Some("1-5bdb40ca-556d8b0c50dc66f0511bf520")),
    (Http, "alb_request_encoded_query_parameters", "http", Some("/"), Some("1-5bdb40ca-556d8b0c50dc66f0511bf520")),
    (Events, "apigw-console-request", "http", Some("/path/to/resource"), None),
    (Events, "apigw-console-test-request", "http", Some("/myPath"), None),
    (Events, "apigw-custom-auth-request", "direct", None, None),
    (Events, "apigw-custom-auth-request-type-request", "http", Some("/request"), None),
    (Events, "apigw-request", "http", Some("/hello/world"), None),
    (Events, "apigw-request-catch-all", "http", Some("/hello/world"), None),
    (Events, "apigw-request-multi-value-parameters", "http", Some("/hello/world"), None),
    (Events, "apigw-restapi-openapi-request", "http", Some("/hello/world"), None),
    (Events, "apigw-sam-http-request", "http", Some("/dump"), None),
    (Events, "apigw-sam-rest-request", "http", Some("/test"), None),
    (Http, "apigw_multi_value_proxy_request", "http", Some("/hello/world"), None),
    (Http, "apigw_no_host", "http", Some("/hello"), None),
    (Http, "apigw_proxy_request", "http", Some("/hello"), None),
    (Http, "apigw_request_path_with_space", "http", Some("/my/path-with space"), None),
    (Events, "apigw-v2-custom-authorizer-v1-request", "http", Some("/request"), None),
    (Events, "apigw-v2-custom-authorizer-v2-request", "http", Some("/my/path"), None),
    (Events, "apigw-v2-custom-authorizer-v2-request-null-maps", "http", Some("/my/path"), None),
    (Events, "apigw-v2-custom-authorizer-v2-request-without-cookies", "http", Some("/my/path"), None),
    (Events, "apigw-v2-custom-authorizer-v2-request-without-identity-source", "http", Some("/my/path"), None),
    (Events, "apigw-v2-custom-authorizer-websocket-request", "http", None, None),
    (Events, "apigw-v2-request-iam", "http", Some("/my/path"), None),
    (Events, "apigw-v2-request-jwt-authorizer", "http", Some("/my/path"), None),
    (Events, "apigw-v2-request-lambda-authorizer", "http", Some("/my/path"), None),
    (Events, "apigw-v2-request-multi-value-parameters", "http", Some("/my/path"), None),
    (Events, "apigw-v2-request-no-authorizer", "http", Some("/"), Some("1-5e9f0c65-1de4d666d4dd26aced652b6c")),
    (Http, "apigw_v2_proxy_request", "http", Some("/my/path"), None),
    (Http, "apigw_v2_proxy_request_minimal", "http", Some("/"), Some("1-5eb33c07-de25b420912dee103a5db434")),
    (Http, "apigw_v2_proxy_request_with_stage_in_path", "http", Some("/Prod/my/path"), None),
    (Http, "apigw_v2_sam_local", "http", Some("/hello"), None),
    (Events, "apigw-websocket-request", "http", Some("/hello/world"), None),
    (Events, "apigw-websocket-request-disconnect-route", "http", None, None),
    // Their headers hold "Root=*" and "Root=1-asdf-asdfasdf": no traces.
    (Events, "apigw-websocket-request-without-method", "http", None, None),
    (Http, "lambda_function_url_request", "http", Some("/my/path"), Some("1-5eb33c07-de25b420912dee103a5db434")),
    (Events, "appsync-direct-resolver", "appsync", None, Some("1-68713e21-7a03739120ad60703e794b22")),
    (Batched, "appsync-direct-resolver", "appsync", None, Some("1-68713e21-7a03739120ad60703e794b22")),
    (Events, "appsync-lambda-auth-request", "appsync", None, None),
    (Events, "vpc-lattice-v1-request", "http", Some("/api/product"), None),
    (Events, "vpc-lattice-v2-request", "http", Some("/health"), None),
    (Events, "vpc-lattice-v2-request-base64", "http", Some("/api/files/upload"), None),
    (Events, "vpc-lattice-v2-request-roles-anywhere", "http", Some("/api/external/data-sync"), None),
    (Http, "vpc_lattice_v2_request", "http", Some("/health"), None),
    (Http, "vpc_lattice_v2_request_base64", "http", Some("/health"), None),
    (Http, "vpc_lattice_v2_request_encoded_query", "http", Some("/search"), None),
    (Events, "sqs-event", "sqs", None, None),
    (Events, "sqs-event-obj", "sqs", None, None),
    (Here, "sns-in-sqs", "sqs", None, None),
    (InSqs, "sns-event-obj", "sqs", None, None),
    (RawInSqs, "sns-event", "sqs", None, None),
    (RawInSqs, "sns-event-obj", "sqs", None, None),
    (InSqs, "eventbridge-event-obj", "sqs", None, None),
    (InSqs, "s3-event", "sqs", None, None),
    (Events, "sns-event", "sns", None, None),
    (Events, "sns-event-obj", "sns", None, None),
    (Events, "sns-event-pascal-case", "sns", None, None),
    (Events, "cloudwatch-alarm-sns-payload-single-metric", "sns", None, None),
    (Events, "cloudwatch-alarm-sns-payload-multiple-metrics", "sns", None, None),
    (Events, "eventbridge-event-obj", "eventbridge", None, None),
    (Events, "eventbridge-schedule", "eventbridge", None, None),
    (Events, "autoscaling-event-launch-successful", "eventbridge", None, None),
    (Events, "codebuild-phase-change", "eventbridge", None, None),
    (Events, "codedeploy-deployment-event", "eventbridge", None, None),
    (Events, "codepipeline-execution-state-change-event", "eventbridge", None, None),
    (Events, "ecr-image-scan-event", "eventbridge", None, None),
    (Events, "s3-event", "s3", None, None),
    (Events, "s3-event-with-decoded", "s3", None, None),
    (Events, "kinesis-event", "kinesis", None, None),
    (Events, "kinesis-event-encrypted", "kinesis", None, None),
    (Events, "dynamodb-event", "dynamodb", None, None),
    (Events, "dynamodb-event-null-items", "dynamodb", None, None),
    (Here, "step-functions", "direct", None, None),
    (Events, "secretsmanager-secret-rotation-event", "direct", None, None),
    (Events, "cloudformation-custom-resource-create-request", "direct", None, None),
    (Events, "bedrock-agent-runtime-event", "direct", None, None),
];

/// Returns the text of a recorded event.
pub(crate) fn text(origin: Origin, name: &str) -> Vec<u8> {
    let file = match origin {
        Events => folder(Events).join(format!("example-{name}.json")),
        Http | Here => folder(origin).join(format!("{name}.json")),
        InSqs | RawInSqs | Batched => {
            return composed(origin, event(Events, name)).to_string().into();
        }
    };
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub(crate) fn event(origin: Origin, name: &str) -> Value {
    serde_json::from_slice(&text(origin, name)).unwrap()
}

/// Returns the files of all recorded events, responses and parts of events included.
pub(crate) fn files() -> Vec<PathBuf> {
    let folders = [Events, Http, Here].map(folder);
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|kind| kind == "json"));
    // The folders differ between machines.
    files.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    files
}

fn composed(origin: Origin, event: Value) -> Value {
    let notification = event.pointer("/Records/0/Sns");
    let body = match (origin, notification) {
        (Batched, _) => return vec![event.clone(), event].into(),
        (RawInSqs, Some(notification)) => notification["Message"].clone(),
        (_, Some(notification)) => notification.to_string().into(),
        (_, None) => event.to_string().into(),
    };
    let mut message = self::event(Here, "sns-in-sqs");
    message["Records"][0]["body"] = body;
    message
}

fn folder(origin: Origin) -> PathBuf {
    match origin {
        Events => source_of("aws_lambda_events").join("src/fixtures"),
        Http => source_of("lambda_http").join("tests/data"),
        _ => [env!("CARGO_MANIFEST_DIR"), "tests", "events"]
            .iter()
            .collect(),
    }
}

/// Returns the folder in which Cargo keeps the source of a dependency.
fn source_of(package: &str) -> PathBuf {
    static METADATA: LazyLock<Value> = LazyLock::new(|| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--manifest-path"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .output()
            .expect("cargo, to find the sources of dependencies");
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo metadata: {problem}");
        serde_json::from_slice(&output.stdout).unwrap()
    });
    let packages = METADATA["packages"].as_array().unwrap();
    let found = packages.iter().find(|found| found["name"] == package);
    let found = found.unwrap_or_else(|| panic!("{package} is no dependency of this crate"));
    let manifest = PathBuf::from(found["manifest_path"].as_str().unwrap());
    manifest.with_file_name("")
}
