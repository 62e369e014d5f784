//! Promises of the demonstration with a queue.

use std::collections::BTreeSet;

use tracestitch_traces::model::{Kind, Place, Trace};

use super::vendor;
use crate::store::Store;

/// Number of receives of a message before it moves to the dead-letter queue: a failure and its
/// retry.
pub(super) const RECEIVES: u32 = 2;

/// An order that order-api accepted.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) id: &'static str,
    pub(super) trace_id: String,
    pub(super) fails: bool,
}

/// A message of the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeadLetter {
    pub(super) message_id: String,
    pub(super) body: String,
}

/// The result of a run, apart from its traces.
pub(super) struct Ended<'a> {
    pub(super) orders: &'a [Placed],
    /// Ids of the messages that order-worker returned as failed.
    pub(super) failed: &'a BTreeSet<String>,
    pub(super) dead: &'a [DeadLetter],
}

/// Returns every promise that is not kept.
pub(super) fn unmet(store: &Store, ended: &Ended<'_>) -> Vec<String> {
    let mut unmet = documents(store);
    for order in ended.orders {
        let trace = Trace::build(&order.trace_id, store.trace(&order.trace_id));
        if let Err(problem) = stitched(&trace, order) {
            unmet.push(format!(
                "order {}, trace {}: {problem}",
                order.id, order.trace_id
            ));
        }
    }
    let dead: BTreeSet<String> = ended
        .dead
        .iter()
        .map(|letter| letter.message_id.clone())
        .collect();
    if dead.len() != 1 || *ended.failed != dead {
        unmet.push(format!(
            "failed messages {:?}, dead letters {dead:?}: expected the same single message",
            ended.failed
        ));
    }
    for order in ended.orders.iter().filter(|order| order.fails) {
        let is_of_order = |letter: &DeadLetter| letter.body.contains(order.id);
        if !ended.dead.iter().all(is_of_order) {
            unmet.push(format!(
                "dead letters {:?}: expected order {}",
                ended.dead, order.id
            ));
        }
    }
    unmet
}

/// Returns documents that were refused, received twice, or left without an end or a parent.
fn documents(store: &Store) -> Vec<String> {
    let refused = store.refused().iter().map(|refused| {
        format!(
            "a document was refused: {}: {}",
            refused.field, refused.reason
        )
    });
    let twice = store.duplicates().iter().map(|twice| {
        format!(
            "{} {} of trace {} was received twice",
            twice.name, twice.id, twice.trace_id
        )
    });
    let open = store
        .documents()
        .filter(|document| document.in_progress)
        .map(|open| {
            format!(
                "{} {} of trace {} has no end",
                open.name, open.id, open.trace_id
            )
        });
    let mut problems: Vec<String> = refused.chain(twice).chain(open).collect();
    let orphans = store.traces().into_iter().flat_map(|trace| {
        let describe = |node: &Place| {
            let (name, id) = (&node.name, &node.id);
            format!("the parent of {name} {id} of trace {} is missing", trace.id)
        };
        trace.orphans().map(describe).collect::<Vec<_>>()
    });
    problems.extend(orphans);
    problems
}

/// Checks that order-api's call to the queue is the parent of order-worker's segments, and
/// order-worker's call to the vendor the parent of the vendor's segment.
fn stitched(trace: &Trace, order: &Placed) -> Result<(), String> {
    let api = trace
        .nodes()
        .find(|node| is_function(node, "order-api"))
        .ok_or("no segment of order-api")?;
    let send = trace
        .walk(api)
        .find(|node| is_call(node, "SQS"))
        .ok_or("no subsegment SQS under order-api")?;
    let work: Vec<&Place> = trace
        .children(send)
        .filter(|node| is_function(node, "order-worker"))
        .collect();
    let expected = if order.fails { RECEIVES as usize } else { 1 };
    if work.len() != expected {
        return Err(format!(
            "{} segments of order-worker under SQS, expected {expected}",
            work.len()
        ));
    }
    for segment in work {
        if segment.fault != order.fails {
            return Err(format!(
                "fault is {} on order-worker's segment",
                segment.fault
            ));
        }
        if order.fails {
            continue;
        }
        if !trace.walk(segment).any(|node| is_call(node, "DynamoDB")) {
            return Err("no subsegment DynamoDB under order-worker's segment".to_owned());
        }
        if !trace.walk(segment).any(|node| {
            node.class() == Some("remote")
                && trace
                    .children(node)
                    .any(|child| is_segment(child, vendor::NAME))
        }) {
            return Err("no segment of the vendor under order-worker's call to it".to_owned());
        }
    }
    Ok(())
}

fn is_segment(node: &Place, name: &str) -> bool {
    node.kind == Kind::Segment && node.name == name
}

fn is_function(node: &Place, name: &str) -> bool {
    is_segment(node, name) && node.class() == Some("AWS::Lambda::Function")
}

fn is_call(node: &Place, service: &str) -> bool {
    node.kind == Kind::Subsegment && node.name == service && node.class() == Some("aws")
}

#[cfg(test)]
mod tests;
