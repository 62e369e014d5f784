//! The rows of EventBridge.

use aws_sdk_eventbridge::types::{
    PutEventsRequestEntry, builders::PutEventsRequestEntryBuilder as Entry,
};

use serde_json::Value;

use super::{
    super::*,
    row::{Row, row},
};

/// PutEvents of these entries.
fn put_events(entries: Vec<Entry>, expected: Value) -> Row {
    let entries: Vec<_> = entries.into_iter().map(Entry::build).collect();
    row!(aws_sdk_eventbridge "EventBridge" "PutEvents",
        |eventbridge| eventbridge.put_events().set_entries(Some(entries)),
        r#"{"FailedEntryCount":0,"Entries":[]}"#, expected)
}

pub(super) fn rows() -> Vec<Row> {
    let entry = || PutEventsRequestEntry::builder().detail("\"s3cr3t\"");
    let orders = || entry().event_bus_name("orders");
    vec![
        put_events(vec![], json!({})),
        // An entry that names no bus goes to the default one.
        put_events(vec![entry()], json!({ "event_bus_name": "default" })),
        put_events(
            vec![orders(), orders()],
            json!({ "event_bus_name": "orders" }),
        ),
        put_events(
            vec![orders(), entry()],
            json!({ "event_bus_name": ["default", "orders"] }),
        ),
        row!(aws_sdk_eventbridge "EventBridge" "PutRule",
            |eventbridge| eventbridge.put_rule().name("r").event_bus_name("orders"),
            "{}", { "event_bus_name": "orders" }),
        row!(aws_sdk_eventbridge "EventBridge" "DescribeRule",
            |eventbridge| eventbridge.describe_rule().name("r").event_bus_name("orders"),
            "{}", { "event_bus_name": "orders" }),
    ]
}
