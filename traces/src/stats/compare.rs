//! Changes between two tables.

use serde::Serialize;

use super::table::{Row, Table};

/// Smallest change of the 99th percentile that is reported, as a ratio.
const RATIO: f64 = 1.5;
/// Smallest change of the 99th percentile that is reported, in seconds.
const SECONDS: f64 = 0.005;
/// Smallest change of a rate that is reported.
const RATE: f64 = 0.02;
/// Largest number of trace ids of a change.
const EXAMPLES: usize = 12;

/// A group that differs between two tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// The name of the group.
    pub name: String,
    /// The group in the earlier table; `None` if it is new.
    pub before: Option<Row>,
    /// The group in the later table; `None` if it has gone.
    pub after: Option<Row>,
    /// The share of the later table's traces in which it took longer than the earlier 99th
    /// percentile.
    pub slower: f64,
    /// The ids of those traces, the slowest first.
    pub examples: Vec<String>,
    /// The change of the time per trace in seconds, by which changes are ordered.
    pub time: f64,
}

/// Returns the groups whose 99th percentile or rate of failures differs, or that are new or gone;
/// the largest change of time first.
#[must_use]
pub fn compare(before: &Table, after: &Table) -> Vec<Change> {
    let find = |table: &Table, name: &str| table.rows.iter().find(|row| row.name == name).cloned();
    let gone = before
        .rows
        .iter()
        .filter(|row| find(after, &row.name).is_none());
    let names = after.rows.iter().chain(gone).map(|row| row.name.clone());
    let change = |name: String| {
        let (old, new) = (find(before, &name), find(after, &name));
        let limit = old.as_ref().map_or(0.0, |row| row.p99);
        let by_trace = new.as_ref().map_or(&[][..], |row| &row.by_trace);
        let slower: Vec<_> = by_trace
            .iter()
            .take_while(|(time, _)| *time > limit)
            .collect();
        let per_trace = |row: &Option<Row>, table: &Table| {
            let sum: f64 = row.iter().flat_map(|row| &row.durations).sum();
            sum / table.traces.max(1) as f64
        };
        Change {
            slower: slower.len() as f64 / after.traces.max(1) as f64,
            examples: slower
                .iter()
                .take(EXAMPLES)
                .map(|(_, id)| id.clone())
                .collect(),
            time: per_trace(&new, after) - per_trace(&old, before),
            name,
            before: old,
            after: new,
        }
    };
    let mut changes: Vec<Change> = names.map(change).filter(differs).collect();
    changes.sort_by(|a, b| {
        let by_name = || a.name.cmp(&b.name);
        b.time.abs().total_cmp(&a.time.abs()).then_with(by_name)
    });
    changes
}

fn differs(change: &Change) -> bool {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return true;
    };
    let (low, high) = (before.p99.min(after.p99), before.p99.max(after.p99));
    let rate = |a: f64, b: f64| (a - b).abs() >= RATE;
    (high - low >= SECONDS && high >= low * RATIO)
        || rate(before.error, after.error)
        || rate(before.fault, after.fault)
        || rate(before.throttle, after.throttle)
}
