//! The hops of a chain, and the setting that explains each missing one.

use serde::Serialize;
use tracestitch_traces::model::{Callee, Kind, Place, Trace};

/// Subsegments that Lambda itself writes.
const LAMBDAS: [&str; 4] = ["Initialization", "Invocation", "Overhead", "Restore"];
const FUNCTION: &str = "AWS::Lambda::Function";

const NO_TRACE: &str = "nothing arrived. Check that the request was sampled, that the function has \
     active tracing, that its role may xray:PutTraceSegments, and, if Transaction Search is on, \
     read the spans in CloudWatch instead";
const NO_SEGMENT: &str = "its parent was not received. If the function's tracing mode is \
     PassThrough, set TRACESTITCH_TRACING=passthrough or enable active tracing";
const NO_WORK: &str = "only Lambda's own segment arrived. Check that the handler runs under \
     tracestitch::run, that TRACESTITCH_ENABLED is not false, and that the layer fits the \
     function's architecture";
const OPEN: &str = "it has no end. Check that the function has the layer with the extension, which \
     ends the work of a killed function";
const NO_CONSUMER: &str = "no consumer recorded the message. Check the event source mapping, the \
     consumer's role, that it handles messages through tracestitch::sqs, and that nothing between \
     removes AWSTraceHeader";
const NO_INVOCATION: &str = "the trace of the invocation was not received. Check that the consumer \
     has active tracing";

/// A hop of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Hop {
    /// Kind and name.
    pub(super) name: String,
    /// The missing part and the setting to check.
    pub(super) missing: Option<String>,
}

/// Returns the hops of a trace and of the traces that belong to its story.
pub(super) fn hops(id: &str, traces: &[Trace]) -> Vec<Hop> {
    let hop = |name: String, missing: Option<&str>| Hop {
        name,
        missing: missing.map(str::to_owned),
    };
    let Some(trace) = traces.iter().find(|trace| trace.id == id) else {
        return vec![hop(format!("trace {id}"), Some(NO_TRACE))];
    };
    let mut found = Vec::new();
    for orphan in trace.orphans() {
        let name = format!("{} {}", word(orphan), orphan.name);
        found.push(hop(name, Some(NO_SEGMENT)));
    }
    for node in trace.nodes() {
        if node.end.is_none() {
            found.push(hop(format!("{} {}", word(node), node.name), Some(OPEN)));
        }
        if node.kind == Kind::Segment && node.origin() == Some(FUNCTION) {
            let missing = (!has_work(trace, node)).then_some(NO_WORK);
            found.push(hop(format!("function {}", node.name), missing));
            for link in &node.links {
                let is_there = traces.iter().any(|other| other.id == link.trace_id);
                let name = format!("invocation {}", link.trace_id);
                found.push(hop(name, (!is_there).then_some(NO_INVOCATION)));
            }
        }
        let operation = node.text(&["aws", "operation"]).unwrap_or_default();
        if node.is_call() && operation.starts_with("SendMessage") && !node.failed() {
            let queue = Callee::of(node).name;
            let queue = queue.rsplit('/').next().unwrap_or(&queue);
            let mut children = trace.children(node);
            let is_handled = children.any(|child| child.kind == Kind::Segment);
            let missing = (!is_handled).then_some(NO_CONSUMER);
            found.push(hop(format!("queue {queue}"), missing));
        }
    }
    found
}

/// Returns whether the function itself recorded something. A segment in the producer's trace is
/// written by the function.
fn has_work(trace: &Trace, function: &Place) -> bool {
    let is_message = function.value(&["metadata", "sqs"]).is_some();
    let mut below = trace.own(function).skip(1);
    is_message || below.any(|node| !LAMBDAS.contains(&node.name.as_str()))
}

fn word(node: &Place) -> &'static str {
    match node.kind {
        Kind::Subsegment => "subsegment",
        Kind::Segment | Kind::Inferred => "segment",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tracestitch_traces::model::Document;

    use super::*;

    const ORDER: &str = "1-00000001-00000000000000000000000a";
    const INVOCATION: &str = "1-00000002-00000000000000000000000b";

    fn build(id: &str, bodies: Vec<Value>) -> Trace {
        let read = |mut body: Value| {
            body["trace_id"] = id.into();
            Document::read(body).unwrap()
        };
        let documents: Vec<_> = bodies.into_iter().map(read).collect();
        Trace::build(id, &documents)
    }

    /// Returns a complete chain: Lambda's segments, the handler, its call of a queue, the consumer.
    fn chain() -> Vec<Value> {
        vec![
            json!({"id": "0000000000000001", "name": "api", "origin": "AWS::Lambda",
                "start_time": 1.0, "end_time": 2.0}),
            json!({"id": "0000000000000002", "parent_id": "0000000000000001", "name": "api",
                "origin": FUNCTION, "start_time": 1.0, "end_time": 2.0,
                "subsegments": [{"id": "00000000000000f1", "name": "Overhead", "start_time": 1.9,
                    "end_time": 2.0}]}),
            json!({"id": "0000000000000003", "parent_id": "0000000000000002", "type": "subsegment",
                "name": "api", "start_time": 1.0, "end_time": 2.0}),
            json!({"id": "0000000000000004", "parent_id": "0000000000000003", "type": "subsegment",
                "name": "SQS", "namespace": "aws", "start_time": 1.5, "end_time": 1.6,
                "aws": {"operation": "SendMessage", "queue_url": "https://sqs/1/orders"}}),
            json!({"id": "0000000000000005", "parent_id": "0000000000000004", "name": "worker",
                "origin": FUNCTION, "start_time": 3.0, "end_time": 4.0,
                "metadata": {"sqs": {"message_id": "m-1"}},
                "links": [{"trace_id": INVOCATION, "id": "00000000000000aa"}]}),
        ]
    }

    fn invocation() -> Trace {
        build(
            INVOCATION,
            vec![
                json!({"id": "00000000000000a1", "name": "worker", "origin": "AWS::Lambda",
                "start_time": 3.0, "end_time": 4.0}),
            ],
        )
    }

    /// Returns the missing hops of a chain without some of its documents.
    fn missing(without: &[usize], traces: Vec<Trace>) -> Vec<(String, String)> {
        let bodies = chain().into_iter().enumerate();
        let bodies = bodies.filter(|(index, _)| !without.contains(index));
        let mut all = vec![build(ORDER, bodies.map(|(_, body)| body).collect())];
        all.extend(traces);
        let found = hops(ORDER, &all).into_iter();
        found
            .filter_map(|hop| Some((hop.name, hop.missing?)))
            .collect()
    }

    #[test]
    fn complete_chain_has_no_missing_hop() {
        assert_eq!(missing(&[], vec![invocation()]), []);
        let all = [build(ORDER, chain()), invocation()];
        let names: Vec<_> = hops(ORDER, &all).into_iter().map(|hop| hop.name).collect();
        let invocation = format!("invocation {INVOCATION}");
        assert_eq!(
            names,
            [
                "function api",
                "queue orders",
                "function worker",
                &invocation
            ]
        );
    }

    #[test]
    fn each_missing_part_names_its_setting() {
        let only = |without: &[usize], traces: Vec<Trace>| {
            let found = missing(without, traces);
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].clone()
        };
        // Active tracing is off: the function's subsegment has no parent.
        let (name, setting) = only(&[0, 1], vec![invocation()]);
        assert_eq!(name, "subsegment api");
        assert!(
            setting.contains("TRACESTITCH_TRACING=passthrough"),
            "{setting}"
        );
        // The wrapper is missing.
        let (name, setting) = only(&[2, 3, 4], Vec::new());
        assert_eq!(name, "function api");
        assert!(setting.contains("tracestitch::run"), "{setting}");
        // The consumer is missing.
        let (name, setting) = only(&[4], Vec::new());
        assert_eq!(name, "queue orders");
        assert!(setting.contains("event source mapping"), "{setting}");
        // The consumer's active tracing is off.
        let (name, setting) = only(&[], Vec::new());
        assert_eq!(name, format!("invocation {INVOCATION}"));
        assert!(setting.contains("active tracing"), "{setting}");
        // Nothing arrived.
        assert!(
            hops(ORDER, &[])[0]
                .missing
                .as_deref()
                .unwrap()
                .contains("sampled")
        );
    }

    #[test]
    fn work_without_an_end_names_the_layer() {
        let mut bodies = chain();
        bodies[2] = json!({"id": "0000000000000003", "parent_id": "0000000000000002",
            "type": "subsegment", "name": "api", "start_time": 1.0, "in_progress": true});
        let found = hops(ORDER, &[build(ORDER, bodies), invocation()]);
        let missing: Vec<_> = found.iter().filter(|hop| hop.missing.is_some()).collect();
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].missing.as_deref().unwrap().contains("layer"));
    }
}
