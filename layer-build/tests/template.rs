//! What the linters do not look at: event sources, tracing, permissions, in all three templates.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

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

/// Resources of a type, with their names.
fn resources<'a>(template: &'a Value, kind: &str) -> Vec<(&'a str, &'a Value)> {
    let all = template["Resources"].as_mapping().unwrap();
    let found: Vec<_> = all
        .iter()
        .filter(|(_, resource)| resource["Type"] == kind)
        .map(|(name, resource)| (name.as_str().unwrap(), &resource["Properties"]))
        .collect();
    assert!(!found.is_empty(), "there is no {kind}");
    found
}

/// The name in `!Ref name`, or the names in `!GetAtt name.attribute`.
fn tagged(value: &Value) -> String {
    match value {
        Value::Tagged(tagged) => format!("{} {}", tagged.tag, tagged.value.as_str().unwrap()),
        other => panic!("no tag: {other:?}"),
    }
}

#[test]
fn every_function_is_traced_and_has_the_layer_and_a_role_of_its_own() {
    let template = template();
    let globals = &template["Globals"]["Function"];
    assert_eq!(globals["Tracing"], "Active");
    assert_eq!(globals["Layers"].as_sequence().unwrap().len(), 1);
    for (name, function) in resources(&template, "AWS::Serverless::Function") {
        for replaced in ["Tracing", "Layers", "Architectures", "Runtime"] {
            assert!(function[replaced].is_null(), "{name} replaces {replaced}");
        }
        // Without one SAM attaches a policy that may do more.
        assert_eq!(tagged(&function["Role"]), format!("!GetAtt {name}Role.Arn"));
    }
}

#[test]
fn there_is_a_layer_for_each_processor() {
    let template = template();
    let layers = resources(&template, "AWS::Serverless::LayerVersion");
    let contents = layers.iter().map(|(_, layer)| {
        let processor = layer["CompatibleArchitectures"][0].as_str().unwrap();
        let zip = layer["ContentUri"].as_str().unwrap();
        assert_eq!(zip, format!("target/layer/tracestitch-{processor}.zip"));
        assert_eq!(layer["RetentionPolicy"], "Retain", "a rollback needs it");
        processor
    });
    assert_eq!(contents.collect::<Vec<_>>(), ["x86_64", "arm64"]);
}

#[test]
fn api_and_state_machine_are_traced() {
    let template = template();
    for (name, api) in resources(&template, "AWS::Serverless::Api") {
        assert_eq!(api["TracingEnabled"], true, "{name}");
        assert!(
            !api["Auth"]["DefaultAuthorizer"].is_null(),
            "{name} is open"
        );
        assert_eq!(
            api["Auth"]["InvokeRole"], "NONE",
            "{name} lends its caller's rights"
        );
    }
    for (name, machine) in resources(&template, "AWS::Serverless::StateMachine") {
        assert_eq!(machine["Tracing"]["Enabled"], true, "{name}");
    }
}

#[test]
fn the_worker_consumes_the_queue_and_reports_single_failures() {
    let template = template();
    let worker = &template["Resources"]["OrderWorker"]["Properties"];
    let source = &worker["Events"]["Orders"];
    assert_eq!(source["Type"], "SQS");
    let properties = source["Properties"].as_mapping().unwrap();
    let names: Vec<_> = properties.keys().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(names, ["Queue", "BatchSize", "FunctionResponseTypes"]);
    assert_eq!(tagged(&properties["Queue"]), "!GetAtt OrdersQueue.Arn");
    assert!((1..=10).contains(&properties["BatchSize"].as_u64().unwrap()));
    let answers = properties["FunctionResponseTypes"].as_sequence().unwrap();
    assert_eq!(*answers, ["ReportBatchItemFailures"]);

    let queue = &template["Resources"]["OrdersQueue"]["Properties"];
    let dead = &queue["RedrivePolicy"]["deadLetterTargetArn"];
    assert_eq!(tagged(dead), "!GetAtt DeadOrdersQueue.Arn");
    let timeout = template["Globals"]["Function"]["Timeout"].as_u64().unwrap();
    assert!(queue["VisibilityTimeout"].as_u64().unwrap() >= 6 * timeout);
}

#[test]
fn the_event_bus_reaches_the_queue_by_the_state_machine() {
    let template = template();
    let [(_, rule)] = resources(&template, "AWS::Events::Rule")[..] else {
        panic!("one rule is expected");
    };
    assert_eq!(tagged(&rule["Targets"][0]["Arn"]), "!Ref OrderIntake");
    let machine = &template["Resources"]["OrderIntake"]["Properties"];
    let states = &machine["Definition"]["States"];
    assert_eq!(
        states["Send"]["Resource"],
        "arn:aws:states:::sqs:sendMessage"
    );
    assert_eq!(
        tagged(&machine["DefinitionSubstitutions"]["Queue"]),
        "!Ref OrdersQueue"
    );
}

#[test]
fn nobody_may_do_more_with_xray_than_send() {
    let text = fs::read_to_string(root().join("template.yaml")).unwrap();
    let terraform = fs::read_to_string(root().join("terraform/main.tf")).unwrap();
    for (name, text) in [("template.yaml", &text), ("terraform/main.tf", &terraform)] {
        let mut actions: Vec<_> = text
            .match_indices("xray:")
            .map(|(at, _)| {
                let rest = &text[at + "xray:".len()..];
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '*');
                &rest[..end.unwrap_or(rest.len())]
            })
            // Links of the console.
            .filter(|action| !["traces", "service"].contains(action))
            .collect();
        actions.sort_unstable();
        assert_eq!(
            actions,
            ["PutTelemetryRecords", "PutTraceSegments"],
            "{name}"
        );
        assert!(!text.contains("arn:aws:iam::aws:policy"), "{name}");
    }
    // Of the statements on all resources, each is about actions that know none.
    let template = template();
    for (name, role) in resources(&template, "AWS::IAM::Role") {
        for policy in role["Policies"].as_sequence().unwrap() {
            for statement in policy["PolicyDocument"]["Statement"].as_sequence().unwrap() {
                let open = statement["Resource"] == "*";
                let delivery = statement["Action"][0] == "logs:CreateLogDelivery";
                assert_eq!(open, delivery, "{name}: {statement:?}");
            }
        }
    }
}

#[test]
fn logs_end() {
    let template = template();
    let groups = resources(&template, "AWS::Logs::LogGroup");
    assert_eq!(groups.len(), 3);
    for (name, group) in groups {
        assert_eq!(
            tagged(&group["RetentionInDays"]),
            "!Ref LogRetentionDays",
            "{name}"
        );
    }
}

#[test]
fn faults_raise_an_alarm_and_traces_are_sampled_and_grouped() {
    let template = template();
    assert_eq!(resources(&template, "AWS::XRay::SamplingRule").len(), 1);
    let groups = resources(&template, "AWS::XRay::Group");
    assert!(
        groups
            .iter()
            .all(|(_, group)| !group["FilterExpression"].is_null())
    );
    let fault = &template["Resources"]["OrderFaultsAlarm"]["Properties"];
    assert_eq!(fault["Namespace"], "AWS/X-Ray");
    let faults = &template["Resources"]["OrderFaultsGroup"]["Properties"];
    assert_eq!(fault["Dimensions"][0]["Value"], faults["GroupName"]);
}

#[test]
fn every_parameter_has_a_default_and_the_functions_get_what_they_read() {
    let template = template();
    for (name, parameter) in template["Parameters"].as_mapping().unwrap() {
        assert!(!parameter["Default"].is_null(), "{name:?}");
    }
    let own = |name: &str| &template["Resources"][name]["Properties"]["Environment"]["Variables"];
    let shared = &template["Globals"]["Function"]["Environment"]["Variables"];
    for (function, variable) in [("OrderApi", "QUEUE_URL"), ("OrderWorker", "VENDOR_URL")] {
        assert!(!own(function)[variable].is_null(), "{variable}");
    }
    assert_eq!(tagged(&shared["TABLE_NAME"]), "!Ref OrdersTable");
}

#[test]
fn the_others_deploy_the_same() {
    let cdk = fs::read_to_string(root().join("cdk/app.ts")).unwrap();
    let terraform = fs::read_to_string(root().join("terraform/main.tf")).unwrap();
    for (text, wanted, reason) in [
        (&cdk, "lambda.Tracing.ACTIVE", "tracing"),
        (&cdk, "reportBatchItemFailures: true", "single failures"),
        (&cdk, "layers: [layer]", "the layer"),
        (&terraform, "mode = \"Active\"", "tracing"),
        (
            &terraform,
            "[\"ReportBatchItemFailures\"]",
            "single failures",
        ),
        (
            &terraform,
            "aws_lambda_layer_version.tracestitch.arn]",
            "the layer",
        ),
    ] {
        assert!(text.contains(wanted), "{reason}: no {wanted}");
    }
}

#[test]
fn the_image_copies_what_cargo_layer_unpacks() {
    let recipe = fs::read_to_string(root().join("container/Dockerfile")).unwrap();
    let package = fs::read_to_string(root().join("layer-build/src/package.rs")).unwrap();
    assert!(package.contains("const ENTRY: &str = \"extensions/tracestitch\""));
    assert!(recipe.contains("\nCOPY target/layer/${ARCH}/ /\n"));
    assert!(recipe.contains("\nCOPY --from=tracestitch / /opt/\n"));
}
