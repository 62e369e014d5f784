//! Documents that try to harm the store.

use serde_json::json;
use tracestitch_traces::store::{Clock, Condition, Indexed, Query};

use super::{memory, put, segment, trace_id};

#[test]
fn sql_in_a_document_is_text() {
    let store = memory();
    let script = "x'); DROP TABLE traces; --";
    let mut document = segment(1, 1.0);
    document["name"] = json!(script);
    document["annotations"] = json!({ script: script, "note": "<script>alert(1)</script>" });
    put(&store, &document);
    let query = Query {
        clock: Clock::Start,
        from: 0.0,
        to: 10.0,
        conditions: vec![Condition::Annotation(
            script.to_owned(),
            Indexed::Text(script.to_owned()),
        )],
        after: None,
        limit: 10,
    };
    assert_eq!(store.find(&query).unwrap().len(), 1);
    assert_eq!(
        store.trace(&trace_id(1)).unwrap().unwrap().1[0].body,
        document
    );
}

#[test]
fn id_of_another_trace_changes_only_its_own_trace() {
    let store = memory();
    put(&store, &segment(1, 1.0));
    let mut foreign = segment(2, 500.0);
    foreign["id"] = segment(1, 1.0)["id"].clone();
    foreign["name"] = json!("intruder");
    put(&store, &foreign);
    let (row, documents) = store.trace(&trace_id(1)).unwrap().unwrap();
    assert_eq!(
        (documents.len(), documents[0].name.as_str(), row.start),
        (1, "shop", 1.0)
    );
}

#[test]
fn trace_stops_growing_at_its_limit() {
    let store = memory();
    let filler = "x".repeat(60_000);
    let refused: usize = (0..100u64)
        .map(|number| {
            let mut document = segment(1, 1.0);
            document["id"] = json!(format!("{number:016x}"));
            document["metadata"] = json!({ "default": { "filler": filler } });
            let refused = store.put(vec![document.to_string()]).unwrap();
            refused
                .into_iter()
                .flatten()
                .filter(|it| it.code == "TraceLimitExceeded")
                .count()
        })
        .sum();
    let (row, documents) = store.trace(&trace_id(1)).unwrap().unwrap();
    assert!(refused > 0 && row.limited);
    assert_eq!(documents.len() + refused, 100);
    assert_eq!(store.counts().refused["TraceLimitExceeded"], refused as u64);
}

#[test]
fn invalid_documents_are_counted_by_reason_and_store_nothing() {
    let store = memory();
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"name\":\"{}\"}}", "n".repeat(100_000));
    let year_one = segment(1, -62_135_596_800.0).to_string();
    let not_a_number = segment(1, 1.0).to_string().replace("1.0", "NaN");
    let results = store
        .put(vec![deep, large, year_one, not_a_number])
        .unwrap();
    assert!(results.iter().all(Option::is_some));
    let counts = store.counts();
    assert_eq!(counts.refused["ParseError"], 3);
    assert_eq!(counts.refused["InvalidStartTime"], 1);
    assert_eq!((counts.stored, counts.reasons.len()), (0, 4));
    assert_eq!(store.totals().unwrap().traces, 0);
}

#[test]
fn year_9999_is_stored() {
    let store = memory();
    put(&store, &segment(1, 253_402_300_000.0));
    assert_eq!(store.totals().unwrap().traces, 1);
}
