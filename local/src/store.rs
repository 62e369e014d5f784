//! Documents by trace, as X-Ray would store them.
//!
//! A complete document replaces an in-progress one with the same id. A second complete document is
//! listed as a duplicate (X-Ray API, "Sending trace data": at most one in-progress fragment, then
//! one complete document).

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;
pub use tracestitch_traces::model::Document;
use tracestitch_traces::model::Trace;

/// A datagram that X-Ray would have refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The refused member, such as `http.request.url`; empty for the whole datagram.
    pub field: String,
    /// The found value and the expected form.
    pub reason: String,
    /// The datagram as text, invalid UTF-8 replaced.
    pub datagram: String,
}

/// A complete document whose id had been used before in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The trace id.
    pub trace_id: String,
    /// The repeated id, of a document or of a subsegment inside one.
    pub id: String,
    /// The name in the second document.
    pub name: String,
}

/// Everything that a daemon received.
#[derive(Debug, Default)]
pub struct Store {
    traces: BTreeMap<String, BTreeMap<String, Document>>,
    completed: HashSet<(String, String)>,
    duplicates: Vec<Duplicate>,
    refused: Vec<Refused>,
}

impl Store {
    /// Returns every accepted document, by trace id, then id.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.traces.values().flat_map(BTreeMap::values)
    }

    /// Returns the documents of one trace, by id; none for an unknown trace.
    pub fn trace(&self, trace_id: &str) -> impl Iterator<Item = &Document> {
        self.traces
            .get(trace_id)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// Returns all trace ids in ascending order.
    pub fn trace_ids(&self) -> impl Iterator<Item = &str> {
        self.traces.keys().map(String::as_str)
    }

    /// Returns the trees of all traces, by first start time, then id.
    #[must_use]
    pub fn traces(&self) -> Vec<Trace> {
        let ids = self.trace_ids();
        let mut traces: Vec<Trace> = ids.map(|id| Trace::build(id, self.trace(id))).collect();
        traces.sort_by(|a, b| {
            let by_id = || a.id.cmp(&b.id);
            a.start().total_cmp(&b.start()).then_with(by_id)
        });
        traces
    }

    /// Returns the refusals, in order of arrival.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// Returns the duplicates, in order of arrival.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }

    pub(crate) fn refuse(&mut self, refused: Refused) {
        self.refused.push(refused);
    }

    pub(crate) fn accept(&mut self, document: Document) {
        let documents = self.traces.entry(document.trace_id.clone()).or_default();
        if document.in_progress {
            // A fragment may arrive after its complete document, which remains.
            documents.entry(document.id.clone()).or_insert(document);
            return;
        }
        for (id, name) in finished_ids(&document.body) {
            if !self
                .completed
                .insert((document.trace_id.clone(), id.to_owned()))
            {
                self.duplicates.push(Duplicate {
                    trace_id: document.trace_id.clone(),
                    id: id.to_owned(),
                    name: name.to_owned(),
                });
            }
        }
        documents.insert(document.id.clone(), document);
    }
}

/// Returns id and name of every finished segment or subsegment in a document.
fn finished_ids(entity: &Value) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut waiting = vec![entity];
    while let Some(entity) = waiting.pop() {
        if entity["in_progress"] != true {
            let text = |field: &str| entity[field].as_str().unwrap_or_default();
            found.push((text("id"), text("name")));
        }
        waiting.extend(entity["subsegments"].as_array().into_iter().flatten());
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TRACE: &str = "1-581cf771-a006649127e371903a2de979";

    fn document(id: &str, extra: Value) -> Document {
        let mut body = json!({"trace_id": TRACE, "id": id, "name": "n", "start_time": 1.0});
        let members = body.as_object_mut().unwrap();
        members.extend(extra.as_object().unwrap().clone());
        Document::read(body).unwrap()
    }

    #[test]
    fn complete_document_replaces_fragment_in_any_order() {
        let open = || document("00000000000000aa", json!({"in_progress": true}));
        let closed = || document("00000000000000aa", json!({"end_time": 2.0}));
        for order in [[open(), closed()], [closed(), open()]] {
            let mut store = Store::default();
            order
                .into_iter()
                .for_each(|document| store.accept(document));
            let kept: Vec<_> = store.documents().collect();
            assert_eq!(kept.len(), 1);
            assert!(!kept[0].in_progress);
            assert!(store.duplicates().is_empty());
        }
    }

    #[test]
    fn second_complete_document_is_a_duplicate() {
        let mut store = Store::default();
        store.accept(document("00000000000000aa", json!({"end_time": 2.0})));
        store.accept(document("00000000000000aa", json!({"end_time": 2.0})));
        assert_eq!(store.duplicates().len(), 1);
        assert_eq!(store.duplicates()[0].id, "00000000000000aa");
    }

    #[test]
    fn subsegment_sent_alone_and_inside_another_is_a_duplicate() {
        let inner = json!({"id": "00000000000000bb", "name": "inner", "end_time": 2.0});
        let mut store = Store::default();
        store.accept(document("00000000000000bb", json!({"end_time": 2.0})));
        store.accept(document(
            "00000000000000aa",
            json!({"end_time": 2.0, "subsegments": [inner]}),
        ));
        assert_eq!(store.duplicates()[0].name, "inner");
    }
}
