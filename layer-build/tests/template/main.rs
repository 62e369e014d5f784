//! Checks event sources, tracing and permissions in template.yaml, which linters do not. `src/facts.rs`
//! compares the other two stacks with it.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

mod alarms;
mod names;
mod other_stacks;
mod permissions;

use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn template() -> Value {
    let text = fs::read_to_string(root().join("template.yaml")).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

/// Returns the resources of a type, with their names.
fn resources<'a>(template: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    let all = template["Resources"].as_mapping().unwrap();
    let found: Vec<_> = all
        .iter()
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.as_str().unwrap(), &resource["Properties"]))
        .collect();
    assert!(!found.is_empty(), "no {kind}");
    found
}

/// Formats `!Ref name` or `!GetAtt name.attribute`, with its tag.
fn tagged(value: &Value) -> String {
    match value {
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, tagged.value.as_str().unwrap()),
        other => panic!("no tag: {other:?}"),
    }
}

#[test]
fn every_function_is_traced_and_has_the_layer_and_a_separate_role() {
    let template = template();
    let globals = &template["Globals"]["Function"];
    assert_eq!(globals["Tracing"], "Active");
    assert_eq!(globals["Layers"].as_sequence().unwrap().len(), 1);
    for (name, function) in resources(&template, "AWS::Serverless::Function") {
        for replaced in ["Tracing", "Layers", "Architectures", "Runtime"] {
            assert!(function[replaced].is_null(), "{name} replaces {replaced}");
        }
        // Without a role SAM attaches a policy with more rights.
        assert_eq!(tagged(&function["Role"]), format!("!GetAtt {name}Role.Arn"));
    }
}

#[test]
fn each_processor_has_a_layer() {
    let template = template();
    let layers = resources(&template, "AWS::Serverless::LayerVersion");
    let contents = layers.iter().map(|(_, layer)| {
        let processor = layer["CompatibleArchitectures"][0].as_str().unwrap();
        let zip = layer["ContentUri"].as_str().unwrap();
        assert_eq!(zip, format!("target/layer/tracestitch-{processor}.zip"));
        assert_eq!(
            layer["RetentionPolicy"], "Retain",
            "a rollback needs old versions"
        );
        processor
    });
    assert_eq!(contents.collect::<Vec<_>>(), ["x86_64", "arm64"]);
}

#[test]
fn api_topic_and_state_machine_are_traced() {
    let template = template();
    for (name, api) in resources(&template, "AWS::Serverless::Api") {
        assert_eq!(api["TracingEnabled"], true, "{name}");
        assert!(
            !api["Auth"]["DefaultAuthorizer"].is_null(),
            "{name} has no authorizer"
        );
        assert_eq!(
            api["Auth"]["InvokeRole"], "NONE",
            "{name} calls with the rights of its caller"
        );
    }
    for (name, topic) in resources(&template, "AWS::SNS::Topic") {
        assert_eq!(topic["TracingConfig"], "Active", "{name}");
    }
    for (name, machine) in resources(&template, "AWS::Serverless::StateMachine") {
        assert_eq!(machine["Tracing"]["Enabled"], true, "{name}");
    }
}

#[test]
fn consumers_report_single_failures_and_have_a_dead_letter_queue() {
    let template = template();
    for (function, event, queue, dead_queue) in [
        ("OrderWorker", "Orders", "OrdersQueue", "DeadOrdersQueue"),
        (
            "OrderNotifier",
            "Notifications",
            "NotificationsQueue",
            "DeadNotificationsQueue",
        ),
    ] {
        let source = &template["Resources"][function]["Properties"]["Events"][event];
        assert_eq!(source["Type"], "SQS");
        let properties = source["Properties"].as_mapping().unwrap();
        let names: Vec<_> = properties.keys().map(|key| key.as_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "Queue",
                "BatchSize",
                "FunctionResponseTypes",
                "ScalingConfig"
            ]
        );
        assert_eq!(tagged(&properties["Queue"]), format!("!GetAtt {queue}.Arn"));
        assert!((1..=10).contains(&properties["BatchSize"].as_u64().unwrap()));
        let answers = properties["FunctionResponseTypes"].as_sequence().unwrap();
        assert_eq!(*answers, ["ReportBatchItemFailures"]);

        let queue = &template["Resources"][queue]["Properties"];
        let dead = &queue["RedrivePolicy"]["deadLetterTargetArn"];
        assert_eq!(tagged(dead), format!("!GetAtt {dead_queue}.Arn"));
        assert_eq!(queue["RedrivePolicy"]["maxReceiveCount"], 5);
        let timeout = template["Globals"]["Function"]["Timeout"].as_u64().unwrap();
        assert!(queue["VisibilityTimeout"].as_u64().unwrap() >= 6 * timeout);
    }
}

#[test]
fn api_invokes_order_api() {
    let template = template();
    let event = &template["Resources"]["OrderApi"]["Properties"]["Events"]["PostOrder"];
    assert_eq!(event["Type"], "Api");
    let event = &event["Properties"];
    assert_eq!(tagged(&event["RestApiId"]), "!Ref OrdersApi");
    assert_eq!(
        (&event["Path"], &event["Method"]),
        (&"/orders".into(), &"POST".into())
    );
}

#[test]
fn topic_sends_to_the_notifier_through_its_queue() {
    let template = template();
    let subscription = &template["Resources"]["NotificationsSubscription"]["Properties"];
    assert_eq!(tagged(&subscription["TopicArn"]), "!Ref ProcessedOrders");
    assert_eq!(subscription["Protocol"], "sqs");
    assert_eq!(
        tagged(&subscription["Endpoint"]),
        "!GetAtt NotificationsQueue.Arn"
    );
    let policy = &template["Resources"]["NotificationsPolicy"]["Properties"];
    assert_eq!(tagged(&policy["Queues"][0]), "!Ref NotificationsQueue");
    let statement = &policy["PolicyDocument"]["Statement"][0];
    assert_eq!(statement["Principal"]["Service"], "sns.amazonaws.com");
    assert_eq!(statement["Action"], "sqs:SendMessage");
    assert_eq!(
        tagged(&statement["Condition"]["ArnEquals"]["aws:SourceArn"]),
        "!Ref ProcessedOrders"
    );
}

#[test]
fn event_bus_starts_the_state_machine_that_sends_to_the_queue() {
    let template = template();
    let [(_, rule)] = resources(&template, "AWS::Events::Rule")[..] else {
        panic!("expected one rule");
    };
    assert_eq!(tagged(&rule["Targets"][0]["Arn"]), "!Ref OrderIntake");
    let machine = &template["Resources"]["OrderIntake"]["Properties"];
    let states = &machine["Definition"]["States"];
    assert_eq!(
        states["Send"]["Resource"],
        "arn:${Partition}:states:::sqs:sendMessage"
    );
    assert_eq!(
        tagged(&machine["DefinitionSubstitutions"]["Queue"]),
        "!Ref OrdersQueue"
    );
}

#[test]
fn every_parameter_has_a_default_and_functions_have_the_variables_they_read() {
    let template = template();
    for (name, parameter) in template["Parameters"].as_mapping().unwrap() {
        assert!(!parameter["Default"].is_null(), "{name:?}");
    }
    let shared = &template["Globals"]["Function"]["Environment"]["Variables"];
    for function in ["OrderApi", "OrderWorker", "OrderNotifier"] {
        let function = &template["Resources"][function];
        let binary = function["Metadata"]["BuildProperties"]["Binary"].as_str();
        let binary = binary.unwrap();
        let source = root().join(format!("examples/{binary}/src/main.rs"));
        let source = fs::read_to_string(source).unwrap();
        let own = &function["Properties"]["Environment"]["Variables"];
        for read in source.split("env::var(\"").skip(1) {
            let name = read.split('"').next().unwrap();
            assert!(
                !own[name].is_null() || !shared[name].is_null(),
                "{binary} reads {name}"
            );
        }
    }
}

#[test]
fn release_profile_unwinds_so_that_functions_survive_a_panic() {
    // The default of cargo-lambda, with which SAM builds, is "abort".
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let profile = manifest.split_once("[profile.release]\n").unwrap().1;
    let profile = profile.split("\n[").next().unwrap();
    assert!(profile.contains("\npanic = \"unwind\"\n"));
}
