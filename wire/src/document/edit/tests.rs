use serde_json::json;

use super::*;
use crate::document::{
    Cause, Exception, Facts, Fields, Http, Link, Namespace, Reference, Request, Response, Sql,
    StackFrame,
};

const SECRET: &str = "s3cr3t";
const ID: &str = "53995c3f42cd8ad8";
const TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";

/// A document with all fields set, and a secret in each text. All structs are written out, so that
/// a new field does not compile until it is added here.
fn full() -> Document {
    let text = || Text::from(SECRET);
    let mut document = Document {
        name: SECRET.into(),
        id: ID.parse().unwrap(),
        trace_id: TRACE.parse().unwrap(),
        parent_id: Some(ID.parse().unwrap()),
        is_subsegment: true,
        start_time: crate::time::Timestamp::from_micros(1_500_000),
        end_time: Some(crate::time::Timestamp::from_micros(2_500_000)),
        in_progress: true,
        origin: Some("AWS::Lambda::Function"),
        resource_arn: Some(text()),
        user: Some(text()),
        namespace: Some(Namespace::Remote),
        error: true,
        throttle: true,
        fault: true,
        http: Some(Http {
            request: Some(Request {
                method: text(),
                url: SECRET.into(),
            }),
            response: Some(Response {
                status: Some(200),
                content_length: Some(2),
            }),
        }),
        sql: Some(Box::new(Sql {
            url: Some(text()),
            sanitized_query: Some(text()),
            database_type: Some(text()),
            user: Some(text()),
        })),
        aws: Facts::new(),
        cause: Some(Box::new(Cause {
            exceptions: vec![Exception {
                id: ID.parse().unwrap(),
                message: text(),
                kind: text(),
                remote: true,
                skipped: Some(1),
                cause: Some(ID.parse().unwrap()),
                stack: vec![StackFrame {
                    path: text(),
                    line: 7,
                    label: text(),
                }],
                truncated: Some(1),
            }],
        })),
        annotations: Fields::new(),
        metadata: Fields::new(),
        links: vec![Link {
            trace_id: TRACE.parse().unwrap(),
            id: ID.parse().unwrap(),
            reference: Reference::Parent,
        }],
    };
    document.aws.insert("table_name", SECRET);
    document.aws.insert("table_names", json!([SECRET, SECRET]));
    document
        .aws
        .insert("consumed_capacity", json!([{ SECRET: [SECRET, 4242] }]));
    document.annotate(SECRET.into(), SECRET.into());
    for (key, value) in [
        ("integer", AnnotationValue::Integer(-4242)),
        ("unsigned", AnnotationValue::Unsigned(4242)),
        ("number", AnnotationValue::Number(4242.5)),
    ] {
        document.annotate(key.into(), value);
    }
    let deep = json!([{ SECRET: [{ SECRET: SECRET }, 4242, true, null] }]);
    document.put_metadata(text(), text(), deep);
    document
}

#[test]
fn every_text_is_replaced() {
    let mut document = full();
    document.edit_texts(&mut |_, _| Some("x".to_owned()));
    let after: Value = serde_json::from_slice(&document.to_json()).unwrap();
    assert_eq!(
        after,
        json!({
            "name": "x", "id": ID, "trace_id": TRACE, "parent_id": ID, "type": "subsegment",
            "start_time": 1.5, "end_time": 2.5, "in_progress": true,
            "origin": "AWS::Lambda::Function", "resource_arn": "x", "user": "x", "namespace": "remote",
            "error": true, "throttle": true, "fault": true,
            "http": {
                "request": { "method": "x", "url": "x" },
                "response": { "status": 200, "content_length": 2 },
            },
            "sql": { "url": "x", "sanitized_query": "x", "database_type": "x", "user": "x" },
            "aws": {
                "table_name": "x", "table_names": ["x", "x"],
                "consumed_capacity": [{ "x": ["x", "x"] }],
            },
            "cause": { "exceptions": [{
                "id": ID, "message": "x", "type": "x", "remote": true, "skipped": 1, "cause": ID,
                "stack": [{ "path": "x", "line": 7, "label": "x" }], "truncated": 1,
            }] },
            // Keys that become equal are both written; a reader sees the last.
            "annotations": { "x": "x" },
            "metadata": { "x": { "x": [{ "x": [{ "x": "x" }, "x", true, null] }] } },
            "links": [{
                "trace_id": TRACE, "id": ID,
                "attributes": { "aws.xray.reserved.reference_type": "parent" },
            }],
        })
    );
}

#[test]
fn each_text_is_passed_with_its_place() {
    let mut places = Vec::new();
    full().edit_texts(&mut |place, text| {
        if text.contains(SECRET) || text.contains("4242") {
            places.push(format!("{place:?}"));
        }
        None
    });
    places.sort();
    places.dedup();
    assert_eq!(
        places,
        [
            r#"Annotation("integer")"#,
            r#"Annotation("number")"#,
            r#"Annotation("s3cr3t")"#,
            r#"Annotation("unsigned")"#,
            r#"Aws("consumed_capacity")"#,
            r#"Aws("resource_arn")"#,
            r#"Aws("table_name")"#,
            r#"Aws("table_names")"#,
            "Cause",
            "Key",
            r#"Metadata("s3cr3t")"#,
            "Method",
            "Name",
            "Sql",
            "Url",
            "User",
        ]
    );
}
