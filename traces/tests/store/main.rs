//! The store: limits, order, exchange and files that are not a store.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

mod hostile;

use std::io::Cursor;

use serde_json::{Value, json};
use tracestitch_traces::store::{
    Clock, Comparison, Condition, Indexed, Limits, Query, Store, StoreError,
};

/// Returns the id of the trace with this number.
pub(crate) fn trace_id(number: u64) -> String {
    format!("1-581cf771-{number:024x}")
}

/// Returns a complete segment of the trace with this number that starts at `start` and takes a
/// second.
pub(crate) fn segment(number: u64, start: f64) -> Value {
    json!({
        "trace_id": trace_id(number), "id": format!("{number:016x}"), "name": "shop",
        "start_time": start, "end_time": start + 1.0,
    })
}

pub(crate) fn memory() -> Store {
    Store::memory(Limits::default()).unwrap()
}

pub(crate) fn put(store: &Store, document: &Value) {
    let refused = store.put(vec![document.to_string()]).unwrap();
    assert_eq!(refused, [None]);
}

/// Returns a query for the newest traces of all times.
fn all(limit: usize) -> Query {
    Query {
        clock: Clock::Start,
        from: 0.0,
        to: 1e12,
        conditions: Vec::new(),
        after: None,
        limit,
    }
}

fn ids(store: &Store, query: &Query) -> Vec<String> {
    store
        .find(query)
        .unwrap()
        .into_iter()
        .map(|row| row.id)
        .collect()
}

#[test]
fn complete_document_replaces_one_in_progress_in_any_order() {
    let open = json!({
        "trace_id": trace_id(1), "id": "00000000000000aa", "name": "shop", "start_time": 5.0,
        "in_progress": true,
    });
    let mut closed = open.clone();
    closed.as_object_mut().unwrap().remove("in_progress");
    closed["end_time"] = json!(7.5);
    for order in [[&open, &closed], [&closed, &open]] {
        let store = memory();
        order.into_iter().for_each(|document| put(&store, document));
        let (row, documents) = store.trace(&trace_id(1)).unwrap().unwrap();
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].body, closed);
        assert_eq!((row.open, row.end - row.start), (0, 2.5));
        let bytes = closed.to_string().len() as u64;
        let totals = store.totals().unwrap();
        assert_eq!(
            (totals.traces, totals.documents, totals.bytes),
            (1, 1, bytes)
        );
    }
}

#[test]
fn every_change_of_a_trace_increases_its_revision() {
    let store = memory();
    put(&store, &segment(1, 10.0));
    let revision = || store.trace(&trace_id(1)).unwrap().unwrap().0.revision;
    let first = revision();
    let mut second = segment(1, 10.0);
    second["id"] = json!("00000000000000bb");
    put(&store, &second);
    assert!(revision() > first);
}

#[test]
fn trace_that_arrived_first_is_deleted_first_when_there_are_too_many() {
    let limits = Limits {
        traces: 3,
        ..Limits::default()
    };
    let store = Store::memory(limits).unwrap();
    // The year of a document does not protect it.
    for (number, start) in [
        (1, 253_402_300_000.0),
        (2, 0.0),
        (3, 50.0),
        (4, 40.0),
        (5, 30.0),
    ] {
        put(&store, &segment(number, start));
    }
    assert_eq!(
        ids(&store, &all(10)),
        [trace_id(3), trace_id(4), trace_id(5)]
    );
    assert!(store.trace(&trace_id(1)).unwrap().is_none());
    assert_eq!(store.totals().unwrap().traces, 3);
    assert_eq!(store.totals().unwrap().documents, 3);
}

#[test]
fn trace_that_arrived_first_is_deleted_first_when_there_are_too_many_bytes() {
    let length = segment(1, 10.0).to_string().len() as u64;
    let limits = Limits {
        traces: 100,
        bytes: 4 * length,
    };
    let store = Store::memory(limits).unwrap();
    for number in 1..=9 {
        put(&store, &segment(number, 10.0));
    }
    assert_eq!(ids(&store, &all(10)), [9, 8, 7, 6].map(trace_id));
    assert!(store.totals().unwrap().bytes <= 4 * length);
}

#[test]
fn pages_list_every_trace_once_and_newest_first() {
    let store = memory();
    // Several traces start at the same time.
    for number in 1..=25 {
        put(&store, &segment(number, (number / 4) as f64));
    }
    let mut listed = Vec::new();
    let mut query = all(4);
    loop {
        let page = store.find(&query).unwrap();
        let Some(last) = page.last() else { break };
        query.after = Some(last.position(Clock::Start));
        listed.extend(page.into_iter().map(|row| row.id));
    }
    let expected: Vec<_> = (1..=25).rev().map(trace_id).collect();
    assert_eq!(listed, expected);
}

#[test]
fn period_refers_to_the_chosen_time() {
    let store = memory();
    put(&store, &segment(1, 100.0));
    let found = |clock, from, to| {
        ids(
            &store,
            &Query {
                clock,
                from,
                to,
                ..all(9)
            },
        )
        .len()
    };
    assert_eq!(
        (
            found(Clock::Start, 99.0, 100.0),
            found(Clock::Start, 100.5, 102.0)
        ),
        (1, 0)
    );
    assert_eq!(
        (
            found(Clock::End, 100.5, 102.0),
            found(Clock::End, 99.0, 100.5)
        ),
        (1, 0)
    );
    assert_eq!(
        (
            found(Clock::Arrival, 99.0, 102.0),
            found(Clock::Arrival, 1.7e9, 1e12)
        ),
        (0, 1)
    );
}

#[test]
fn conditions_select_by_annotation_duration_and_failure() {
    let store = memory();
    for number in 1..=20 {
        let mut document = segment(number, 10.0);
        document["end_time"] = json!(10.0 + number as f64);
        document["annotations"] = json!({
            "order": format!("A-{number}"), "amount": number, "even": number % 2 == 0,
        });
        document["subsegments"] = json!([{ "fault": number > 18 }]);
        put(&store, &document);
    }
    let annotation = |name: &str, value| Condition::Annotation(name.to_owned(), value);
    let cases = [
        (
            vec![annotation("order", Indexed::Text("A-7".to_owned()))],
            vec![7],
        ),
        (
            vec![annotation("order", Indexed::Text("7".to_owned()))],
            vec![],
        ),
        (vec![annotation("amount", Indexed::Number(7.0))], vec![7]),
        (
            vec![annotation("amount", Indexed::Text("7".to_owned()))],
            vec![],
        ),
        (
            vec![Condition::Lasts(Comparison::MoreThan, 18.0)],
            vec![20, 19],
        ),
        (vec![Condition::Lasts(Comparison::AtMost, 2.0)], vec![2, 1]),
        (vec![Condition::Failed], vec![20, 19]),
        (
            vec![
                annotation("even", Indexed::Flag(true)),
                Condition::Lasts(Comparison::AtLeast, 18.0),
            ],
            vec![20, 18],
        ),
    ];
    for (conditions, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(trace_id).collect();
        let query = Query {
            conditions,
            ..all(50)
        };
        assert_eq!(ids(&store, &query), expected, "{query:?}");
    }
}

#[test]
fn exported_documents_can_be_imported_unchanged() {
    let store = memory();
    for number in 1..=5 {
        put(&store, &segment(number, number as f64));
    }
    // Line ends between members are legal JSON.
    let pretty = serde_json::to_string_pretty(&segment(6, 1.0)).unwrap();
    store.put(vec![pretty]).unwrap();
    let mut lines = Vec::new();
    assert_eq!(store.export(&mut lines).unwrap(), 6);
    let other = memory();
    let imported = other.import(Cursor::new(&lines)).unwrap();
    assert_eq!((imported.documents, imported.refused.len()), (6, 0));
    for number in 1..=6 {
        let documents = |store: &Store| store.trace(&trace_id(number)).unwrap().unwrap().1;
        assert_eq!(documents(&store), documents(&other));
    }
}

#[test]
fn import_reports_each_invalid_line_and_stores_the_others() {
    let long = "x".repeat(200_000);
    let lines = format!(
        "{}\n\nno JSON\r\n{long}\n{}",
        segment(1, 1.0),
        segment(2, 1.0)
    );
    let store = memory();
    let imported = store.import(Cursor::new(lines)).unwrap();
    assert_eq!(imported.documents, 2);
    let numbers: Vec<_> = imported.refused.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [3, 4]);
}

#[test]
fn store_in_a_file_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.db");
    put(
        &Store::open(&path, Limits::default()).unwrap(),
        &segment(1, 1.0),
    );
    let again = Store::open(&path, Limits::default()).unwrap();
    assert_eq!(
        again.trace(&trace_id(1)).unwrap().unwrap().1[0].name,
        "shop"
    );
}

#[test]
fn two_handles_of_one_file_see_each_others_documents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.db");
    let one = Store::open(&path, Limits::default()).unwrap();
    let two = Store::open(&path, Limits::default()).unwrap();
    std::thread::scope(|scope| {
        for (store, first) in [(&one, 0), (&two, 1_000)] {
            scope.spawn(move || {
                for number in first..first + 200 {
                    put(store, &segment(number, 1.0));
                }
            });
        }
    });
    for store in [&one, &two] {
        assert_eq!(store.totals().unwrap().documents, 400);
        assert_eq!(store.find(&all(1_000)).unwrap().len(), 400);
    }
}

#[test]
fn file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(
        &text,
        "not a database, but longer than the header of one ".repeat(50),
    )
    .unwrap();
    let foreign = folder.path().join("foreign.db");
    let connection = rusqlite::Connection::open(&foreign).unwrap();
    connection
        .execute_batch("CREATE TABLE diary (day TEXT)")
        .unwrap();
    drop(connection);
    for path in [&text, &foreign] {
        let before = std::fs::read(path).unwrap();
        let error = Store::open(path, Limits::default()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
}

#[test]
fn damaged_file_gives_an_error_with_the_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.db");
    {
        let store = Store::open(&path, Limits::default()).unwrap();
        for number in 0..500 {
            put(&store, &segment(number, 1.0));
        }
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length].fill(0xAA);
    std::fs::write(&path, &bytes).unwrap();
    let read = Store::open(&path, Limits::default())
        .and_then(|store| store.trace(&trace_id(250)).map(drop));
    let error = read.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("Move the file away"), "{error}");
}

#[test]
fn missing_folder_gives_an_error_with_the_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/such/folder/traces.db");
    let error = Store::open(&path, Limits::default()).unwrap_err();
    assert!(matches!(error, StoreError::Inaccessible(_)), "{error}");
    assert!(error.to_string().contains("folder must exist"), "{error}");
}

#[test]
fn group_is_created_changed_and_deleted() {
    let store = memory();
    let change = |new: Option<&str>| {
        store
            .change_group("slow", |_| new.map(str::to_owned))
            .unwrap()
    };
    assert_eq!(change(Some("1")), (None, Some("1".to_owned())));
    assert_eq!(
        change(Some("2")),
        (Some("1".to_owned()), Some("2".to_owned()))
    );
    assert_eq!(store.groups().unwrap(), ["2"]);
    assert_eq!(change(None), (Some("2".to_owned()), None));
    assert!(store.groups().unwrap().is_empty());
}
