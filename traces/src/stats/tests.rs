use serde_json::json;

use super::*;
use crate::model::{Document, Trace};

/// Returns a trace with one call of the vendor that takes so long.
fn trace(number: usize, milliseconds: u32, fault: bool) -> Trace {
    let id = format!("1-581cf771-{number:024x}");
    let seconds = f64::from(milliseconds) / 1000.0;
    let body = json!({"trace_id": id, "id": "0000000000000001", "name": "api", "start_time": 0.0,
        "end_time": seconds * 2.0, "annotations": {"client": if fault { "web" } else { "mobile" }},
        "subsegments": [
            {"id": "0000000000000002", "name": "vendor", "namespace": "remote", "start_time": 0.0,
                "end_time": seconds, "fault": fault},
            {"id": "0000000000000003", "name": "SQS", "namespace": "aws", "start_time": 0.0,
                "in_progress": true, "aws": {"operation": "SendMessage"}}]});
    Trace::build(id.as_str(), &[Document::read(body).unwrap()])
}

fn table_of(times: impl IntoIterator<Item = (u32, bool)>, by: By) -> Table {
    let times = times.into_iter().enumerate();
    let traces: Vec<_> = times
        .map(|(at, (time, fault))| trace(at, time, fault))
        .collect();
    table(&traces, by)
}

#[test]
fn rates_percentiles_and_shares_are_of_finished_work() {
    let table = table_of((1..=100).map(|time| (time, time > 90)), By::Name);
    assert_eq!(table.rows.len(), 1, "the call in progress is not counted");
    let row = &table.rows[0];
    assert_eq!((row.name.as_str(), row.count), ("vendor", 100));
    assert_eq!((row.p50, row.p90, row.p99), (0.05, 0.09, 0.099));
    assert_eq!((row.error, row.fault, row.throttle), (0.0, 0.1, 0.0));
    assert!((row.share - 0.5).abs() < 1e-9);
    assert_eq!(row.slowest[0], "1-581cf771-000000000000000000000063");
    assert_eq!(row.slowest.len(), 5);
}

#[test]
fn work_is_grouped_by_service_and_by_annotation() {
    let times = [(10, true), (20, false), (30, false)];
    let rows = |by| table_of(times, by).rows;
    assert_eq!(rows(By::Service)[0].count, 3);
    let by_client = rows(By::Annotation("client".to_owned()));
    let counts: Vec<_> = by_client
        .iter()
        .map(|row| (row.name.as_str(), row.count))
        .collect();
    assert_eq!(counts, [("mobile", 2), ("web", 1)]);
    assert_eq!(by_client[1].fault, 1.0);
    assert_eq!(rows(By::Annotation("other".to_owned())), []);
}

#[test]
fn change_names_the_percentile_and_the_slower_traces() {
    let before = table_of((0..20).map(|_| (110, false)), By::Name);
    let after = table_of(
        (0..20).map(|at| (if at < 12 { 1100 } else { 110 }, false)),
        By::Name,
    );
    let changes = compare(&before, &after);
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].examples.len(), 12);
    let text = changes[0].to_string();
    let expected = "vendor: p99 110.0 ms -> 1100.0 ms; slower in 60.0% of traces\n";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(compare(&before, &before), []);
}

#[test]
fn new_and_gone_groups_are_changes() {
    let empty = table(&[], By::Name);
    let full = table_of([(10, false)], By::Name);
    assert_eq!(
        compare(&empty, &full)[0].to_string().lines().next(),
        Some("vendor: new, p99 10.0 ms, in 100.0% of traces")
    );
    assert_eq!(
        compare(&full, &empty)[0].to_string(),
        "vendor: gone, p99 was 10.0 ms\n"
    );
}
