//! Documents by trace, as X-Ray would hold them.
//!
//! A complete document replaces an in-progress one with the same id; a second complete one is
//! kept apart as a duplicate (X-Ray API, "Sending trace data": at most one in-progress fragment,
//! then one complete document).

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

/// A segment or an independent subsegment that was accepted.
#[derive(Debug, Clone)]
pub struct Document {
    /// The trace it belongs to, `1-xxxxxxxx-xxxxxxxxxxxxxxxxxxxxxxxx`.
    pub trace_id: String,
    /// Its own id, 16 hexadecimal digits.
    pub id: String,
    /// The segment or subsegment above it.
    pub parent_id: Option<String>,
    /// What the service map calls it.
    pub name: String,
    /// Whether its `type` is `subsegment`.
    pub is_subsegment: bool,
    /// Whether its end is still to come.
    pub in_progress: bool,
    /// The whole document.
    pub body: Value,
}

impl Document {
    /// Reads the members that every accepted document has; `None` when one of them is missing.
    pub(crate) fn read(body: Value) -> Option<Self> {
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        Some(Self {
            trace_id: text("trace_id")?,
            id: text("id")?,
            parent_id: text("parent_id"),
            name: text("name")?,
            is_subsegment: body["type"] == "subsegment",
            in_progress: body["in_progress"] == true,
            body,
        })
    }
}

/// A datagram that X-Ray would not have taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The member at fault, such as `http.request.url`; empty when it is the whole datagram.
    pub field: String,
    /// What was wrong and what was expected.
    pub reason: String,
    /// The datagram's text, as far as it is text.
    pub datagram: String,
}

/// A complete document whose id had been used before in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The trace.
    pub trace_id: String,
    /// The id that came twice, of a document or of a subsegment inside one.
    pub id: String,
    /// The name that came with the second one.
    pub name: String,
}

/// All that a daemon received.
#[derive(Debug, Default)]
pub struct Store {
    traces: BTreeMap<String, BTreeMap<String, Document>>,
    completed: HashSet<(String, String)>,
    duplicates: Vec<Duplicate>,
    refused: Vec<Refused>,
}

impl Store {
    /// Every accepted document, by trace id, then id.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.traces.values().flat_map(BTreeMap::values)
    }

    /// The documents of one trace, by id; none for a trace that was never seen.
    pub fn trace(&self, trace_id: &str) -> impl Iterator<Item = &Document> {
        self.traces
            .get(trace_id)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// The ids of all traces, in their own order.
    pub fn trace_ids(&self) -> impl Iterator<Item = &str> {
        self.traces.keys().map(String::as_str)
    }

    /// What was refused, in order of arrival.
    #[must_use]
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// What came twice, in order of arrival.
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
            // Datagrams may overtake each other: a late fragment does not undo the end.
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

/// Id and name of an entity and of every finished subsegment inside it.
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
    fn complete_replaces_in_progress_whatever_the_order() {
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
