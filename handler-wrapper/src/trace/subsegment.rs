//! The guard of a subsegment.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tracestitch_wire::{
    document::{AnnotationValue, Cause, Document, Exception},
    id::SegmentId,
};

use super::{context::Context, failure::Failure, open::Open, trace::Trace};
use crate::support::{clock, last_panic};

/// Namespace of metadata that names none, as in the X-Ray SDKs.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// HTTP status of a throttled request.
pub(crate) const TOO_MANY_REQUESTS: u16 = 429;

/// A subsegment in progress: a piece of work on the timeline of the current trace.
///
/// Most code needs no guard: [`capture`](crate::capture()) begins and ends one around a future.
/// Hold a guard if the work is not one future or closure.
///
/// A guard that is dropped without [`finish`](Self::finish) ends as a fault. Its cause
/// distinguishes a panic from a cancelled future. If nothing is recorded the guard is empty, and
/// every method returns at once.
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
    /// Context in which an unrecorded guard was begun.
    around: Context,
}

impl Subsegment {
    /// Begins a child of `context`'s subsegment.
    pub(crate) fn begin_in(context: &Context, name: impl Into<Cow<'static, str>>) -> Self {
        Self::begin_with(context, name, |_| {})
    }

    /// Begins a child of `context`'s subsegment. `prepare` completes its document before the
    /// extension gets it.
    pub(crate) fn begin_with(
        context: &Context,
        name: impl Into<Cow<'static, str>>,
        prepare: impl FnOnce(&mut Document),
    ) -> Self {
        let parent = context.recording();
        match parent.and_then(|parent| parent.begin_child(name.into(), prepare)) {
            Some(open) => Self::of(open),
            None => Self::unrecorded(context.clone()),
        }
    }

    /// Returns an empty guard: nothing is recorded, and work under it runs in `around`.
    pub(crate) fn unrecorded(around: Context) -> Self {
        Self { open: None, around }
    }

    /// Begins the handler's subsegment: named after the function, under the segment that Lambda
    /// sends for it. Without such a segment (no active tracing, `Parent` absent) it is a segment.
    pub(crate) fn begin_handler(trace: &Arc<Trace>) -> Option<Self> {
        let header = trace.recorded()?;
        let now = clock::now();
        let mut document = trace.begin(header, now);
        let cold_start = trace.tracer.is_cold_start(now);
        document
            .annotations
            .insert("cold_start".into(), cold_start.into());
        Some(Self::start(trace.clone(), document))
    }

    /// Begins `document` as the outermost of `trace`.
    pub(crate) fn start(trace: Arc<Trace>, document: Document) -> Self {
        Self::of(Open::begin(trace, document))
    }

    fn of(open: Arc<Open>) -> Self {
        Self {
            open: Some(open),
            around: Context::default(),
        }
    }

    /// Returns the context under this subsegment: work in it becomes a child. If the subsegment is
    /// not recorded, returns the context in which it was begun.
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
            Some(open) => Context::in_subsegment(open.clone()),
            None => self.around.clone(),
        }
    }

    /// Puts an annotation on the subsegment; see [`annotate`](crate::annotate).
    pub fn annotate(&self, key: impl Into<Cow<'static, str>>, value: impl Into<AnnotationValue>) {
        if let Some(open) = &self.open {
            open.annotate(key.into(), value.into());
        }
    }

    /// Puts a value that is not indexed on the subsegment; see [`metadata`](crate::metadata()).
    pub fn metadata(&self, key: impl Into<Cow<'static, str>>, value: impl Serialize) {
        self.metadata_in(DEFAULT_NAMESPACE, key, value);
    }

    /// Puts a value that is not indexed on the subsegment, in a namespace; see
    /// [`metadata_in`](crate::metadata_in).
    pub fn metadata_in(
        &self,
        namespace: impl Into<Cow<'static, str>>,
        key: impl Into<Cow<'static, str>>,
        value: impl Serialize,
    ) {
        if let Some(open) = &self.open {
            open.metadata(namespace.into(), key.into(), &value);
        }
    }

    /// Records the user who sent the request; see [`set_user`](crate::set_user).
    pub fn set_user(&self, user: impl Into<Cow<'static, str>>) {
        let user = user.into();
        self.amend(|document| document.set_user(user.into()));
    }

    /// Marks the subsegment as an error of the caller; see [`mark_error`](crate::mark_error).
    pub fn mark_error(&self) {
        self.amend(|document| document.error = true);
    }

    /// Marks the subsegment as throttled; see [`mark_throttle`](crate::mark_throttle).
    pub fn mark_throttle(&self) {
        self.amend(|document| document.mark(TOO_MANY_REQUESTS));
    }

    /// Marks the subsegment as a fault, with `error` and the chain of its sources as cause.
    pub fn record_error(&self, error: &(dyn Error + 'static)) {
        if let Some(open) = &self.open {
            open.record_error(error);
        }
    }

    /// Marks the subsegment as a fault, with `failure` as cause.
    pub(crate) fn record_failure<Kind>(&self, failure: &impl Failure<Kind>) {
        self.fail_with(|| failure.cause());
    }

    /// Marks the subsegment as a fault, with the cause that the closure returns.
    pub(crate) fn fail_with(&self, cause: impl FnOnce() -> Cause) {
        if let Some(open) = &self.open {
            open.fail_with(cause);
        }
    }

    /// Returns the state that contexts under the subsegment share, if it is recorded.
    #[cfg(any(feature = "sqs", feature = "streams"))]
    pub(crate) fn open(&self) -> Option<&Arc<Open>> {
        self.open.as_ref()
    }

    pub(crate) fn record_panic(&self, payload: &(dyn Any + Send)) {
        self.fail_with(|| last_panic::cause(payload));
    }

    /// Changes the document, unless nothing is recorded or the subsegment is over.
    pub(crate) fn amend(&self, change: impl FnOnce(&mut Document)) {
        if let Some(open) = &self.open {
            open.amend(change);
        }
    }

    /// Returns true if the subsegment is recorded.
    pub fn is_recording(&self) -> bool {
        self.open.is_some()
    }

    /// Returns the id, or `None` if the subsegment is not recorded.
    pub fn id(&self) -> Option<SegmentId> {
        self.open.as_ref().map(|open| open.id)
    }

    /// Ends the subsegment. Later facts from tasks that still run in its context are ignored.
    pub fn finish(mut self) {
        if let Some(open) = self.open.take() {
            open.finish();
        }
    }

    /// Withdraws the subsegment, as if it had never begun.
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
        let cause = last_panic::unwinding().unwrap_or_else(|| {
            let message = "dropped before it was finished: its future was cancelled, or its code returned early";
            Cause::from_exception(Exception::new("Cancelled", message))
        });
        open.fail_with(|| cause);
        open.finish();
    }
}

impl fmt::Debug for Subsegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subsegment").field(&self.id()).finish()
    }
}
