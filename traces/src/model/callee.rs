//! Inferred callees: services that were called and sent no segment.
//!
//! X-Ray derives a segment from such a call: "inferred" (X-Ray developer guide, "Concepts").

use serde_json::{Map, Value, json};

use super::node::Node;
use super::trace::Trace;

/// The name and type of a called service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Callee {
    /// The resource's name, or the name of the call.
    pub name: String,
    /// The type, such as `AWS::DynamoDB::Table` or `remote`.
    pub kind: String,
}

/// Members of `aws` that name a resource, with the type of the resource.
const RESOURCES: [(&str, &str); 8] = [
    ("table_name", "AWS::DynamoDB::Table"),
    ("queue_url", "AWS::SQS::Queue"),
    ("topic_arn", "AWS::SNS::Topic"),
    ("function_name", "AWS::Lambda::Function"),
    ("bucket_name", "AWS::S3::Bucket"),
    ("stream_name", "AWS::Kinesis::Stream"),
    ("event_bus_name", "AWS::Events::EventBus"),
    ("state_machine_arn", "AWS::StepFunctions::StateMachine"),
];

impl Callee {
    /// Returns the service that a call was made to.
    #[must_use]
    pub fn of(call: &Node) -> Self {
        if call.namespace() != Some("aws") {
            return Self {
                name: call.name.clone(),
                kind: "remote".to_owned(),
            };
        }
        let (name, kind) = resource(call).map_or_else(
            || (call.name.as_str(), format!("AWS::{}", call.name)),
            |(name, kind)| (name, kind.to_owned()),
        );
        Self {
            name: name.to_owned(),
            kind,
        }
    }

    /// Returns the service of an inferred segment.
    #[must_use]
    pub fn inferred(segment: &Node) -> Self {
        let name = resource(segment).map_or(segment.name.as_str(), |(name, _)| name);
        Self {
            name: name.to_owned(),
            kind: segment.origin().unwrap_or_default().to_owned(),
        }
    }
}

/// Returns name and type of the resource that a node names.
fn resource(node: &Node) -> Option<(&str, &'static str)> {
    let named = |(member, kind): &(&str, &'static str)| Some((node.text(&["aws", member])?, *kind));
    RESOURCES.iter().find_map(named)
}

/// Returns the documents of the segments that X-Ray infers for a trace. The id of each is derived
/// from its call's, so the same trace always has the same documents.
#[must_use]
pub fn inferred_segments(trace: &Trace) -> Vec<Value> {
    let segment = |call: &Node| {
        let callee = Callee::of(call);
        let id = u64::from_str_radix(&call.id, 16).unwrap_or_default();
        let mut members = Map::new();
        members.insert("id".to_owned(), format!("{:016x}", !id).into());
        members.insert("name".to_owned(), call.name.clone().into());
        members.insert("trace_id".to_owned(), trace.id.clone().into());
        members.insert("parent_id".to_owned(), call.id.clone().into());
        members.insert("start_time".to_owned(), json!(call.start));
        members.insert("inferred".to_owned(), true.into());
        members.insert("origin".to_owned(), callee.kind.into());
        match call.end {
            Some(end) => members.insert("end_time".to_owned(), json!(end)),
            None => members.insert("in_progress".to_owned(), true.into()),
        };
        for name in ["http", "aws", "error", "fault", "throttle"] {
            let value = call.document.get(name).cloned();
            members.extend(value.map(|value| (name.to_owned(), value)));
        }
        Value::Object(members)
    };
    let calls = trace.unanswered_calls();
    calls.map(|call| segment(call)).collect()
}
