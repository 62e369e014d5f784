//! Roles and policies.

use std::fs;

use serde_yaml_ng::Value;

use super::{resources, root, tagged, template};

#[test]
fn roles_may_send_to_xray_and_the_state_machine_may_read_sampling_rules() {
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
            let about_traces = actions[0].starts_with("xray:");
            let open = about_traces || actions[0] == "logs:CreateLogDelivery";
            assert_eq!(open, statement["Resource"] == "*", "{name}: {statement:?}");
            let about_xray = actions.iter().filter(|action| action.starts_with("xray:"));
            xray.extend(about_xray.map(|action| (name, (*action).to_owned())));
        }
    }
    // The state machine decides about executions without a decision (`aws events put-events`); the
    // Step Functions guide lists these four actions. Lambda decides for the functions.
    let expected = [
        ("OrderIntakeRole", "xray:GetSamplingRules"),
        ("OrderIntakeRole", "xray:GetSamplingTargets"),
        ("SendTraces", "xray:PutTraceSegments"),
        ("SendTraces", "xray:PutTelemetryRecords"),
    ];
    assert_eq!(
        xray,
        expected.map(|(name, action)| (name, action.to_owned()))
    );
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

/// An account may have five such policies, so a stack must be able to do without one.
#[test]
fn policy_for_the_topic_can_be_left_out() {
    let text = fs::read_to_string(root().join("template.yaml")).unwrap();
    let template = template();
    let policy = &template["Resources"]["ProcessedOrdersTracing"];
    assert_eq!(policy["Condition"], "HasTopicPolicy");
    assert_eq!(template["Parameters"]["TopicPolicy"]["Default"], "true");
    assert!(text.contains("HasTopicPolicy: !Equals [!Ref TopicPolicy, \"true\"]"));
    let guide = fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    assert!(guide.contains("TopicPolicy=false"));
}

#[test]
fn services_act_for_this_account_only() {
    let template = template();
    for role in ["OrderIntakeRole", "OrderRequestedRole"] {
        let trust = &template["Resources"][role]["Properties"]["AssumeRolePolicyDocument"];
        let condition = &trust["Statement"][0]["Condition"]["StringEquals"];
        assert_eq!(
            tagged(&condition["aws:SourceAccount"]),
            "!Ref AWS::AccountId"
        );
    }
}
