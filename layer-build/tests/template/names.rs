//! Names of resources and partitions.

use std::fs;

use serde_yaml_ng::Value;

use super::{resources, root, template};

/// Formats a value with the longest name that a stack may have.
fn with_a_long_name(value: &Value, parameters: &Value) -> String {
    let Value::Tagged(tagged) = value else {
        return value.as_str().unwrap().to_owned();
    };
    assert_eq!(tagged.tag, "!Sub", "{value:?}");
    let text = tagged.value[0].as_str().or(tagged.value.as_str()).unwrap();
    let mut text = text
        .replace("${AWS::StackName}", &"n".repeat(128))
        // First part of the stack's id, a UUID.
        .replace("${Id}", "1a2b3c4d");
    for (name, parameter) in parameters.as_mapping().unwrap() {
        let longest = parameter["MaxLength"].as_u64().unwrap_or(0);
        let longest = "p".repeat(usize::try_from(longest).unwrap());
        text = text.replace(&format!("${{{}}}", name.as_str().unwrap()), &longest);
    }
    assert!(!text.contains("${"), "{text}");
    text
}

/// A second stack in a region, and a stack with a long name, need other names without parameters.
#[test]
fn names_fit_and_differ_for_every_stack() {
    let template = template();
    let mut names = 0;
    for (kind, property, longest) in [
        ("AWS::Serverless::LayerVersion", "LayerName", 140),
        ("AWS::Serverless::Api", "Name", 1024),
        ("AWS::XRay::ResourcePolicy", "PolicyName", 128),
        ("AWS::XRay::Group", "GroupName", 32),
        ("AWS::Events::EventBus", "Name", 256),
        ("AWS::Logs::LogGroup", "LogGroupName", 512),
    ] {
        for (name, properties) in resources(&template, kind) {
            let text = with_a_long_name(&properties[property], &template["Parameters"]);
            assert!(text.len() <= longest, "{name}: {text}");
            let differs = text.contains("nnn") || text.contains("1a2b3c4d");
            assert!(differs, "{name} has the same name in each stack");
            names += 1;
        }
    }
    let [(_, rule)] = resources(&template, "AWS::XRay::SamplingRule")[..] else {
        panic!("expected one rule");
    };
    let rule = &rule["SamplingRule"]["RuleName"];
    assert!(with_a_long_name(rule, &template["Parameters"]).len() <= 32);
    assert_eq!(names, 12);
    // CloudFormation names the others, from the stack's name.
    for (name, properties) in template["Resources"].as_mapping().unwrap() {
        for property in [
            "FunctionName",
            "QueueName",
            "TopicName",
            "TableName",
            "RoleName",
        ] {
            assert!(properties["Properties"][property].is_null(), "{name:?}");
        }
    }
}

/// Other partitions, such as `aws-cn`, have other names in ARNs.
#[test]
fn no_stack_and_no_command_names_a_partition() {
    for path in [
        "template.yaml",
        "terraform/main.tf",
        "cdk/app.ts",
        "docs/deploy.md",
    ] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            assert!(!line.contains("arn:aws:"), "{path}:{number}: {line}");
            let is_mapped = path == "template.yaml" && line.trim().starts_with("Domain: ");
            let names_a_console = line.contains("console.aws.amazon.com");
            assert!(!names_a_console || is_mapped, "{path}:{number}: {line}");
        }
    }
}
