//! A sink that keeps its calls, for the tests of this crate.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lambda_runtime::{Context as LambdaContext, LambdaInvocation};
use serde_json::Value;
use tracestitch_wire::{header::TraceHeader, id::SegmentId};

use crate::{
    trace::{
        context::Context, deadline::Deadline, subsegment::Subsegment, trace::Trace, tracer::Tracer,
    },
    transport::sink::{Flushed, Sink},
};

/// A call of a sink.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Begin,
    Announce(String),
    Open(Value),
    Close(Value),
    Discard(SegmentId),
    End(String),
}

/// A sink in memory. Clones share their events.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<Event>>>);

impl Kept {
    pub(crate) fn tracer(&self) -> Tracer {
        Tracer::new("order-worker".to_owned(), true, Arc::new(self.clone()))
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// Returns the finished documents, in order of their ends.
    pub(crate) fn closed(&self) -> Vec<Value> {
        let closed = |event| match event {
            Event::Close(document) => Some(document),
            _ => None,
        };
        self.events().into_iter().filter_map(closed).collect()
    }

    /// Returns the one finished document of this name.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> Value {
        let mut named = self.closed();
        named.retain(|document| document["name"] == name);
        assert_eq!(named.len(), 1, "documents named {name}: {named:?}");
        named.remove(0)
    }

    /// Returns names of documents at the extension: sent ones, and open ones that it would send if the
    /// process died now.
    pub(crate) fn extension(&self) -> (Vec<String>, Vec<String>) {
        let text = |document: &Value, key| document[key].as_str().unwrap_or_default().to_owned();
        let describe = |document: &Value| {
            let finished = document.get("end_time").is_some();
            assert_eq!(!finished, document["in_progress"] == true, "{document}");
            let word = if finished { "" } else { " in progress" };
            format!("{}{word}", text(document, "name"))
        };
        let (mut sent, mut open) = (Vec::new(), BTreeMap::new());
        for event in self.events() {
            match event {
                Event::Open(document) => {
                    open.insert(text(&document, "id"), describe(&document));
                }
                Event::Close(document) => {
                    open.remove(&text(&document, "id"));
                    sent.push(describe(&document));
                }
                Event::Discard(id) => drop(open.remove(&id.to_string())),
                Event::Begin | Event::Announce(_) | Event::End(_) => {}
            }
        }
        let mut open: Vec<_> = open.into_values().collect();
        open.sort();
        (sent, open)
    }

    /// Runs `work` as a handler whose invocation got `header`.
    pub(crate) async fn invoke<F: Future>(&self, header: &str, work: F) -> F::Output {
        self.invoke_until(header, None, work).await
    }

    /// Runs `work` as a handler whose invocation got `header` and a deadline.
    pub(crate) async fn invoke_until<F: Future>(
        &self,
        header: &str,
        deadline: Option<Deadline>,
        work: F,
    ) -> F::Output {
        let header: Option<TraceHeader> = header.parse().ok();
        let trace = Trace {
            deadline,
            ..Trace::new(Arc::new(self.tracer()), header, "r-1")
        };
        invoke_in(trace, work).await
    }

    fn push(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// Runs `work` as a handler of `tracer` whose invocation got `header`.
pub(crate) async fn invoke<F: Future>(tracer: Tracer, header: &str, work: F) -> F::Output {
    invoke_in(
        Trace::new(Arc::new(tracer), header.parse().ok(), "r-1"),
        work,
    )
    .await
}

/// Runs `work` as a handler whose invocation has `trace`.
pub(crate) async fn invoke_in<F: Future>(trace: Trace, work: F) -> F::Output {
    let trace = Arc::new(trace);
    let context = match Subsegment::begin_handler(&trace) {
        Some(handler) => {
            let output = handler.context().scope(work).await;
            handler.finish();
            return output;
        }
        None => Context::passing(trace),
    };
    context.scope(work).await
}

/// Returns the runtime's context of an invocation that got `header`.
pub(crate) fn context(header: &str) -> LambdaContext {
    let mut context = LambdaContext::default();
    context.request_id = "r-1".to_owned();
    context.xray_trace_id = Some(header.to_owned());
    context
}

/// An invocation before its event is parsed.
pub(crate) fn invocation(header: &str, body: impl Into<Bytes>) -> LambdaInvocation {
    let (parts, ()) = http::Response::new(()).into_parts();
    LambdaInvocation {
        parts,
        body: body.into(),
        context: context(header),
    }
}

impl Sink for Kept {
    fn begin(&self) {
        self.push(Event::Begin);
    }

    fn announce(&self, request_id: &str) {
        self.push(Event::Announce(request_id.to_owned()));
    }

    fn open(&self, _id: SegmentId, document: &[u8]) {
        self.push(Event::Open(serde_json::from_slice(document).unwrap()));
    }

    fn close(&self, _id: SegmentId, document: &[u8]) {
        self.push(Event::Close(serde_json::from_slice(document).unwrap()));
    }

    fn discard(&self, ids: &[SegmentId]) {
        ids.iter().for_each(|id| self.push(Event::Discard(*id)));
    }

    fn flush(&self) -> Flushed {
        Flushed::All
    }

    fn end(&self, request_id: &str) {
        self.push(Event::End(request_id.to_owned()));
    }
}
