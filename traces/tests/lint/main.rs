//! Rules for trace documents.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

mod schema;

use serde_json::{Value, json};
use tracestitch_traces::lint::{datagram, document};

/// Largest document in bytes (X-Ray quotas: "64 KB").
const DOCUMENT: usize = 64 * 1024;

/// Returns a document that uses every block; each case changes one member of it.
fn full() -> Value {
    json!({
        "name": "order-worker", "id": "70de5b6f19ff9a0a",
        "trace_id": "1-581cf771-a006649127e371903a2de979",
        "start_time": 1_478_293_361.271, "end_time": 1_478_293_361.449,
        "parent_id": "70de5b6f19ff9a0b", "type": "subsegment", "namespace": "aws",
        "fault": true, "error": false, "throttle": false,
        "http": {
            "request": {"method": "POST", "url": "http://h/p", "traced": true},
            "response": {"status": 200, "content_length": 5},
        },
        "aws": {"operation": "SendMessage", "retries": 1, "table_names": ["orders"]},
        "sql": {"sanitized_query": "SELECT ?", "preparation": "statement"},
        "annotations": {"order_id": "A-1", "quantity": 2, "paid": true},
        "metadata": {"default": {"anything": [null, {}]}},
        "cause": {"working_directory": "/", "paths": ["a"], "exceptions": [{
            "id": "00000000000000ee", "message": "m", "type": "t", "remote": true, "truncated": 1,
            "stack": [{"path": "src/main.rs", "line": 7, "label": "main"}],
        }]},
        "links": [{"trace_id": "1-581cf771-a006649127e371903a2de979", "id": "00000000000000aa"}],
        "precursor_ids": ["00000000000000ab"],
        "subsegments": [{
            "name": "inner", "id": "00000000000000ac", "start_time": 1.5, "in_progress": true,
        }],
    })
}

/// Returns the full document with another value for the member at `pointer`.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = full();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    parent.insert(member.to_owned(), value);
    body
}

fn without(member: &str) -> Value {
    let mut body = full();
    body.as_object_mut().unwrap().remove(member);
    body
}

fn refused_field(body: &Value) -> Option<String> {
    document(body.to_string().as_bytes())
        .err()
        .map(|refusal| refusal.field)
}

#[test]
fn document_with_every_block_is_accepted() {
    assert_eq!(document(full().to_string().as_bytes()), Ok(full()));
}

#[test]
fn violation_of_each_rule_is_refused() {
    let long = |length: usize| Value::from("x".repeat(length));
    let links = Value::from(vec![full()["links"][0].clone(); 21]);
    let cases = [
        ("name is required", without("name"), "name"),
        ("name is text", with("/name", json!(3)), "name"),
        ("name is not empty", with("/name", json!("")), "name"),
        ("name of 201", with("/name", long(201)), "name"),
        ("tab in a name", with("/name", json!("a\tb")), "name"),
        ("backslash in a name", with("/name", json!("a\\b")), "name"),
        ("id is required", without("id"), "id"),
        (
            "id of 15 digits",
            with("/id", json!("70de5b6f19ff9a0")),
            "id",
        ),
        (
            "id not hexadecimal",
            with("/id", json!("70de5b6f19ff9a0g")),
            "id",
        ),
        ("trace id is required", without("trace_id"), "trace_id"),
        (
            "W3C form",
            with("/trace_id", json!("581cf771a006649127e371903a2de979")),
            "trace_id",
        ),
        ("start is required", without("start_time"), "start_time"),
        (
            "times are numbers",
            with("/start_time", json!("1.5")),
            "start_time",
        ),
        (
            "milliseconds",
            with("/start_time", json!(1_478_293_361_271_u64)),
            "start_time",
        ),
        ("no end", without("end_time"), "end_time"),
        (
            "end before start",
            with("/end_time", json!(1.0)),
            "end_time",
        ),
        (
            "end and in progress",
            with("/in_progress", json!(true)),
            "in_progress",
        ),
        (
            "independent subsegment without parent",
            without("parent_id"),
            "parent_id",
        ),
        (
            "parent not an id",
            with("/parent_id", json!("")),
            "parent_id",
        ),
        ("type of a segment", with("/type", json!("segment")), "type"),
        ("null member", with("/namespace", Value::Null), "namespace"),
        ("flag as text", with("/fault", json!("true")), "fault"),
        ("http not an object", with("/http", json!([])), "http"),
        (
            "url of 251",
            with("/http/request/url", long(251)),
            "http.request.url",
        ),
        (
            "status as text",
            with("/http/response/status", json!("200")),
            "http.response.status",
        ),
        (
            "null among aws facts",
            with("/aws/region", Value::Null),
            "aws.region",
        ),
        (
            "long aws fact",
            with("/aws/queue_url", long(251)),
            "aws.queue_url",
        ),
        (
            "null in an aws list",
            with("/aws/table_names", json!([null])),
            "aws.table_names[0]",
        ),
        (
            "sql preparation",
            with("/sql/preparation", json!("plan")),
            "sql.preparation",
        ),
        (
            "key with a dot",
            with("/annotations/a.b", json!(1)),
            "annotations.a.b",
        ),
        (
            "annotation null",
            with("/annotations/a", Value::Null),
            "annotations.a",
        ),
        (
            "annotation list",
            with("/annotations/a", json!([1])),
            "annotations.a",
        ),
        (
            "annotation of 1001",
            with("/annotations/a", long(1001)),
            "annotations.a",
        ),
        (
            "namespace not an object",
            with("/metadata/default", json!("x")),
            "metadata.default",
        ),
        (
            "reserved namespace",
            with("/metadata/AWS.x", json!({})),
            "metadata.AWS.x",
        ),
        (
            "cause neither id nor object",
            with("/cause", json!("boom")),
            "cause",
        ),
        (
            "exception without id",
            with("/cause/exceptions", json!([{}])),
            "cause.exceptions[0].id",
        ),
        ("too many links", with("/links", links), "links"),
        (
            "link by span_id",
            with("/links", json!([{"span_id": "a"}])),
            "links[0].id",
        ),
        (
            "precursor not an id",
            with("/precursor_ids", json!(["x"])),
            "precursor_ids[0]",
        ),
        (
            "embedded subsegments are checked too",
            with(
                "/subsegments",
                json!([{"name": "inner", "id": "00000000000000ac"}]),
            ),
            "subsegments[0].start_time",
        ),
        (
            "an id used twice",
            with(
                "/subsegments",
                json!([{"name": "inner", "id": "70DE5B6F19FF9A0A", "start_time": 1.5,
                    "in_progress": true}]),
            ),
            "subsegments[0].id",
        ),
    ];
    for (reason, body, field) in cases {
        assert_eq!(refused_field(&body).as_deref(), Some(field), "{reason}");
    }
}

#[test]
fn document_within_the_rules_is_accepted() {
    let cases = [
        (
            "letters and digits of any script",
            with("/name", json!("Größe 訂單 ١")),
        ),
        ("all other signs", with("/name", json!("_.:/%&#=+-@"))),
        ("name of 200", with("/name", json!("ü".repeat(200)))),
        ("cause by id", with("/cause", json!("00000000000000ee"))),
        ("a segment with a parent", without("type")),
        ("capitals in an id", with("/id", json!("70DE5B6F19FF9A0A"))),
        ("unknown member", with("/inferred_by", json!("us"))),
    ];
    for (reason, body) in cases {
        assert_eq!(refused_field(&body), None, "{reason}");
    }
}

#[test]
fn document_over_64_kilobytes_is_refused() {
    let body = with("/metadata/default", json!({"fill": "x".repeat(DOCUMENT)}));
    let refusal = document(body.to_string().as_bytes()).unwrap_err();
    assert!(
        refusal.reason.contains("expected at most 65536"),
        "{refusal:?}"
    );
}

#[test]
fn id_that_the_daemon_would_not_find_is_refused() {
    let spaced = full()
        .to_string()
        .replace("\"trace_id\":\"", "\"trace_id\": \"");
    assert_eq!(document(spaced.as_bytes()).unwrap_err().field, "trace_id");
}

#[test]
fn header_line_has_format_json_and_version_1() {
    let body = full();
    let cases = [
        (
            "as the guide has it",
            r#"{"format":"json","version":1}"#,
            true,
        ),
        (
            "spaces and capitals are free",
            r#"{ "format": "JSON", "version": 1 }"#,
            true,
        ),
        ("other version", r#"{"format":"json","version":2}"#, false),
        (
            "version as text",
            r#"{"format":"json","version":"1"}"#,
            false,
        ),
        ("other format", r#"{"format":"xml","version":1}"#, false),
        ("not JSON", "json 1", false),
        ("empty", "", false),
    ];
    for (reason, header, taken) in cases {
        let text = format!("{header}\n{body}");
        assert_eq!(datagram(text.as_bytes()).is_ok(), taken, "{reason}");
    }
    assert!(
        datagram(b"{\"format\":\"json\",\"version\":1}\n").is_err(),
        "no document"
    );
}
