//! `BatchGetTraces`: the compiled documents of traces.
//!
//! X-Ray returns one document for each segment, with the independent subsegments inside it, and one
//! for each inferred segment (X-Ray developer guide, "Getting data from X-Ray").

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::context::Context;
use super::error::ApiError;
use crate::model::{Kind, Place, Trace, inferred_segments};
use crate::store::normal_trace_id;

/// Largest number of ids in one request: the service's limit.
const IDS: usize = 5;
/// Largest number of levels of subsegments in one document. Deeper ones get documents of their
/// own, because a client's JSON parser limits the depth, too (Python's at about 1,000 levels).
const LEVELS: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BatchGetTraces {
    trace_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Traces {
    traces: Vec<Compiled>,
    unprocessed_trace_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Compiled {
    id: String,
    duration: f64,
    limit_exceeded: bool,
    segments: Vec<Segment>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Segment {
    id: String,
    document: String,
}

/// Returns the traces that exist. An unknown id is left out; only an id of another form is
/// unprocessed.
pub(super) fn batch_get_traces(
    Context { store, .. }: &Context,
    request: BatchGetTraces,
) -> Result<Traces, ApiError> {
    if request.trace_ids.is_empty() || request.trace_ids.len() > IDS {
        let count = request.trace_ids.len();
        return Err(ApiError::invalid(format!(
            "TraceIds has {count} ids, expected 1 to {IDS}"
        )));
    }
    let mut answer = Traces {
        traces: Vec::new(),
        unprocessed_trace_ids: Vec::new(),
    };
    for id in request.trace_ids {
        let Some(normal) = normal_trace_id(&id) else {
            answer.unprocessed_trace_ids.push(id);
            continue;
        };
        let Some((row, documents)) = store.trace(&normal)? else {
            continue;
        };
        let trace = Trace::build(row.id.as_str(), &documents);
        let mut segments = compile(&trace);
        segments.extend(
            inferred_segments(&trace)
                .into_iter()
                .map(|document| Segment {
                    id: document["id"].as_str().unwrap_or_default().to_owned(),
                    document: document.to_string(),
                }),
        );
        answer.traces.push(Compiled {
            duration: trace.duration(),
            id: row.id,
            limit_exceeded: row.limited,
            segments,
        });
    }
    Ok(answer)
}

/// A node whose document is not complete, because nodes below it may follow.
#[derive(Debug)]
struct Open {
    /// The index of the document that contains it.
    document: usize,
    /// The number of nodes above it in that document.
    level: usize,
    has_children: bool,
}

/// Returns one document for each segment, with the subsegments in it. Takes time in proportion to
/// the documents, whatever their depth.
fn compile(trace: &Trace) -> Vec<Segment> {
    let mut documents: Vec<Segment> = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for place in trace.nodes() {
        close(&mut open, place.depth(), &mut documents);
        let parent = open
            .last_mut()
            .filter(|parent| place.kind == Kind::Subsegment && parent.level + 1 < LEVELS);
        let (document, level) = match parent {
            Some(parent) => {
                let text = &mut documents[parent.document].document;
                text.push_str(if parent.has_children {
                    ","
                } else {
                    ",\"subsegments\":["
                });
                parent.has_children = true;
                (parent.document, parent.level + 1)
            }
            None => {
                documents.push(Segment {
                    id: place.id.clone(),
                    document: String::new(),
                });
                (documents.len() - 1, 0)
            }
        };
        let members = members(trace, place, level > 0).to_string();
        // The closing brace follows after the nodes below.
        documents[document]
            .document
            .push_str(&members[..members.len() - 1]);
        open.push(Open {
            document,
            level,
            has_children: false,
        });
    }
    close(&mut open, 0, &mut documents);
    documents
}

/// Completes the nodes at `depth` and below it.
fn close(open: &mut Vec<Open>, depth: usize, documents: &mut [Segment]) {
    while open.len() > depth {
        if let Some(node) = open.pop() {
            let end = if node.has_children { "]}" } else { "}" };
            documents[node.document].document.push_str(end);
        }
    }
}

/// Returns the members of a node. Inside another document these are the ones of an embedded
/// subsegment; a separate document names its trace and parent. At least one member remains.
fn members(trace: &Trace, place: &Place, embedded: bool) -> Value {
    let mut members: Map<String, Value> = place.document.clone();
    if embedded {
        for name in ["trace_id", "parent_id", "type"] {
            members.remove(name);
        }
    } else {
        members.insert("trace_id".to_owned(), trace.id.clone().into());
        if let Some(parent) = &place.parent_id {
            members.insert("parent_id".to_owned(), parent.clone().into());
        }
        if place.kind == Kind::Subsegment {
            members.insert("type".to_owned(), "subsegment".into());
        }
    }
    members.insert("id".to_owned(), place.id.clone().into());
    members.into()
}
