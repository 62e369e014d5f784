//! A subsegment under way: the state behind a guard.

use std::borrow::Cow;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tracestitch_wire::{
    document::{AnnotationValue, Cause, Document},
    header::TraceHeader,
    id::{SegmentId, TraceId},
    time::Timestamp,
};

use super::trace::Trace;
use crate::support::{clock, user_code};

/// The state that a guard and the contexts under it share.
#[derive(Debug)]
pub(crate) struct Open {
    trace: Arc<Trace>,
    pub(crate) id: SegmentId,
    pub(crate) trace_id: TraceId,
    /// Number of subsegments between this one and the uppermost of its trace.
    depth: u16,
    /// `None` once the subsegment is over. Boxed, because it is moved into here and out again.
    document: Mutex<Option<Box<Document>>>,
}

impl Open {
    /// Begins `document` as the uppermost of `trace`.
    pub(crate) fn begin(trace: Arc<Trace>, document: Document) -> Arc<Self> {
        Self::begin_at(0, trace, Box::new(document))
    }

    /// Begins a child, after `prepare` has completed its document. Returns `None` if the trace has
    /// no room for it.
    pub(crate) fn begin_child(
        &self,
        name: Cow<'static, str>,
        prepare: impl FnOnce(&mut Document),
    ) -> Option<Arc<Self>> {
        let depth = self.depth + 1;
        if !self.trace.admit(depth) {
            return None;
        }
        let (name, now) = (name.into(), clock::now());
        let mut document = Box::new(Document::subsegment(name, self.trace_id, self.id, now));
        prepare(&mut document);
        Some(Self::begin_at(depth, self.trace.clone(), document))
    }

    fn begin_at(depth: u16, trace: Arc<Trace>, document: Box<Document>) -> Arc<Self> {
        trace.open(&document);
        Arc::new(Self {
            trace,
            id: document.id,
            trace_id: document.trace_id,
            depth,
            document: Mutex::new(Some(document)),
        })
    }

    pub(crate) fn trace(&self) -> &Arc<Trace> {
        &self.trace
    }

    /// What a call from here carries.
    pub(crate) fn header(&self) -> Option<TraceHeader> {
        let header = self.trace.header.as_ref()?;
        if self.trace.is_tail_sampled() {
            // Most likely this subsegment will never be sent: nobody is to hang under it.
            return Some(header.clone());
        }
        Some(header.with_parent(self.id))
    }

    pub(crate) fn amend(&self, change: impl FnOnce(&mut Document)) {
        // Every change leaves the document whole, so one that panicked half-way does no harm.
        let mut document = self.document.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = &mut *document {
            change(document);
        }
    }

    pub(crate) fn annotate(&self, key: Cow<'static, str>, value: AnnotationValue) {
        self.amend(|document| document.annotate(key.into(), value));
    }

    pub(crate) fn metadata(&self, key: Cow<'static, str>, value: &impl Serialize) {
        // The user's serialiser runs before the lock is taken: it may annotate, too.
        let value = user_code::contained(|| serde_json::to_value(value))
            .unwrap_or_else(|| Ok("a panic while it was serialised".into()))
            .unwrap_or_else(|error| error.to_string().into());
        self.amend(|document| document.put_metadata("default".into(), key.into(), value));
    }

    pub(crate) fn record_error(&self, error: &(dyn Error + 'static)) {
        self.fail_with(|| Cause::from_error(error));
    }

    /// `cause` runs before the document is locked: errors of the user write their messages in it,
    /// and may annotate meanwhile.
    pub(crate) fn fail_with(&self, cause: impl FnOnce() -> Cause) {
        let cause = user_code::cause_of(cause);
        self.amend(|document| document.fail(cause));
    }

    /// Takes the document; what comes later is left out.
    pub(crate) fn take(&self) -> Option<Box<Document>> {
        self.document
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn finish(&self) {
        if self.depth == 0 {
            self.trace.followers.end();
        }
        self.finish_at(clock::now());
    }

    pub(crate) fn finish_at(&self, end: Timestamp) {
        if let Some(mut document) = self.take() {
            document.finish(end);
            let left_out = self.trace.left_out();
            if self.depth == 0 && left_out > 0 {
                let key = "subsegments_left_out".into();
                document.put_metadata("tracestitch".into(), key, left_out.into());
            }
            self.trace.close(&mut document);
        }
    }

    pub(crate) fn discard(&self) {
        if self.take().is_some() {
            self.trace.discard(self.id);
        }
    }
}
