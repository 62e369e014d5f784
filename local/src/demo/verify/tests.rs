use serde_json::{Value, json};

use super::*;
use crate::store::{Document, Refused};

const GOOD: &str = "1-581cf771-a006649127e371903a2de979";
const BAD: &str = "1-581cf771-b006649127e371903a2de979";

fn document(trace_id: &str, id: u64, parent: Option<u64>, extra: Value) -> Value {
    let mut body = json!({
        "trace_id": trace_id, "id": format!("{id:016x}"), "name": "n",
        "start_time": 1.0, "end_time": 2.0,
    });
    if let Some(parent) = parent {
        body["parent_id"] = format!("{parent:016x}").into();
    }
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    body
}

fn function(name: &str) -> Value {
    json!({"name": name, "origin": "AWS::Lambda::Function"})
}

fn call(name: &str) -> Value {
    json!({"name": name, "type": "subsegment", "namespace": "aws"})
}

/// Returns the documents of a run without a problem.
fn documents() -> Vec<Value> {
    let mut failed = function("order-worker");
    failed["fault"] = true.into();
    vec![
        document(GOOD, 1, None, function("order-api")),
        document(GOOD, 2, Some(1), call("SQS")),
        document(GOOD, 3, Some(2), function("order-worker")),
        document(GOOD, 4, Some(3), call("DynamoDB")),
        document(
            GOOD,
            6,
            Some(3),
            json!({"type": "subsegment", "namespace": "remote"}),
        ),
        document(GOOD, 7, Some(6), json!({"name": "vendor"})),
        document(BAD, 1, None, function("order-api")),
        document(BAD, 2, Some(1), call("SQS")),
        document(BAD, 3, Some(2), failed.clone()),
        document(BAD, 5, Some(2), failed),
    ]
}

fn check(documents: Vec<Value>) -> Vec<String> {
    let mut store = Store::default();
    documents
        .into_iter()
        .for_each(|body| store.accept(Document::read(body).unwrap()));
    check_store(&store, "m-2")
}

fn check_store(store: &Store, failed: &str) -> Vec<String> {
    let order = |id, trace_id: &str, fails| Placed {
        id,
        trace_id: trace_id.to_owned(),
        fails,
    };
    let letter = DeadLetter {
        message_id: "m-2".to_owned(),
        body: r#"{"orderId":"B"}"#.to_owned(),
    };
    unmet(
        store,
        &Ended {
            orders: &[order("A", GOOD, false), order("B", BAD, true)],
            failed: &BTreeSet::from([failed.to_owned()]),
            dead: &[letter],
        },
    )
}

#[test]
fn complete_run_keeps_all_promises() {
    assert_eq!(check(documents()), [""; 0]);
}

#[test]
fn missing_document_is_named() {
    let without = |index: usize| {
        let mut all = documents();
        all.remove(index);
        all
    };
    let with = |index: usize, member: &str, value: Value| {
        let mut all = documents();
        all[index][member] = value;
        all
    };
    let cases = [
        ("no worker", without(2), "0 segments of order-worker"),
        (
            "no call of the worker",
            without(3),
            "no subsegment DynamoDB",
        ),
        (
            "no segment of the vendor",
            without(5),
            "no segment of the vendor",
        ),
        (
            "the vendor did not get the call's id",
            with(5, "parent_id", json!("0000000000000003")),
            "no segment of the vendor",
        ),
        (
            "one retry only",
            without(9),
            "1 segments of order-worker under SQS, expected 2",
        ),
        ("no call to the queue", without(1), "no subsegment SQS"),
        (
            "failing order without fault",
            with(8, "fault", json!(false)),
            "fault is false",
        ),
        (
            "processed order with fault",
            with(2, "fault", json!(true)),
            "fault is true",
        ),
        (
            "other parent",
            with(2, "parent_id", json!("00000000000000ff")),
            "the parent of",
        ),
        (
            "left open",
            with(3, "in_progress", json!(true)),
            "has no end",
        ),
        (
            "other trace",
            with(2, "trace_id", json!(BAD)),
            "0 segments of order-worker",
        ),
        (
            "twice",
            [documents(), documents()].concat(),
            "received twice",
        ),
    ];
    for (reason, documents, expected) in cases {
        let unmet = check(documents);
        assert!(
            unmet.iter().any(|text| text.contains(expected)),
            "{reason}: {unmet:?}"
        );
    }
}

#[test]
fn refused_document_and_wrong_message_are_named() {
    let mut store = Store::default();
    documents()
        .into_iter()
        .for_each(|body| store.accept(Document::read(body).unwrap()));
    store.refuse(Refused {
        field: "name".to_owned(),
        reason: "missing".to_owned(),
        datagram: String::new(),
    });
    let unmet = check_store(&store, "m-1");
    assert_eq!(unmet.len(), 2, "{unmet:?}");
    assert!(
        unmet[0].contains("name: missing") && unmet[1].contains("m-1"),
        "{unmet:?}"
    );
}
