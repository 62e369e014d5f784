//! Traces that belong to the same story.

use std::collections::BTreeSet;

use crate::model::{Kind, Trace};

/// The ids of traces to which a trace points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Linked {
    /// Traces of invocations that handled a message of this trace. They also point to the traces of
    /// the other messages in their batch, which are other stories.
    pub invocations: BTreeSet<String>,
    /// Traces of the messages that this invocation handled.
    pub messages: BTreeSet<String>,
}

/// Returns the traces to which a trace points: a segment to its invocation, a subsegment to the
/// segment of its message.
#[must_use]
pub fn linked(trace: &Trace) -> Linked {
    let mut found = Linked::default();
    for node in trace.nodes() {
        let targets = node.links.iter().map(|link| link.trace_id.clone());
        let targets = targets.filter(|id| *id != trace.id);
        match node.kind {
            Kind::Segment | Kind::Inferred => found.invocations.extend(targets),
            Kind::Subsegment => found.messages.extend(targets),
        }
    }
    found
}
