//! What the demonstration promises about its traces.

use std::collections::BTreeSet;

use super::world::DeadLetter;
use crate::store::Store;
use crate::tree::{Kind, Node, Trace};

/// An order that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) id: &'static str,
    pub(super) trace_id: String,
    pub(super) fails: bool,
}

/// How it went, apart from the traces.
pub(super) struct Ended<'a> {
    pub(super) orders: &'a [Order],
    /// Ids of the messages that order-worker returned as failed.
    pub(super) failed: &'a BTreeSet<String>,
    pub(super) dead: &'a [DeadLetter],
}

/// Every promise that is not kept, in words.
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
            "failed messages {:?}, dead letters {dead:?}: expected one message and the same",
            ended.failed
        ));
    }
    for order in ended.orders.iter().filter(|order| order.fails) {
        if !ended
            .dead
            .iter()
            .all(|letter| letter.body.contains(order.id))
        {
            let dead = ended.dead;
            unmet.push(format!(
                "dead letters {dead:?}: expected that of order {}",
                order.id
            ));
        }
    }
    unmet
}

fn documents(store: &Store) -> Vec<String> {
    let refused = store.refused().iter().map(|refused| {
        format!(
            "a document was refused: {}: {}",
            refused.field, refused.reason
        )
    });
    let twice = store.duplicates().iter().map(|twice| {
        format!(
            "{} {} of trace {} came twice",
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
    let orphans = Trace::all(store).into_iter().flat_map(|trace| {
        let id = trace.id;
        trace.orphans.into_iter().map(move |node| {
            format!(
                "the parent of {} {} of trace {id} is missing",
                node.name, node.id
            )
        })
    });
    problems.extend(orphans);
    problems
}

/// order-api's call to the queue is the parent of what order-worker did with the message.
fn stitched(trace: &Trace, order: &Order) -> Result<(), String> {
    let api = trace
        .nodes()
        .find(|node| is_function(node, "order-api"))
        .ok_or("no segment of order-api")?;
    let send = api
        .walk()
        .find(|node| is_call(node, "SQS"))
        .ok_or("no subsegment SQS under order-api")?;
    let work: Vec<&Node> = send
        .children
        .iter()
        .filter(|node| is_function(node, "order-worker"))
        .collect();
    let expected = if order.fails {
        super::world::RECEIVES as usize
    } else {
        1
    };
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
        if !order.fails && !segment.walk().any(|node| is_call(node, "DynamoDB")) {
            return Err("no subsegment DynamoDB under order-worker's segment".to_owned());
        }
    }
    Ok(())
}

fn is_function(node: &Node, name: &str) -> bool {
    node.kind == Kind::Segment
        && node.name == name
        && node.class.as_deref() == Some("AWS::Lambda::Function")
}

fn is_call(node: &Node, service: &str) -> bool {
    node.kind == Kind::Subsegment && node.name == service && node.class.as_deref() == Some("aws")
}

#[cfg(test)]
mod tests;
