//! A trace as a tree: each segment and subsegment under its parent, which is named by `parent_id`
//! or contains it.
//!
//! The viewer displays the tree; `Display` formats it as text.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::Value;

use crate::store::{Document, Store};

mod node;
mod text;

pub use node::{Fact, Kind, Link, Node};

/// All segments and subsegments of a trace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// The trace id, `1-xxxxxxxx-xxxxxxxxxxxxxxxxxxxxxxxx`.
    pub id: String,
    /// The nodes without a parent, by start time, then id.
    pub roots: Vec<Node>,
    /// The nodes whose parent was not received, by start time, then id.
    pub orphans: Vec<Node>,
}

impl Trace {
    /// Builds the tree of one trace from its documents in any order.
    pub fn build<'a>(
        id: impl Into<String>,
        documents: impl IntoIterator<Item = &'a Document>,
    ) -> Self {
        let mut nodes = BTreeMap::new();
        for document in documents {
            unfold(
                &document.body,
                document.parent_id.clone(),
                kind(document),
                &mut nodes,
            );
        }
        let mut children: HashMap<String, Vec<Node>> = HashMap::new();
        let mut trace = Self {
            id: id.into(),
            roots: Vec::new(),
            orphans: Vec::new(),
        };
        let known: Vec<String> = nodes.keys().cloned().collect();
        for node in nodes.into_values() {
            match &node.parent_id {
                None => trace.roots.push(node),
                Some(parent) if known.binary_search(parent).is_ok() && *parent != node.id => {
                    children.entry(parent.clone()).or_default().push(node);
                }
                Some(_) => trace.orphans.push(node),
            }
        }
        for top in trace.roots.iter_mut().chain(&mut trace.orphans) {
            adopt(top, &mut children);
        }
        // The remaining nodes name each other as parents in a ring.
        while let Some(first) = children.keys().min().cloned() {
            for mut node in children.remove(&first).unwrap_or_default() {
                adopt(&mut node, &mut children);
                trace.orphans.push(node);
            }
        }
        sort(&mut trace.roots);
        sort(&mut trace.orphans);
        trace
    }

    /// Returns the trees of all traces of a store, by first start time, then id.
    #[must_use]
    pub fn all(store: &Store) -> Vec<Self> {
        let mut traces: Vec<Self> = store
            .trace_ids()
            .map(|id| Self::build(id, store.trace(id)))
            .collect();
        traces.sort_by(|a, b| {
            a.start()
                .total_cmp(&b.start())
                .then_with(|| a.id.cmp(&b.id))
        });
        traces
    }

    /// Returns every node, each before its children.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.roots.iter().chain(&self.orphans).flat_map(Node::walk)
    }

    /// Returns the earliest start in seconds since 1970; infinity for a trace without documents.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.nodes()
            .map(|node| node.start)
            .fold(f64::INFINITY, f64::min)
    }

    /// Returns the seconds from the earliest start to the latest end (X-Ray API, `Trace`). Nodes in
    /// progress have no end.
    #[must_use]
    pub fn duration(&self) -> f64 {
        let end = self
            .nodes()
            .filter_map(|node| node.end)
            .fold(f64::NEG_INFINITY, f64::max);
        (end - self.start()).max(0.0)
    }
}

fn kind(document: &Document) -> Kind {
    if document.is_subsegment {
        Kind::Subsegment
    } else {
        Kind::Segment
    }
}

/// Adds a segment or subsegment and those inside it. A complete node is never replaced: a call may
/// appear as an in-progress document and again, complete, inside a later one.
fn unfold(body: &Value, parent_id: Option<String>, kind: Kind, nodes: &mut BTreeMap<String, Node>) {
    let node = Node::read(body, parent_id, kind);
    for inner in body["subsegments"].as_array().into_iter().flatten() {
        unfold(inner, Some(node.id.clone()), Kind::Subsegment, nodes);
    }
    match nodes.get(&node.id) {
        Some(known) if known.end.is_some() => {}
        _ => {
            nodes.insert(node.id.clone(), node);
        }
    }
}

fn adopt(node: &mut Node, children: &mut HashMap<String, Vec<Node>>) {
    node.children = children.remove(&node.id).unwrap_or_default();
    for child in &mut node.children {
        adopt(child, children);
    }
    sort(&mut node.children);
}

fn sort(nodes: &mut [Node]) {
    nodes.sort_by(|a, b| a.start.total_cmp(&b.start).then_with(|| a.id.cmp(&b.id)));
}

#[cfg(test)]
mod tests;
