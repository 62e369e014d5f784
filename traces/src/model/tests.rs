use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const TRACE: &str = "1-581cf771-a006649127e371903a2de979";

fn documents(bodies: Vec<Value>) -> Vec<Document> {
    let complete = |mut body: Value| {
        if body["trace_id"].is_null() {
            body["trace_id"] = TRACE.into();
        }
        Document::read(body).unwrap()
    };
    bodies.into_iter().map(complete).collect()
}

fn build(bodies: Vec<Value>) -> Trace {
    Trace::build(TRACE, &documents(bodies))
}

fn rules(trace: &Trace) -> Vec<Rule> {
    trace
        .findings()
        .iter()
        .map(|finding| finding.rule)
        .collect()
}

fn names<'a>(places: impl Iterator<Item = &'a Place>) -> Vec<&'a str> {
    places.map(|place| place.name.as_str()).collect()
}

/// Returns the documents of a function that calls a queue, and of its consumer.
fn chain() -> Vec<Value> {
    vec![
        json!({"id": "0000000000000005", "parent_id": "0000000000000004", "name": "worker",
            "origin": "AWS::Lambda::Function", "start_time": 10.1, "end_time": 10.15,
            "subsegments": [{"id": "0000000000000006", "name": "DynamoDB", "namespace": "aws",
                "start_time": 10.11, "end_time": 10.12, "aws": {"table_name": "orders"}}]}),
        json!({"id": "0000000000000004", "parent_id": "0000000000000002", "name": "SQS",
            "type": "subsegment", "namespace": "aws", "start_time": 10.02, "end_time": 10.03}),
        json!({"id": "0000000000000003", "parent_id": "0000000000000002", "name": "validate",
            "type": "subsegment", "start_time": 10.01, "in_progress": true}),
        json!({"id": "0000000000000002", "name": "api", "start_time": 10.0, "end_time": 10.05}),
    ]
}

#[test]
fn each_node_is_under_its_parent_in_order_of_start() {
    let trace = build(chain());
    assert_eq!(
        names(trace.nodes()),
        ["api", "validate", "SQS", "worker", "DynamoDB"]
    );
    let api = trace.roots().next().unwrap();
    assert_eq!(names(trace.children(api)), ["validate", "SQS"]);
    let call = trace.find("0000000000000006").unwrap();
    assert_eq!(names(trace.above(call)), ["worker", "SQS", "api"]);
    assert_eq!(trace.segment(call).unwrap().name, "worker");
    assert_eq!(
        names(trace.walk(trace.find("0000000000000004").unwrap())).len(),
        3
    );
    assert!(trace.is_partial());
    assert!((trace.duration() - 0.15).abs() < 1e-6);
    assert!((trace.response_time() - 0.05).abs() < 1e-6);
    assert_eq!(rules(&trace), []);
}

#[test]
fn tree_does_not_depend_on_the_order_of_arrival() {
    let mut documents = documents(chain());
    let expected = Trace::build(TRACE, &documents);
    documents.reverse();
    assert_eq!(Trace::build(TRACE, &documents), expected);
}

#[test]
fn call_without_a_segment_below_has_an_inferred_callee() {
    let trace = build(chain());
    assert_eq!(names(trace.unanswered_calls()), ["DynamoDB"]);
    let inferred = inferred_segments(&trace);
    assert_eq!(inferred[0]["parent_id"], "0000000000000006");
    assert_eq!(inferred[0]["origin"], "AWS::DynamoDB::Table");
    let mut bodies = chain();
    bodies.extend(inferred);
    let trace = build(bodies);
    assert_eq!(trace.unanswered_calls().count(), 0);
    assert_eq!(
        trace
            .nodes()
            .filter(|node| node.kind == Kind::Inferred)
            .count(),
        1
    );
}

#[test]
fn finished_embedded_subsegment_replaces_its_fragment() {
    let trace = build(vec![
        json!({"id": "0000000000000002", "parent_id": "0000000000000001", "name": "call",
            "type": "subsegment", "start_time": 1.0, "in_progress": true}),
        json!({"id": "0000000000000001", "name": "whole", "start_time": 1.0, "end_time": 2.0,
            "subsegments": [{"id": "0000000000000002", "name": "call",
                "start_time": 1.0, "end_time": 1.5}]}),
    ]);
    assert!(!trace.is_partial());
    assert_eq!(names(trace.nodes()), ["whole", "call"]);
    assert_eq!(rules(&trace), []);
}

#[test]
fn defects_become_findings() {
    let document = |id: u8, more: Value| {
        let mut body = json!({"id": format!("{id:016x}"), "name": "n", "start_time": 1.0,
            "end_time": 1.5});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let parent = |id: u8| json!({"parent_id": format!("{id:016x}")});
    let cases = [
        (vec![document(1, parent(9))], Rule::MissingParent),
        (vec![document(1, parent(1))], Rule::Cycle),
        (
            vec![
                document(1, parent(2)),
                document(2, parent(3)),
                document(3, parent(1)),
            ],
            Rule::Cycle,
        ),
        (
            vec![document(1, json!({})), document(1, json!({}))],
            Rule::Duplicate,
        ),
        (
            vec![document(1, json!({"end_time": 0.5}))],
            Rule::InvalidTime,
        ),
        (
            vec![document(1, json!({"start_time": -62_135_596_800.0}))],
            Rule::InvalidTime,
        ),
        (
            vec![document(1, json!({"end_time": 1e300}))],
            Rule::InvalidTime,
        ),
        (
            vec![document(
                1,
                json!({"trace_id": "1-581cf771-b006649127e371903a2de979"}),
            )],
            Rule::ForeignTrace,
        ),
    ];
    for (bodies, rule) in cases {
        let trace = build(bodies.clone());
        assert_eq!(rules(&trace), [rule], "{bodies:?}");
        serde_json::to_string(&trace).unwrap();
    }
}

#[test]
fn nodes_in_a_ring_are_kept() {
    let ring = |id: u8, parent: u8| {
        json!({"id": format!("{id:016x}"), "parent_id": format!("{parent:016x}"), "name": "n",
            "start_time": 1.0, "end_time": 1.5})
    };
    let trace = build(vec![ring(1, 2), ring(2, 1), ring(3, 3), ring(4, 1)]);
    assert_eq!(trace.nodes().count(), 4);
    assert_eq!(trace.orphans().count(), 2);
}

#[test]
fn tree_of_100_000_levels_is_built_and_dropped() {
    let level = |number: u64| {
        json!({"id": format!("{number:016x}"), "parent_id": format!("{:016x}", number + 1),
            "name": "x", "type": "subsegment", "start_time": 1.0, "end_time": 2.0})
    };
    let trace = build((0..100_000).map(level).collect());
    assert_eq!(trace.nodes().last().unwrap().depth(), 99_999);
    assert_eq!(trace.orphans().count(), 1);
}

proptest! {
    /// Few ids, so that documents often repeat, contain and name each other.
    #[test]
    fn every_id_has_one_node_whatever_the_parents(
        parts in proptest::collection::vec((0..12_u8, proptest::option::of(0..16_u8), any::<bool>(), 0..12_u8), 0..40)
    ) {
        let bodies: Vec<Value> = parts.iter().map(|(id, parent, ended, inner)| {
            let mut body = json!({"id": format!("{id:016x}"), "name": "n", "start_time": 1.0,
                "subsegments": [{"id": format!("{inner:016x}"), "name": "i", "start_time": 1.0, "end_time": 1.0}]});
            if let Some(parent) = parent {
                body["parent_id"] = format!("{parent:016x}").into();
            }
            if *ended {
                body["end_time"] = json!(2.0);
            }
            body
        }).collect();
        let trace = build(bodies);
        let mut found: Vec<_> = trace.nodes().map(|node| node.id.clone()).collect();
        found.sort_unstable();
        let mut expected: Vec<_> = parts.iter().flat_map(|(id, _, _, inner)| [id, inner])
            .map(|id| format!("{id:016x}")).collect();
        expected.sort_unstable();
        expected.dedup();
        prop_assert_eq!(found, expected);
        for place in trace.nodes() {
            prop_assert_eq!(trace.above(place).count(), place.depth());
        }
    }
}
