use serde_json::{Value, json};

use super::*;
use crate::model::{Document, inferred_segments};

fn trace(number: u8, bodies: Vec<Value>, with_inferred: bool) -> Trace {
    let id = format!("1-581cf771-{number:024x}");
    let read = |mut body: Value| {
        body["trace_id"] = id.clone().into();
        Document::read(body).unwrap()
    };
    let mut documents: Vec<_> = bodies.into_iter().map(read).collect();
    if with_inferred {
        let inferred = inferred_segments(&Trace::build(id.as_str(), &documents));
        documents.extend(
            inferred
                .into_iter()
                .map(|body| Document::read(body).unwrap()),
        );
    }
    Trace::build(id.as_str(), &documents)
}

/// Lambda's segment, the function's, its calls of a table and a queue, and the consumer of the
/// message, which calls a vendor that sends a segment and one that does not.
fn order(number: u8, fails: bool, with_inferred: bool) -> Trace {
    let bodies = vec![
        json!({"id": "0000000000000001", "name": "api", "origin": "AWS::Lambda",
            "start_time": 10.0, "end_time": 11.0}),
        json!({"id": "0000000000000002", "parent_id": "0000000000000001", "name": "api",
            "origin": "AWS::Lambda::Function", "start_time": 10.0, "end_time": 10.5,
            "aws": {"account_id": "123456789012"},
            "subsegments": [{"id": "0000000000000003", "name": "handler", "start_time": 10.0,
                "end_time": 10.5, "subsegments": [
                    {"id": "0000000000000004", "name": "DynamoDB", "namespace": "aws",
                        "start_time": 10.0, "end_time": 10.25, "error": fails, "throttle": fails,
                        "aws": {"table_name": "orders"}},
                    {"id": "0000000000000005", "name": "SQS", "namespace": "aws",
                        "start_time": 10.25, "end_time": 10.5,
                        "aws": {"queue_url": "https://sqs/1/orders"}}]}]}),
        json!({"id": "0000000000000006", "parent_id": "0000000000000005", "name": "worker",
            "origin": "AWS::Lambda::Function", "start_time": 12.0, "end_time": 14.0,
            "fault": fails, "metadata": {"sqs": {"queue_ms": 1500}},
            "subsegments": [
                {"id": "0000000000000007", "name": "vendor", "namespace": "remote",
                    "start_time": 12.0, "end_time": 13.0, "fault": fails},
                {"id": "0000000000000008", "name": "bank", "namespace": "remote",
                    "start_time": 13.0, "end_time": 13.5, "error": fails}]}),
        json!({"id": "0000000000000009", "parent_id": "0000000000000007", "name": "vendor",
            "start_time": 12.25, "end_time": 12.75}),
    ];
    trace(number, bodies, with_inferred)
}

/// Returns each service as `name type total ok error throttle fault time` with its marks.
fn services(graph: &Graph) -> Vec<String> {
    let marks = |service: &Service| {
        let marks = [
            (service.is_root, " root"),
            (service.is_inferred, " inferred"),
        ];
        marks
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, mark)| *mark)
            .collect::<String>()
    };
    let line = |service: &Service| {
        let Statistics {
            ok,
            error,
            throttle,
            fault,
            total,
            time,
        } = service.statistics;
        format!(
            "{} {} {total} {ok} {error} {throttle} {fault} {time}{}",
            service.name,
            service.kind,
            marks(service)
        )
    };
    graph.services.iter().map(line).collect()
}

/// Returns each edge as `from type -> to total ok error throttle fault time`.
fn edges(graph: &Graph) -> Vec<String> {
    let line = |edge: &Edge| {
        let Statistics {
            ok,
            error,
            throttle,
            fault,
            total,
            time,
        } = edge.statistics;
        let (from, to) = (&graph.services[edge.from], &graph.services[edge.to]);
        format!(
            "{} {} -> {} {}: {total} {ok} {error} {throttle} {fault} {time}",
            from.name, from.kind, to.name, to.kind
        )
    };
    graph.edges.iter().map(line).collect()
}

#[test]
fn graph_equals_one_computed_by_hand() {
    for with_inferred in [false, true] {
        let traces = [
            order(1, false, with_inferred),
            order(2, false, with_inferred),
            order(3, true, with_inferred),
        ];
        let graph = graph(&traces);
        assert_eq!(
            services(&graph),
            [
                "api AWS::Lambda 3 3 0 0 0 3 root",
                "api AWS::Lambda::Function 3 3 0 0 0 1.5",
                "api client 0 0 0 0 0 0",
                "bank remote 3 2 1 0 0 1.5 inferred",
                "orders AWS::DynamoDB::Table 3 2 0 1 0 0.75 inferred",
                "vendor  3 3 0 0 0 1.5",
                "worker AWS::Lambda::Function 3 2 0 0 1 6",
            ]
        );
        assert_eq!(
            edges(&graph),
            [
                "api AWS::Lambda -> api AWS::Lambda::Function: 3 3 0 0 0 1.5",
                "api AWS::Lambda::Function -> orders AWS::DynamoDB::Table: 3 2 0 1 0 0.75",
                "api AWS::Lambda::Function -> worker AWS::Lambda::Function: 3 3 0 0 0 0.75",
                "api client -> api AWS::Lambda: 3 3 0 0 0 3",
                "worker AWS::Lambda::Function -> bank remote: 3 2 1 0 0 1.5",
                "worker AWS::Lambda::Function -> vendor : 3 2 0 0 1 3",
            ]
        );
        let hop = &graph.edges[2];
        assert_eq!(
            hop.response_times.buckets(),
            [Bucket {
                value: 0.25,
                count: 3
            }]
        );
        assert_eq!(
            hop.queue_times.buckets(),
            [Bucket {
                value: 1.5,
                count: 3
            }]
        );
        let api = &graph.services[1];
        assert_eq!((api.start, api.end), (10.0, 10.5));
        assert_eq!(api.account.as_deref(), Some("123456789012"));
        assert_eq!(api.traces.len(), 3);
        assert_eq!(
            api.durations.buckets(),
            [Bucket {
                value: 0.5,
                count: 3
            }]
        );
    }
}

#[test]
fn segment_in_progress_is_not_counted() {
    let open = json!({"id": "0000000000000001", "name": "api", "start_time": 10.0,
        "in_progress": true});
    let graph = graph(&[trace(1, vec![open], false)]);
    let api = graph
        .services
        .iter()
        .find(|service| service.kind.is_empty())
        .unwrap();
    assert!(api.is_partial);
    assert_eq!(api.statistics, Statistics::default());
}

#[test]
fn histogram_stays_small_and_keeps_every_count() {
    let mut histogram = Histogram::default();
    for milliseconds in 0..10_000 {
        histogram.add(f64::from(milliseconds) / 1000.0);
    }
    let buckets = histogram.buckets();
    assert!(buckets.len() <= 200);
    assert_eq!(
        buckets.iter().map(|bucket| bucket.count).sum::<u64>(),
        10_000
    );
    assert!(buckets.windows(2).all(|pair| pair[0].value < pair[1].value));
    assert_eq!(buckets.last().map(|bucket| bucket.value), Some(9.999));
}
