use serde_json::{Value, json};

use super::*;
use crate::model::{Document, Trace};

const ID: &str = "1-581cf771-a006649127e371903a2de979";

fn trace(bodies: Vec<Value>) -> Trace {
    let documents: Vec<_> = bodies
        .into_iter()
        .map(|mut body| {
            body["trace_id"] = ID.into();
            Document::read(body).unwrap()
        })
        .collect();
    Trace::build(ID, &documents)
}

/// The order `A`: api calls a queue, whose consumer fails because its table throttles.
fn order() -> Trace {
    trace(vec![
        json!({"id": "0000000000000001", "name": "api", "origin": "AWS::Lambda::Function",
            "start_time": 10.0, "end_time": 12.0, "user": "alice", "resource_arn": "arn:api",
            "http": {"request": {"url": "http://shop/orders/7", "method": "POST",
                "user_agent": "curl/8", "client_ip": "10.0.0.1"}, "response": {"status": 202}},
            "aws": {"account_id": "123456789012",
                "ec2": {"availability_zone": "eu-west-1a", "instance_id": "i-1"}},
            "annotations": {"order_id": "A-1", "amount": 30, "gift": true},
            "subsegments": [{"id": "0000000000000002", "name": "SQS", "namespace": "aws",
                "start_time": 10.5, "end_time": 11.0,
                "aws": {"operation": "SendMessage", "queue_url": "https://sqs/1/orders"}}]}),
        json!({"id": "0000000000000003", "parent_id": "0000000000000002", "name": "worker",
            "origin": "AWS::Lambda::Function", "start_time": 13.0, "end_time": 17.0, "fault": true,
            "cause": {"exceptions": [{"type": "Rejected", "message": "table is busy"}]},
            "annotations": {"order_id": "A-1", "part": "b\"q\\"},
            "subsegments": [{"id": "0000000000000004", "name": "DynamoDB", "namespace": "aws",
                "start_time": 13.5, "end_time": 16.5, "error": true, "throttle": true,
                "aws": {"operation": "PutItem", "table_name": "orders"}}]}),
    ])
}

/// The page view `B`: one segment without anything.
fn page() -> Trace {
    trace(vec![
        json!({"id": "0000000000000001", "name": "pages", "start_time": 10.0,
        "end_time": 10.25, "http": {"response": {"status": 200}}, "annotations": {"gift": false}}),
    ])
}

/// The payment `C`: fails on a call of another service; a part of it is in progress.
fn payment() -> Trace {
    trace(vec![
        json!({"id": "0000000000000001", "name": "payments", "origin": "AWS::ECS::Container",
        "start_time": 10.0, "end_time": 14.0, "fault": true, "error": true, "throttle": true,
        "user": "bob", "http": {"response": {"status": 500}}, "annotations": {"amount": 5},
        "cause": {"exceptions": [{"type": "Refused", "message": "no answer"}]},
        "subsegments": [
            {"id": "0000000000000002", "name": "vendor", "namespace": "remote", "start_time": 10.0,
                "end_time": 13.0, "fault": true, "error": true,
                "cause": {"exceptions": [{"type": "Timeout", "message": "after 3 s", "remote": true}]}},
            {"id": "0000000000000003", "name": "log", "start_time": 13.5, "in_progress": true}]}),
    ])
}

/// Each keyword and operator, with the traces that match. The others do not.
const TABLE: &[(&str, &str)] = &[
    // Boolean keywords and operators.
    ("ok", "AB"),
    ("!ok", "C"),
    ("ok = true", "AB"),
    ("ok = false", "C"),
    ("ok != true", "C"),
    ("ok = \"false\"", "C"),
    ("error", "C"),
    ("throttle", "C"),
    ("fault", "C"),
    ("FAULT = TRUE", "C"),
    ("partial", "C"),
    ("inferred", "AC"),
    ("root", "ABC"),
    ("service(\"pages\") { root }", "B"),
    ("service(\"worker\") { root }", ""),
    ("edge(\"payments\", \"vendor\") { remote }", "C"),
    // Number keywords and operators.
    ("responsetime = 2", "A"),
    ("responseTime > 2", "C"),
    ("duration = 7", "A"),
    ("duration != 7", "BC"),
    ("duration < 4", "B"),
    ("duration <= 4", "BC"),
    ("duration > 4", "A"),
    ("duration >= 4", "AC"),
    ("duration IN (7, 0.25)", "AB"),
    ("http.status = 202", "A"),
    ("http.status >= 2e2 http.status < 300", "AB"),
    ("http.status", "ABC"),
    // String keywords and operators.
    ("http.url = \"http://shop/orders/7\"", "A"),
    ("http.url CONTAINS \"orders\"", "A"),
    ("http.url BEGINSWITH \"http://shop\"", "A"),
    ("http.url beginswith \"shop\"", ""),
    ("http.url ENDSWITH \"/7\"", "A"),
    ("http.url != \"x\"", "A"),
    ("http.url AND responseTime >= 2", "A"),
    ("!http.url", "BC"),
    ("http.method = \"POST\"", "A"),
    ("http.useragent BEGINSWITH \"curl\"", "A"),
    ("http.clientip = \"10.0.0.1\"", "A"),
    ("user = \"alice\"", "A"),
    ("user CONTAINS \"\"", "AC"),
    ("user != \"alice\"", "C"),
    ("user IN (\"bob\", \"carol\")", "C"),
    ("name = \"payments\"", "C"),
    ("name = pages", "B"),
    ("type = \"AWS::Lambda::Function\"", "A"),
    ("message CONTAINS \"busy\"", "A"),
    ("availabilityzone = \"eu-west-1a\"", "A"),
    ("instance.id = \"i-1\"", "A"),
    ("resource.arn = \"arn:api\"", "A"),
    // Annotations.
    ("annotation.order_id", "A"),
    ("!annotation.order_id", "BC"),
    ("annotation.order_id = \"A-1\"", "A"),
    ("annotation[order_id] = \"A-1\"", "A"),
    ("annotation[\"order_id\"] BEGINSWITH \"A\"", "A"),
    ("annotation.order_id != \"A-1\"", ""),
    ("annotation.order_id IN (\"A-1\", \"B\")", "A"),
    ("annotation.order_id = A-1", "A"),
    ("annotation.amount > 29", "A"),
    ("annotation.amount = 5", "C"),
    ("annotation.amount IN (5, 6)", "C"),
    ("annotation.amount = \"5\"", ""),
    ("annotation.gift", "A"),
    ("annotation.gift = false", "B"),
    ("annotation.gift != false", "A"),
    ("annotation.part = \"b\\\"q\\\\\"", "A"),
    ("annotation.Order_id", ""),
    // Services, edges and ids.
    ("service(\"worker\")", "A"),
    ("service(\"worker\") { }", "A"),
    ("service(\"worker\") { fault }", "A"),
    ("service(\"worker\") { ok }", ""),
    (
        "service(\"worker\") { annotation.order_id = \"A-1\" AND message = \"table is busy\" }",
        "A",
    ),
    ("service(\"worker\") { responsetime = 4 }", "A"),
    ("service() { fault }", "AC"),
    ("service(\"orders\") { throttle }", "A"),
    ("service(\"DynamoDB\") { inferred }", "A"),
    (
        "service(id(name: \"orders\", type: \"AWS::DynamoDB::Table\"))",
        "A",
    ),
    ("service(id(type: \"AWS::DynamoDB\")) { throttle }", "A"),
    ("service(id(type: \"AWS::Lambda::Function\"))", "A"),
    ("service(id(type: \"remote\")) { fault }", "C"),
    ("service(id(account.id: \"123456789012\"))", "A"),
    ("edge(\"api\", \"worker\")", "A"),
    ("edge(\"worker\", \"api\")", ""),
    ("edge(\"worker\", \"DynamoDB\") { error }", "A"),
    ("edge(\"worker\", \"orders\") { fault }", ""),
    (
        "edge(id(type: \"AWS::ECS::Container\"), id(name: \"vendor\")) { duration >= 3 }",
        "C",
    ),
    ("edge(\"payments\", \"vendor\") { http.status }", ""),
    // Root causes.
    ("rootcause.fault.service { name = \"payments\" }", "C"),
    (
        "rootcause.fault.service { last and type = \"remote\" and inferred }",
        "C",
    ),
    (
        "rootcause.fault.service { first and name = \"vendor\" }",
        "",
    ),
    ("rootcause.fault.service { index > 0 }", "C"),
    ("rootcause.fault.service { root and name = payments }", "C"),
    ("rootcause.fault.entity { last and name = \"vendor\" }", "C"),
    ("rootcause.fault.entity { remote and coverage > 0.7 }", "C"),
    (
        "rootcause.fault.exception { last and message = \"after 3 s\" }",
        "C",
    ),
    (
        "rootcause.fault.exception { name = \"Timeout\" and remote }",
        "C",
    ),
    ("rootcause.error.entity { name = \"vendor\" }", "C"),
    (
        "rootcause.responsetime.entity { last and coverage > 0.7 and name = \"vendor\" }",
        "C",
    ),
    ("rootcause.responsetime.service { name = \"pages\" }", "B"),
    ("rootcause.fault.entity", "C"),
    (
        "rootcause.json = #[{\"Services\": [{\"Name\": \"payments\", \"EntityPath\": \
         [{\"Name\": \"payments\"}, {\"Name\": \"vendor\"}]}, {\"Name\": \"vendor\"}]}]",
        "C",
    ),
    (
        "json = #[{\"Services\": [{\"Name\": \"pages\"}]}] AND ok",
        "B",
    ),
    // Connectives.
    ("ok AND duration > 1", "A"),
    ("ok duration > 1", "A"),
    ("ok !partial duration <3", "B"),
    ("fault OR duration < 1", "BC"),
    ("fault or ok and duration < 1", "BC"),
    ("(fault or ok) and duration < 1", "B"),
    ("NOT fault", "AB"),
    ("NOT (fault OR duration < 1)", "A"),
    ("!!fault", "C"),
    ("! not fault", "C"),
    ("  ok\n\tAND\r\nduration>1  ", "A"),
];

#[test]
fn each_keyword_and_operator_matches_its_traces_alone() {
    let traces = [("A", order()), ("B", page()), ("C", payment())];
    for (text, expected) in TABLE {
        let expression = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let found: String = traces
            .iter()
            .filter(|(_, trace)| matches(&expression, trace))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(found, *expected, "{text}: {expression:?}");
    }
}

#[test]
fn position_and_expectation_are_reported() {
    let cases = [
        ("", "position 1: expected a keyword"),
        ("ok AND", "position 7: expected a keyword"),
        ("colour = \"red\"", "position 1: expected a keyword"),
        ("ok colour", "position 4: expected a keyword"),
        (
            "duration > fast",
            "position 12: expected a number, found \"fast\"",
        ),
        ("http.status = \"200\"", "position 15: expected a number"),
        ("fault = yes", "position 9: expected true or false"),
        (
            "user = ",
            "position 8: expected a text in quotes, found the end",
        ),
        (
            "user = \"bob",
            "position 12: expected a closing quote, found the end",
        ),
        (
            "annotation = 5",
            "position 12: expected annotation.key or annotation[key]",
        ),
        ("annotation.a > \"x\"", "position 16: expected a number"),
        (
            "service(\"a\" { fault }",
            "position 13: expected a closing parenthesis",
        ),
        (
            "service(\"a\") { fault",
            "position 21: expected a closing brace, found the end",
        ),
        (
            "service { fault }",
            "position 9: expected an opening parenthesis",
        ),
        (
            "edge(\"a\")",
            "position 9: expected a comma and the called service",
        ),
        (
            "service(id(colour: \"a\"))",
            "position 12: expected name:, type: or account.id:",
        ),
        (
            "(ok",
            "position 4: expected a closing parenthesis, found the end",
        ),
        ("ok)", "position 3: expected AND, OR or the end"),
        (
            "rootcause.json = [1]",
            "position 18: expected # and a JSON array",
        ),
        (
            "rootcause.json = #[",
            "position 19: expected # and a JSON array",
        ),
        (
            "insight.id = \"x\"",
            "position 1: expected a keyword that can be evaluated here",
        ),
        ("é = 1", "position 1: expected a keyword"),
        (
            "user IN (\"é\", 5)",
            "position 15: expected a text in quotes",
        ),
    ];
    for (text, expected) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

#[test]
fn deep_and_long_expressions_are_safe() {
    let deep = format!("{}ok{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(parse(&deep).unwrap_err().position, 65);
    let deep = format!("{}ok{}", "(".repeat(64), ")".repeat(64));
    assert_eq!(parse(&deep), parse("ok"));
    let long = vec!["ok"; 50_000].join(" AND ");
    assert!(matches(&parse(&long).unwrap(), &page()));
    let negated = format!("{}ok", "!".repeat(100_000));
    assert!(matches(&parse(&negated).unwrap(), &page()));
    let braces = format!("user = \"{}\"", "(".repeat(1_000));
    parse(&braces).unwrap();
}

#[test]
fn group_is_replaced_by_its_expression() {
    let expression = parse("service() { group.name = \"slow\" } OR group.arn = \"arn:1\"").unwrap();
    assert!(!matches(&expression, &order()));
    let find = |group: &Group| match group {
        Group::Name(name) if name == "slow" => parse("responsetime > 3").ok(),
        Group::Arn(_) => parse("fault").ok(),
        Group::Name(_) => None,
    };
    let whole = expression.with_groups(&find).unwrap();
    assert!(matches(&whole, &order()) && matches(&whole, &payment()));
    assert!(!matches(&whole, &page()));
    let unknown = parse("group.name = \"other\"").unwrap();
    assert_eq!(
        unknown.with_groups(&find),
        Err(Group::Name("other".to_owned()))
    );
}

#[test]
fn hostile_texts_never_panic() {
    let pieces = [
        "ok",
        "AND",
        "(",
        ")",
        "{",
        "}",
        "\"",
        "\\",
        "#",
        "[",
        "]",
        "=",
        "!",
        "!=",
        "<",
        "duration",
        "annotation",
        "annotation.",
        "service",
        "edge",
        "id",
        ":",
        ",",
        "é",
        "\0",
        "1e999",
        "-",
        "IN",
        "rootcause.json",
        " ",
        "user",
    ];
    let trace = order();
    for seed in 0..20_000_usize {
        let mut state = seed;
        let mut text = String::new();
        for _ in 0..seed % 9 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) % pieces.len()]);
            if state & 1 == 0 {
                text.push(' ');
            }
        }
        if let Ok(expression) = parse(&text) {
            let _ = matches(&expression, &trace);
        }
    }
}
