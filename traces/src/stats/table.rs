//! Groups of finished work, with their counts, rates and percentiles.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::model::{Kind, Node, Trace};

/// Largest number of trace ids of a row.
const EXAMPLES: usize = 5;

/// The grouping of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Each name of a subsegment, with the operation of an AWS call.
    Name,
    /// Each service, by its segments.
    Service,
    /// Each value of the annotation with this key, by whole traces.
    Annotation(String),
}

/// One group of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The name of the group.
    pub name: String,
    /// The number of finished subsegments, segments or traces.
    pub count: usize,
    /// The share with an error, 0 to 1.
    pub error: f64,
    /// The share with a fault.
    pub fault: f64,
    /// The share with a throttle.
    pub throttle: f64,
    /// The median in seconds.
    pub p50: f64,
    /// The 90th percentile in seconds.
    pub p90: f64,
    /// The 99th percentile in seconds.
    pub p99: f64,
    /// The sum of the durations, as a share of the durations of all traces. It may exceed 1,
    /// because subsegments contain each other and run at the same time.
    pub share: f64,
    /// The share of the traces that contain it.
    pub in_traces: f64,
    /// The ids of the slowest traces, the slowest first.
    pub slowest: Vec<String>,
    /// All durations in seconds, in ascending order.
    #[serde(skip)]
    pub(super) durations: Vec<f64>,
    /// The durations by trace, slowest first.
    #[serde(skip)]
    pub(super) by_trace: Vec<(f64, String)>,
}

/// The statistics of traces.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// The grouping.
    pub by: By,
    /// The number of traces.
    pub traces: usize,
    /// The groups, the largest share of time first.
    pub rows: Vec<Row>,
}

#[derive(Default)]
struct Group {
    durations: Vec<f64>,
    error: usize,
    fault: usize,
    throttle: usize,
    /// The longest duration in each trace.
    traces: BTreeMap<String, f64>,
}

impl Group {
    fn add(&mut self, trace: &Trace, duration: f64, flags: (bool, bool, bool)) {
        self.durations.push(duration);
        let (error, fault, throttle) = flags;
        self.error += usize::from(error);
        self.fault += usize::from(fault);
        self.throttle += usize::from(throttle);
        let longest = self.traces.entry(trace.id.clone()).or_default();
        *longest = longest.max(duration);
    }

    fn row(self, name: String, whole: f64, traces: usize) -> Row {
        let mut durations = self.durations;
        durations.sort_by(f64::total_cmp);
        let count = durations.len();
        let share = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        let mut by_trace: Vec<_> = self
            .traces
            .into_iter()
            .map(|(id, time)| (time, id))
            .collect();
        by_trace.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let slowest = by_trace.iter().take(EXAMPLES);
        Row {
            name,
            count,
            error: share(self.error, count),
            fault: share(self.fault, count),
            throttle: share(self.throttle, count),
            p50: percentile(&durations, 50),
            p90: percentile(&durations, 90),
            p99: percentile(&durations, 99),
            share: if whole > 0.0 {
                durations.iter().sum::<f64>() / whole
            } else {
                0.0
            },
            in_traces: share(by_trace.len(), traces),
            slowest: slowest.map(|(_, id)| id.clone()).collect(),
            durations,
            by_trace,
        }
    }
}

/// Returns a percentile of ascending durations by nearest rank; 0 without any.
fn percentile(durations: &[f64], percent: usize) -> f64 {
    let rank = (durations.len() * percent).div_ceil(100);
    let index = rank.saturating_sub(1);
    durations.get(index).copied().unwrap_or_default()
}

/// Returns the statistics of finished work. Work in progress is not counted.
#[must_use]
pub fn table(traces: &[Trace], by: By) -> Table {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let flags = |node: &Node| (node.error, node.fault, node.throttle);
    for trace in traces {
        match &by {
            By::Name => {
                for node in trace.nodes().filter(|node| node.kind == Kind::Subsegment) {
                    if let Some(duration) = node.duration() {
                        let group = groups.entry(name(node)).or_default();
                        group.add(trace, duration, flags(node));
                    }
                }
            }
            By::Service => {
                for node in trace.nodes().filter(|node| node.kind == Kind::Segment) {
                    if let Some(duration) = node.duration() {
                        let name = match node.origin() {
                            Some(origin) => format!("{} [{origin}]", node.name),
                            None => node.name.clone(),
                        };
                        groups
                            .entry(name)
                            .or_default()
                            .add(trace, duration, flags(node));
                    }
                }
            }
            By::Annotation(key) => {
                let any = |flag: fn(&Node) -> bool| trace.nodes().any(|node| flag(node));
                let flags = (
                    any(|it| it.error),
                    any(|it| it.fault),
                    any(|it| it.throttle),
                );
                for value in values(trace, key) {
                    groups
                        .entry(value)
                        .or_default()
                        .add(trace, trace.duration(), flags);
                }
            }
        }
    }
    let whole = traces.iter().map(Trace::duration).sum();
    let rows = groups.into_iter();
    let mut rows: Vec<Row> = rows
        .map(|(name, it)| it.row(name, whole, traces.len()))
        .collect();
    rows.sort_by(|a, b| {
        b.share
            .total_cmp(&a.share)
            .then_with(|| a.name.cmp(&b.name))
    });
    Table {
        by,
        traces: traces.len(),
        rows,
    }
}

/// Returns the name of a subsegment, with its operation.
fn name(node: &Node) -> String {
    match node.text(&["aws", "operation"]) {
        Some(operation) => format!("{} {operation}", node.name),
        None => node.name.clone(),
    }
}

/// Returns the different values of an annotation in a trace.
fn values(trace: &Trace, key: &str) -> BTreeSet<String> {
    let values = trace
        .nodes()
        .filter_map(|node| node.value(&["annotations", key]));
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    values.map(text).collect()
}
