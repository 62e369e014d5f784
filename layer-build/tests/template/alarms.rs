//! Alarms, groups of traces and logs.

use serde_yaml_ng::Value;

use super::{resources, tagged, template};

/// Every queue that receives what failed has an alarm, and each source has its own such queue.
#[test]
fn every_queue_of_failures_has_one_source_and_an_alarm() {
    let template = template();
    let of = |resource: &str| template["Resources"][resource]["Properties"].clone();
    let sources = [
        tagged(&of("OrdersQueue")["RedrivePolicy"]["deadLetterTargetArn"]),
        tagged(&of("NotificationsQueue")["RedrivePolicy"]["deadLetterTargetArn"]),
        tagged(&of("NotificationsSubscription")["RedrivePolicy"]["deadLetterTargetArn"]),
        tagged(&of("OrderRequestedRule")["Targets"][0]["DeadLetterConfig"]["Arn"]),
    ];
    let queues: Vec<_> = sources
        .iter()
        .map(|source| source.strip_prefix("!GetAtt ").unwrap())
        .map(|source| source.strip_suffix(".Arn").unwrap())
        .collect();
    let expected = ["DeadOrdersQueue", "DeadNotificationsQueue"];
    assert_eq!(queues[..2], expected);
    let expected = ["UndeliveredNotificationsQueue", "UndeliveredEventsQueue"];
    assert_eq!(queues[2..], expected);
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    let watched = |queue: &str, metric: &str| {
        alarms.iter().any(|(_, alarm)| {
            alarm["MetricName"] == metric
                && tagged(&alarm["Dimensions"][0]["Value"]) == format!("!GetAtt {queue}.QueueName")
        })
    };
    for queue in queues {
        assert!(
            watched(queue, "ApproximateNumberOfMessagesVisible"),
            "{queue}"
        );
        assert_eq!(of(queue)["MessageRetentionPeriod"], 1_209_600, "{queue}");
    }
    for queue in ["OrdersQueue", "NotificationsQueue"] {
        assert!(watched(queue, "ApproximateAgeOfOldestMessage"), "{queue}");
    }
    // A queue without an alarm would be one that is missing above.
    assert_eq!(resources(&template, "AWS::SQS::Queue").len(), 6);
}

#[test]
fn log_groups_have_a_retention() {
    let template = template();
    let groups = resources(&template, "AWS::Logs::LogGroup");
    assert_eq!(
        groups.len(),
        5,
        "three functions, the state machine, the API"
    );
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
        for (function, _) in resources(&template, "AWS::Serverless::Function") {
            let service = format!("service(\"${{{function}}}\")");
            assert!(expression.contains(&service), "{name} lacks {service}");
        }
    }
    let fault = &template["Resources"]["OrderFaultsAlarm"]["Properties"];
    assert_eq!(fault["Namespace"], "AWS/X-Ray");
    let faults = &template["Resources"]["OrderFaultsGroup"]["Properties"];
    assert_eq!(fault["Dimensions"][0]["Value"], faults["GroupName"]);
}

#[test]
fn failed_executions_are_retried_and_raise_an_alarm() {
    let template = template();
    let states = &template["Resources"]["OrderIntake"]["Properties"]["Definition"]["States"];
    for (name, state) in states.as_mapping().unwrap() {
        assert_eq!(state["Type"], "Task", "{name:?}");
        let retry = &state["Retry"][0];
        assert_eq!(retry["ErrorEquals"][0], "States.ALL", "{name:?}");
        assert!(retry["MaxAttempts"].as_u64().unwrap() > 1, "{name:?}");
        assert!(
            state["TimeoutSeconds"].is_u64(),
            "{name:?} may wait forever"
        );
    }
    let alarm = &template["Resources"]["FailedExecutionsAlarm"]["Properties"];
    assert_eq!(alarm["Namespace"], "AWS/States");
    assert_eq!(alarm["MetricName"], "ExecutionsFailed");
    assert_eq!(tagged(&alarm["Dimensions"][0]["Value"]), "!Ref OrderIntake");
}

/// With CloudWatch Transaction Search an alarm on an X-Ray group may miss most faults.
#[test]
fn faults_raise_alarms_that_need_no_traces() {
    let template = template();
    let alarms = resources(&template, "AWS::CloudWatch::Alarm");
    for namespace in ["AWS/ApiGateway", "AWS/States", "AWS/SQS"] {
        let mut found = alarms.iter();
        assert!(
            found.any(|(_, alarm)| alarm["Namespace"] == namespace),
            "no alarm on {namespace}"
        );
    }
    let needs_traces: Vec<_> = alarms
        .iter()
        .filter(|(_, alarm)| alarm["Namespace"] == "AWS/X-Ray")
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(needs_traces, ["OrderFaultsAlarm"]);
    let api = &template["Resources"]["ApiErrorsAlarm"]["Properties"]["Dimensions"];
    assert_eq!(
        api[0]["Value"],
        template["Resources"]["OrdersApi"]["Properties"]["Name"]
    );
}
