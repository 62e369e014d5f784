//! Checks event sources, tracing and permissions in template.yaml, which linters do not. `src/facts.rs`
//! compares the other two stacks with it.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

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
    for (function, event, queue) in [
        ("OrderWorker", "Orders", "OrdersQueue"),
        ("OrderNotifier", "Notifications", "NotificationsQueue"),
    ] {
        let source = &template["Resources"][function]["Properties"]["Events"][event];
        assert_eq!(source["Type"], "SQS");
        let properties = source["Properties"].as_mapping().unwrap();
        let names: Vec<_> = properties.keys().map(|key| key.as_str().unwrap()).collect();
        assert_eq!(names, ["Queue", "BatchSize", "FunctionResponseTypes"]);
        assert_eq!(tagged(&properties["Queue"]), format!("!GetAtt {queue}.Arn"));
        assert!((1..=10).contains(&properties["BatchSize"].as_u64().unwrap()));
        let answers = properties["FunctionResponseTypes"].as_sequence().unwrap();
        assert_eq!(*answers, ["ReportBatchItemFailures"]);

        let queue = &template["Resources"][queue]["Properties"];
        let dead = &queue["RedrivePolicy"]["deadLetterTargetArn"];
        assert_eq!(tagged(dead), "!GetAtt DeadOrdersQueue.Arn");
        assert_eq!(queue["RedrivePolicy"]["maxReceiveCount"], 3);
        let timeout = template["Globals"]["Function"]["Timeout"].as_u64().unwrap();
        assert!(queue["VisibilityTimeout"].as_u64().unwrap() >= 6 * timeout);
    }
    let alarm = &template["Resources"]["DeadOrdersAlarm"]["Properties"];
    assert_eq!(
        tagged(&alarm["Dimensions"][0]["Value"]),
        "!GetAtt DeadOrdersQueue.QueueName"
    );
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
        "arn:aws:states:::sqs:sendMessage"
    );
    assert_eq!(
        tagged(&machine["DefinitionSubstitutions"]["Queue"]),
        "!Ref OrdersQueue"
    );
}

#[test]
fn roles_may_send_to_xray_and_nothing_else() {
    let template = template();
    let mut xray = Vec::new();
    let roles = resources(&template, "AWS::IAM::Role");
    let policies = resources(&template, "AWS::IAM::ManagedPolicy");
    let own = roles
        .iter()
        .flat_map(|(name, role)| {
            let policies = role["Policies"].as_sequence().unwrap();
            policies
                .iter()
                .map(|policy| (*name, &policy["PolicyDocument"]))
        })
        .chain(
            policies
                .iter()
                .map(|(name, policy)| (*name, &policy["PolicyDocument"])),
        );
    for (name, document) in own {
        for statement in document["Statement"].as_sequence().unwrap() {
            let actions = match &statement["Action"] {
                Value::Sequence(actions) => actions.clone(),
                action => vec![action.clone()],
            };
            let actions: Vec<_> = actions.iter().map(|a| a.as_str().unwrap()).collect();
            assert!(
                actions.iter().all(|a| !a.contains('*')),
                "{name}: {actions:?}"
            );
            // Only actions that have no resources may be allowed on all of them.
            let sends = actions[0] == "xray:PutTraceSegments";
            let open = sends || actions[0] == "logs:CreateLogDelivery";
            assert_eq!(open, statement["Resource"] == "*", "{name}: {statement:?}");
            let about_xray = actions.iter().filter(|action| action.starts_with("xray:"));
            xray.extend(about_xray.map(|action| (*action).to_owned()));
        }
    }
    assert_eq!(xray, ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]);
    for (name, role) in roles {
        let managed = &role["ManagedPolicyArns"];
        match name {
            "OrderRequestedRole" => assert!(managed.is_null(), "a rule is not traced"),
            _ => assert_eq!(tagged(&managed[0]), "!Ref SendTraces", "{name}"),
        }
        assert!(managed[1].is_null(), "{name}");
    }
}

#[test]
fn xray_accepts_only_the_topic_of_this_stack() {
    let template = template();
    let policy = &template["Resources"]["ProcessedOrdersTracing"]["Properties"];
    let Value::Tagged(document) = &policy["PolicyDocument"] else {
        panic!("expected a text with names of this stack");
    };
    let document: serde_json::Value =
        serde_json::from_str(document.value.as_str().unwrap()).unwrap();
    let [statement] = &document["Statement"].as_array().unwrap()[..] else {
        panic!("expected one statement");
    };
    assert_eq!(statement["Principal"]["Service"], "sns.amazonaws.com");
    let condition = &statement["Condition"];
    assert_eq!(
        (
            &condition["StringEquals"]["aws:SourceAccount"],
            &condition["StringLike"]["aws:SourceArn"],
        ),
        (&"${AWS::AccountId}".into(), &"${ProcessedOrders}".into())
    );
}

#[test]
fn log_groups_have_a_retention() {
    let template = template();
    let groups = resources(&template, "AWS::Logs::LogGroup");
    assert_eq!(groups.len(), 4, "three functions and the state machine");
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
    for (name, group) in groups {
        let Value::Tagged(expression) = &group["FilterExpression"] else {
            panic!("{name} has no expression with names of this stack");
        };
        let expression = expression.value.as_str().unwrap();
        for (_, function) in resources(&template, "AWS::Serverless::Function") {
            let named = function["FunctionName"].clone();
            let Value::Tagged(named) = named else {
                panic!("a function without a name");
            };
            let service = format!("service(\"{}\")", named.value.as_str().unwrap());
            assert!(expression.contains(&service), "{name} lacks {service}");
        }
    }
    let fault = &template["Resources"]["OrderFaultsAlarm"]["Properties"];
    assert_eq!(fault["Namespace"], "AWS/X-Ray");
    let faults = &template["Resources"]["OrderFaultsGroup"]["Properties"];
    assert_eq!(fault["Dimensions"][0]["Value"], faults["GroupName"]);
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
fn image_copies_the_files_that_cargo_layer_unpacks() {
    let recipe = fs::read_to_string(root().join("container/Dockerfile")).unwrap();
    let package = fs::read_to_string(root().join("layer-build/src/package.rs")).unwrap();
    assert!(package.contains("const ENTRY: &str = \"extensions/tracestitch\""));
    assert!(recipe.contains("\nCOPY target/layer/${ARCH}/ /\n"));
    assert!(recipe.contains("\nCOPY --from=tracestitch / /opt/\n"));
}

#[test]
fn release_profile_unwinds_so_that_functions_survive_a_panic() {
    // The default of cargo-lambda, with which SAM builds, is "abort".
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let profile = manifest.split_once("[profile.release]\n").unwrap().1;
    let profile = profile.split("\n[").next().unwrap();
    assert!(profile.contains("\npanic = \"unwind\"\n"));
}
