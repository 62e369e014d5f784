//! One piece of work on the timeline: the guard that a user holds, and what it shares.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tracestitch_wire::{
    document::{AnnotationValue, Cause, Document, Exception},
    header::TraceHeader,
    id::{SegmentId, TraceId},
    time::Timestamp,
};

use crate::{
    clock,
    context::{Context, Inner},
    failure::Failure,
    panics,
    trace::Trace,
};

/// A subsegment that has begun: a piece of work on the timeline of the current trace.
///
/// Most code needs no guard: [`capture`](crate::capture()) begins and ends one around a future.
/// Hold a guard where the work is not one future or closure.
///
/// A guard that is dropped without [`finish`](Self::finish) ends as a fault, with a cause that
/// says whether a panic or a cancelled future dropped it. Where nothing is recorded the guard is
/// empty, and every method returns at once.
///
/// ```
/// let pricing = tracestitch::Subsegment::begin("price the order");
/// pricing.annotate("items", 3);
/// pricing.finish();
/// ```
#[derive(Default)]
#[must_use = "a subsegment that is dropped at once ends as a fault"]
pub struct Subsegment {
    open: Option<Arc<Open>>,
    /// Where it was begun, if it is not recorded.
    around: Context,
}

impl Subsegment {
    /// Begins a child of the current subsegment.
    pub fn begin(name: impl Into<Cow<'static, str>>) -> Self {
        Self::begin_in(&Context::current(), name)
    }

    /// Begins a child of `context`'s subsegment.
    pub(crate) fn begin_in(context: &Context, name: impl Into<Cow<'static, str>>) -> Self {
        Self::begin_with(context, name, |_| {})
    }

    /// Begins a child of `context`'s subsegment, with what `prepare` puts on it before the
    /// extension learns of it.
    pub(crate) fn begin_with(
        context: &Context,
        name: impl Into<Cow<'static, str>>,
        prepare: impl FnOnce(&mut Document),
    ) -> Self {
        let unrecorded = || Self {
            open: None,
            around: context.clone(),
        };
        let Inner::Recording(parent) = &context.0 else {
            return unrecorded();
        };
        let depth = parent.depth + 1;
        if !parent.trace.admit(depth) {
            return unrecorded();
        }
        let name = name.into().into();
        let mut document = Box::new(Document::subsegment(
            name,
            parent.trace_id,
            parent.id,
            clock::now(),
        ));
        prepare(&mut document);
        Self::start_at(depth, parent.trace.clone(), document)
    }

    /// Begins `document` as the uppermost of `trace`.
    pub(crate) fn start(trace: Arc<Trace>, document: Document) -> Self {
        Self::start_at(0, trace, Box::new(document))
    }

    fn start_at(depth: u16, trace: Arc<Trace>, document: Box<Document>) -> Self {
        trace.open(&document);
        let open = Open {
            trace,
            id: document.id,
            trace_id: document.trace_id,
            depth,
            document: Mutex::new(Some(document)),
        };
        Self {
            open: Some(Arc::new(open)),
            around: Context::default(),
        }
    }

    /// The context under this subsegment: what runs in it hangs under it. Where it is not
    /// recorded, the context in which it was begun.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let checkout = tracestitch::Subsegment::begin("checkout");
    /// checkout.context().scope(async { /* its calls are children */ }).await;
    /// checkout.finish();
    /// # }
    /// ```
    pub fn context(&self) -> Context {
        match &self.open {
            Some(open) => Context(Inner::Recording(open.clone())),
            None => self.around.clone(),
        }
    }

    /// Puts an annotation on it; see [`annotate`](crate::annotate).
    pub fn annotate(&self, key: impl Into<Cow<'static, str>>, value: impl Into<AnnotationValue>) {
        if let Some(open) = &self.open {
            open.annotate(key.into(), value.into());
        }
    }

    /// Puts a value that is not indexed on it; see [`metadata`](crate::metadata()).
    pub fn metadata(&self, key: impl Into<Cow<'static, str>>, value: impl Serialize) {
        if let Some(open) = &self.open {
            open.metadata(key.into(), &value);
        }
    }

    /// Marks it as a fault, with `error` and the chain of its sources as cause.
    pub fn record_error(&self, error: &(dyn Error + 'static)) {
        if let Some(open) = &self.open {
            open.record_error(error);
        }
    }

    /// Marks it as a fault by a value that says how it failed.
    pub(crate) fn record_failure<Kind>(&self, failure: &impl Failure<Kind>) {
        self.fail_with(|| failure.cause());
    }

    /// Marks it as a fault.
    pub(crate) fn fail_with(&self, cause: impl FnOnce() -> Cause) {
        if let Some(open) = &self.open {
            open.fail_with(cause);
        }
    }

    pub(crate) fn record_panic(&self, payload: &(dyn Any + Send)) {
        self.fail_with(|| panics::cause(payload));
    }

    /// Changes the document; not called where nothing is recorded, or when it is over.
    pub(crate) fn amend(&self, change: impl FnOnce(&mut Document)) {
        if let Some(open) = &self.open {
            open.amend(change);
        }
    }

    /// True where it is recorded.
    pub fn is_recording(&self) -> bool {
        self.open.is_some()
    }

    /// Its id; `None` where it is not recorded.
    pub fn id(&self) -> Option<SegmentId> {
        self.open.as_ref().map(|open| open.id)
    }

    /// Ends it. Annotations that come later, from tasks that still run in its context, are
    /// left out.
    pub fn finish(mut self) {
        if let Some(open) = self.open.take() {
            open.finish();
        }
    }

    /// Makes it as if it had never begun.
    #[cfg_attr(
        not(feature = "aws-sdk"),
        allow(
            dead_code,
            reason = "only presigned AWS requests turn out to be no work"
        )
    )]
    pub(crate) fn discard(mut self) {
        if let Some(open) = self.open.take() {
            open.discard();
        }
    }
}

impl Drop for Subsegment {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let cause = panics::unwinding().unwrap_or_else(|| {
            let message = "dropped before it was finished: its future was cancelled, or its code returned early";
            Cause::from_exception(Exception::new("Cancelled", message))
        });
        open.amend(|document| document.fail(cause));
        open.finish();
    }
}

impl fmt::Debug for Subsegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subsegment").field(&self.id()).finish()
    }
}

/// What the guard and the contexts under it share.
#[derive(Debug)]
pub(crate) struct Open {
    trace: Arc<Trace>,
    pub(crate) id: SegmentId,
    pub(crate) trace_id: TraceId,
    /// How many stand between it and the uppermost of its trace.
    depth: u16,
    /// None when it is over. Boxed, because it is moved into here and out again.
    document: Mutex<Option<Box<Document>>>,
}

impl Open {
    pub(crate) fn trace(&self) -> &Arc<Trace> {
        &self.trace
    }

    /// What a call from here carries.
    pub(crate) fn header(&self) -> Option<TraceHeader> {
        let header = self.trace.header.as_ref()?;
        if self.trace.is_held() {
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
        let value = panics::contained(|| serde_json::to_value(value))
            .unwrap_or_else(|| Ok("a panic while it was serialised".into()))
            .unwrap_or_else(|error| error.to_string().into());
        self.amend(|document| document.put_metadata("default".into(), key.into(), value));
    }

    pub(crate) fn record_error(&self, error: &(dyn Error + 'static)) {
        self.fail_with(|| Cause::from_error(error));
    }

    /// `cause` runs before the document is locked: errors of the user write their messages in it,
    /// and may annotate meanwhile.
    fn fail_with(&self, cause: impl FnOnce() -> Cause) {
        let cause = panics::cause_of(cause);
        self.amend(|document| document.fail(cause));
    }

    /// Takes the document; what comes later is left out.
    pub(crate) fn take(&self) -> Option<Box<Document>> {
        self.document
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn finish(&self) {
        #[cfg(feature = "tracing")]
        if self.depth == 0 {
            self.trace.spans.end();
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

    fn discard(&self) {
        if self.take().is_some() {
            self.trace.discard(self.id);
        }
    }
}
