//! A trace as a tree: each segment and subsegment under its parent, which is named by `parent_id`
//! or contains it.
//!
//! The nodes are one list, each node directly before those under it. A tree of any depth therefore
//! needs no recursion.

use std::collections::HashMap;
use std::ops::Deref;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::assemble::{Assembled, assemble};
use super::document::Document;
use super::finding::Finding;
use super::node::{Kind, Node};

/// All segments and subsegments of a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The trace id, `1-xxxxxxxx-xxxxxxxxxxxxxxxxxxxxxxxx`.
    pub id: String,
    places: Vec<Place>,
    findings: Vec<Finding>,
}

/// A node and its place in the tree. It dereferences to the node.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    node: Node,
    /// The index in the list.
    index: usize,
    /// The index of the parent.
    parent: Option<usize>,
    /// The number of nodes above it.
    depth: usize,
    /// The index behind the last node under it.
    after: usize,
    /// True for a node without parent, whose document names one.
    is_orphan: bool,
    /// The index of the segment that contains the node, or of the node itself.
    segment: Option<usize>,
}

impl Place {
    /// Returns the number of nodes above this one.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns whether the named parent is missing from the trace.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        self.is_orphan
    }
}

impl Deref for Place {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Trace {
    /// Builds the tree of one trace from its documents in any order.
    pub fn build<'a>(
        id: impl Into<String>,
        documents: impl IntoIterator<Item = &'a Document>,
    ) -> Self {
        let id = id.into();
        let Assembled {
            nodes,
            parents,
            findings,
        } = assemble(&id, documents);
        Self {
            places: lay_out(nodes, &parents),
            id,
            findings,
        }
    }

    /// Returns every node, each before those under it; first the tree, then the orphans.
    pub fn nodes(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }

    /// Returns the nodes without a parent, by start time, then id.
    pub fn roots(&self) -> impl Iterator<Item = &Place> {
        self.tops().filter(|place| !place.is_orphan)
    }

    /// Returns the top nodes whose parent was not received, by start time, then id.
    pub fn orphans(&self) -> impl Iterator<Item = &Place> {
        self.tops().filter(|place| place.is_orphan)
    }

    fn tops(&self) -> impl Iterator<Item = &Place> {
        self.siblings(0, self.places.len())
    }

    /// Returns the nodes directly under `place`, by start time, then id.
    pub fn children(&self, place: &Place) -> impl Iterator<Item = &Place> {
        self.siblings(place.index + 1, place.after)
    }

    fn siblings(&self, first: usize, end: usize) -> impl Iterator<Item = &Place> {
        let mut next = first;
        std::iter::from_fn(move || {
            let place = self.places.get(next).filter(|_| next < end)?;
            next = place.after;
            Some(place)
        })
    }

    /// Returns `place` and all nodes under it, each before those under it.
    pub fn walk(&self, place: &Place) -> impl Iterator<Item = &Place> {
        self.places[place.index..place.after].iter()
    }

    /// Returns the node above `place`.
    #[must_use]
    pub fn parent(&self, place: &Place) -> Option<&Place> {
        self.places.get(place.parent?)
    }

    /// Returns the nodes above `place`, the nearest first.
    pub fn above(&self, place: &Place) -> impl Iterator<Item = &Place> {
        std::iter::successors(self.parent(place), move |place| self.parent(place))
    }

    /// Returns the segment that contains `place`, or `place` itself if it is a segment.
    #[must_use]
    pub fn segment(&self, place: &Place) -> Option<&Place> {
        self.places.get(place.segment?)
    }

    /// Returns a segment and the subsegments in it, without the segments under them.
    pub fn own(&self, segment: &Place) -> impl Iterator<Item = &Place> {
        let (first, end) = (segment.index, segment.after);
        let mut next = first;
        std::iter::from_fn(move || {
            while next < end {
                let place = &self.places[next];
                if place.kind == Kind::Subsegment || next == first {
                    next += 1;
                    return Some(place);
                }
                next = place.after;
            }
            None
        })
    }

    /// Returns the node with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.id == id)
    }

    /// Returns the calls to services that sent no segment of their own to this trace.
    pub fn unanswered_calls(&self) -> impl Iterator<Item = &Place> {
        let is_segment = |place: &Place| place.kind != Kind::Subsegment;
        self.nodes()
            .filter(|place| place.is_call())
            .filter(move |place| !self.children(place).any(is_segment))
    }

    /// Returns the defects of the trace.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Returns the earliest start in seconds since 1970; infinity for a trace without documents.
    #[must_use]
    pub fn start(&self) -> f64 {
        let starts = self.nodes().map(|node| node.start);
        starts.fold(f64::INFINITY, f64::min)
    }

    /// Returns the latest end in seconds since 1970; negative infinity if no node has an end.
    #[must_use]
    pub fn end(&self) -> f64 {
        let ends = self.nodes().filter_map(|node| node.end);
        ends.fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns the seconds from the earliest start to the latest end (X-Ray API, `Trace`). Nodes in
    /// progress have no end.
    #[must_use]
    pub fn duration(&self) -> f64 {
        let duration = self.end() - self.start();
        if duration.is_finite() {
            duration.max(0.0)
        } else {
            0.0
        }
    }

    /// Returns the duration of the root segment in seconds (X-Ray API, `TraceSummary`); of the
    /// trace, if it has no finished root.
    #[must_use]
    pub fn response_time(&self) -> f64 {
        let root = self.roots().next();
        root.and_then(|root| root.duration())
            .unwrap_or_else(|| self.duration())
    }

    /// Returns whether a node has no end yet.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.nodes().any(|node| node.end.is_none())
    }
}

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nodes: Vec<&Node> = self.places.iter().map(|place| &place.node).collect();
        let mut trace = serializer.serialize_struct("Trace", 5)?;
        trace.serialize_field("id", &self.id)?;
        // JSON has no infinity, the start of a trace without documents.
        trace.serialize_field(
            "start",
            &Some(self.start()).filter(|start| start.is_finite()),
        )?;
        trace.serialize_field("duration", &self.duration())?;
        trace.serialize_field("nodes", &nodes)?;
        trace.serialize_field("findings", &self.findings)?;
        trace.end()
    }
}

/// Returns the nodes in the order of the tree. `parents` are without cycles.
fn lay_out(nodes: Vec<Node>, parents: &[Option<usize>]) -> Vec<Place> {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&nodes[*a], &nodes[*b]);
        a.start.total_cmp(&b.start).then_with(|| a.id.cmp(&b.id))
    });
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let (mut roots, mut orphans) = (Vec::new(), Vec::new());
    // Lists are used as stacks, so the last node goes first.
    for at in order.into_iter().rev() {
        match parents[at] {
            Some(parent) => children.entry(parent).or_default().push(at),
            None if nodes[at].parent_id.is_some() => orphans.push(at),
            None => roots.push(at),
        }
    }
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut places: Vec<Place> = Vec::with_capacity(nodes.len());
    let mut waiting: Vec<(usize, Option<usize>)> = orphans
        .into_iter()
        .chain(roots)
        .map(|at| (at, None))
        .collect();
    while let Some((at, parent)) = waiting.pop() {
        let Some(node) = nodes[at].take() else {
            continue;
        };
        let index = places.len();
        let under = children.remove(&at).unwrap_or_default();
        waiting.extend(under.into_iter().map(|child| (child, Some(index))));
        let depth = parent.map_or(0, |parent| places[parent].depth + 1);
        let segment = match node.kind {
            Kind::Subsegment => parent.and_then(|parent| places[parent].segment),
            Kind::Segment | Kind::Inferred => Some(index),
        };
        places.push(Place {
            is_orphan: parent.is_none() && node.parent_id.is_some(),
            node,
            index,
            parent,
            depth,
            after: index + 1,
            segment,
        });
    }
    for index in (0..places.len()).rev() {
        if let Some(parent) = places[index].parent {
            places[parent].after = places[parent].after.max(places[index].after);
        }
    }
    places
}
