//! The service graph, as X-Ray computes it.
//!
//! A node is a service that sent segments, a callee that sent none (an inferred service), or the
//! client of an entry point. A node's statistics come from its own segments, or from the calls if
//! it sent none. An edge's statistics come from the caller's calls (X-Ray developer guide,
//! "Concepts": service graph). A message in a queue leads from its call to the segments that
//! handled it, so a hop across a queue is an edge.

mod histogram;
mod statistics;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Callee, Kind, Node, Place, Trace};
pub use histogram::{Bucket, Histogram};
pub use statistics::Statistics;

/// The type of the node that calls an entry point.
pub const CLIENT: &str = "client";

/// A service graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Graph {
    /// The services by name and type, without repetitions. The index of a service is its reference
    /// id.
    pub services: Vec<Service>,
    /// The connections, by caller, then callee.
    pub edges: Vec<Edge>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// The name.
    pub name: String,
    /// The type: an origin, the type of a called resource, `remote` or `client`; empty if a segment
    /// has no origin.
    #[serde(rename = "type")]
    pub kind: String,
    /// The account, if the segments name it.
    pub account: Option<String>,
    /// True if a client calls it.
    pub is_root: bool,
    /// True if it sent no segment.
    pub is_inferred: bool,
    /// True if a segment is in progress.
    pub is_partial: bool,
    /// The earliest start in seconds since 1970.
    pub start: f64,
    /// The latest end in seconds since 1970.
    pub end: f64,
    /// Counts and times.
    pub statistics: Statistics,
    /// The durations.
    pub durations: Histogram,
    /// The ids of the first traces of the service.
    pub traces: Vec<String>,
}

/// A connection of two services.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edge {
    /// The index of the caller.
    pub from: usize,
    /// The index of the callee.
    pub to: usize,
    /// The earliest start in seconds since 1970.
    pub start: f64,
    /// The latest end in seconds since 1970.
    pub end: f64,
    /// Counts and times.
    pub statistics: Statistics,
    /// The response times.
    pub response_times: Histogram,
    /// Times of messages in a queue, in seconds.
    pub queue_times: Histogram,
}

/// Largest number of trace ids of a service.
const EXAMPLES: usize = 5;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    kind: String,
}

impl From<Callee> for Key {
    fn from(callee: Callee) -> Self {
        Self {
            name: callee.name,
            kind: callee.kind,
        }
    }
}

/// Builds a graph from traces, one after the other.
///
/// ```
/// use tracestitch_traces::graph::Builder;
/// use tracestitch_traces::model::Trace;
///
/// let mut builder = Builder::default();
/// builder.add(&Trace::build("1-581cf771-a006649127e371903a2de979", []));
/// assert!(builder.finish().services.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    services: BTreeMap<Key, Service>,
    edges: BTreeMap<(Key, Key), Edge>,
}

impl Builder {
    /// Adds a trace.
    pub fn add(&mut self, trace: &Trace) {
        let is_segment = |place: &&Place| place.kind != Kind::Subsegment;
        for segment in trace.nodes().filter(is_segment) {
            self.add_segment(trace, segment);
        }
        for call in trace.nodes().filter(|place| place.is_call()) {
            let Some(caller) = trace.segment(call) else {
                continue;
            };
            let mut called = trace.children(call).filter(is_segment).peekable();
            if called.peek().is_none() {
                let key = Key::from(Callee::of(call));
                self.add_service(&key, call, trace).is_inferred = true;
                self.add_edge(key_of(caller), key, call);
            }
            for segment in called {
                let edge = self.add_edge(key_of(caller), key_of(segment), call);
                if let Some(waited) = segment.value(&["metadata", "sqs", "queue_ms"])
                    && let Some(milliseconds) = waited.as_f64()
                {
                    edge.queue_times.add(milliseconds / 1000.0);
                }
            }
        }
    }

    fn add_segment(&mut self, trace: &Trace, segment: &Place) {
        let key = key_of(segment);
        let service = self.add_service(&key, segment, trace);
        service.is_inferred = segment.kind == Kind::Inferred;
        let under_segment = trace.parent(segment).filter(|parent| !parent.is_call());
        if let Some(parent) = under_segment {
            // Lambda's service segment is directly above the function's.
            if let Some(caller) = trace.segment(parent) {
                self.add_edge(key_of(caller), key, segment);
            }
        } else if segment.parent_id.is_none() {
            service.is_root = true;
            let client = Key {
                name: segment.name.clone(),
                kind: CLIENT.to_owned(),
            };
            self.add_service(&client, segment, trace);
            self.add_edge(client, key, segment);
        }
    }

    fn add_service(&mut self, key: &Key, node: &Node, trace: &Trace) -> &mut Service {
        let service = self.services.entry(key.clone()).or_insert_with(|| Service {
            name: key.name.clone(),
            kind: key.kind.clone(),
            account: None,
            is_root: false,
            is_inferred: false,
            is_partial: false,
            start: f64::INFINITY,
            end: f64::NEG_INFINITY,
            statistics: Statistics::default(),
            durations: Histogram::default(),
            traces: Vec::new(),
        });
        extend(&mut service.start, &mut service.end, node);
        service.is_partial |= node.end.is_none();
        let account = || node.text(&["aws", "account_id"]).map(str::to_owned);
        service.account = service.account.take().or_else(account);
        if key.kind != CLIENT && service.statistics.add(node) {
            service.durations.add(node.duration().unwrap_or_default());
        }
        if service.traces.len() < EXAMPLES && service.traces.last() != Some(&trace.id) {
            service.traces.push(trace.id.clone());
        }
        service
    }

    fn add_edge(&mut self, from: Key, to: Key, call: &Node) -> &mut Edge {
        let edge = self.edges.entry((from, to)).or_insert_with(|| Edge {
            from: 0,
            to: 0,
            start: f64::INFINITY,
            end: f64::NEG_INFINITY,
            statistics: Statistics::default(),
            response_times: Histogram::default(),
            queue_times: Histogram::default(),
        });
        extend(&mut edge.start, &mut edge.end, call);
        if edge.statistics.add(call) {
            edge.response_times.add(call.duration().unwrap_or_default());
        }
        edge
    }

    /// Returns the graph.
    #[must_use]
    pub fn finish(self) -> Graph {
        let index: BTreeMap<&Key, usize> = self.services.keys().zip(0..).collect();
        let place = |key: &Key| index.get(key).copied().unwrap_or_default();
        let edges = self.edges.iter().map(|((from, to), edge)| Edge {
            from: place(from),
            to: place(to),
            ..edge.clone()
        });
        Graph {
            edges: edges.collect(),
            services: self.services.into_values().collect(),
        }
    }
}

/// Returns the graph of traces.
pub fn graph<'a>(traces: impl IntoIterator<Item = &'a Trace>) -> Graph {
    let mut builder = Builder::default();
    for trace in traces {
        builder.add(trace);
    }
    builder.finish()
}

fn key_of(segment: &Node) -> Key {
    if segment.kind == Kind::Inferred {
        return Callee::inferred(segment).into();
    }
    Key {
        name: segment.name.clone(),
        kind: segment.origin().unwrap_or_default().to_owned(),
    }
}

fn extend(start: &mut f64, end: &mut f64, node: &Node) {
    *start = start.min(node.start);
    *end = end.max(node.end.unwrap_or(node.start));
}

#[cfg(test)]
mod tests;
