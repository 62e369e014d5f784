//! Trace and subsegment that the running code belongs to.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{self, Poll};

use lambda_runtime::Context as LambdaContext;
use pin_project_lite::pin_project;
use tracestitch_wire::header::{Sampling, TraceHeader};

use super::{deadline::Deadline, open::Open, trace::Trace};

thread_local! {
    /// Set while a future is polled or a closure runs, then restored. A task-local would not do:
    /// entering a span of `tracing` sets it, too.
    static CURRENT: RefCell<Context> = const {
        RefCell::new(Context { inner: Inner::Outside, deadline: None })
    };
}

/// The trace and the subsegment that the running code belongs to.
///
/// [`Context::current`] returns the invocation's context in a wrapped handler, the subsegment's
/// context in [`capture`](crate::capture()), and the message's context in a message's closure. It
/// follows the code through `.await`, `join!` and `select!`. It does not follow a spawned task:
/// pass it on with [`Context::scope`].
///
/// Outside an invocation every method is legal and does nothing.
///
/// ```
/// use tracestitch::Context;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let context = Context::current();
/// let task = tokio::spawn(context.scope(async {
///     tracestitch::annotate("worker", 1);
/// }));
/// task.await.unwrap();
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Context {
    pub(crate) inner: Inner,
    /// Time at which the invocation ends, if known. Kept apart from the trace: with tracing switched
    /// off there is no trace, and what a batch gives up must not depend on that.
    deadline: Option<Deadline>,
}

#[derive(Clone, Default)]
pub(crate) enum Inner {
    /// No invocation.
    #[default]
    Outside,
    /// In an invocation or message, where nothing is recorded: calls carry the header unchanged.
    Passing(Arc<Passing>),
    /// In a subsegment that is recorded.
    Recording(Arc<Open>),
}

/// A trace outside of all its subsegments.
#[derive(Debug)]
pub(crate) struct Passing {
    trace: Arc<Trace>,
    /// The subsegment of the handler that this context is around, once that has begun.
    handler: OnceLock<Weak<Open>>,
}

/// The subsegment that the running code belongs to.
pub(crate) enum Bound {
    /// A recorded one.
    Recording(Arc<Open>),
    /// None, in an invocation.
    Passing,
    /// None, outside an invocation: the init phase may record.
    Outside,
}

impl Context {
    /// Returns the subsegment of [`bound`](Self::bound). Takes less time than the whole context.
    #[inline]
    pub(crate) fn bound_subsegment() -> Bound {
        let bound = |current: &RefCell<Self>| {
            let current = current.borrow();
            match &current.inner {
                Inner::Recording(open) => Bound::Recording(open.clone()),
                Inner::Outside if current.deadline.is_none() => Bound::Outside,
                Inner::Outside | Inner::Passing(_) => Bound::Passing,
            }
        };
        CURRENT.try_with(bound).unwrap_or(Bound::Outside)
    }

    /// Returns the context that the running code was given, or the one outside an invocation if
    /// none, also in the init phase.
    #[inline]
    pub(crate) fn bound() -> Self {
        // The storage of an ending thread is gone.
        CURRENT
            .try_with(|current| current.borrow().clone())
            .unwrap_or_default()
    }

    /// Makes this the current context of the thread and returns the previous one. A context without
    /// a deadline keeps the thread's: the span of another phase does not end the invocation.
    #[inline]
    pub(crate) fn swap(mut self) -> Self {
        let replace = |current: &RefCell<Self>| {
            self.deadline = self.deadline.or(current.borrow().deadline);
            current.replace(self)
        };
        CURRENT.try_with(replace).unwrap_or_default()
    }

    /// Makes this the current context of the thread again.
    #[inline]
    pub(crate) fn restore(self) {
        // The storage of an ending thread is gone.
        let _ = CURRENT.try_with(|current| current.replace(self));
    }

    /// Returns true if both are in the same subsegment, or in the same unrecorded trace.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (&self.inner, &other.inner) {
            (Inner::Recording(one), Inner::Recording(two)) => Arc::ptr_eq(one, two),
            (Inner::Passing(one), Inner::Passing(two)) => Arc::ptr_eq(&one.trace, &two.trace),
            _ => false,
        }
    }

    /// Registers `handler` as the one that this context is around.
    pub(crate) fn put_around(&self, handler: &Self) {
        if let (Inner::Passing(passing), Inner::Recording(open)) = (&self.inner, &handler.inner) {
            // An invocation has one handler.
            let _ = passing.handler.set(Arc::downgrade(open));
        }
    }

    /// If this is an invocation's context, returns its handler's instead. `lambda_runtime` creates
    /// its own span outside the handler; without this, code under that span would lose its parent.
    pub(crate) fn in_handler(self) -> Self {
        let handler = match &self.inner {
            Inner::Passing(passing) => passing.handler.get().and_then(Weak::upgrade),
            _ => None,
        };
        handler.map_or(self, Self::in_subsegment)
    }

    fn enter(self) -> Entered {
        Entered(self.swap())
    }

    pub(crate) fn passing(trace: Arc<Trace>) -> Self {
        Self {
            deadline: trace.deadline,
            inner: Inner::Passing(Arc::new(Passing {
                trace,
                handler: OnceLock::new(),
            })),
        }
    }

    #[inline]
    pub(crate) fn in_subsegment(open: Arc<Open>) -> Self {
        Self {
            deadline: open.trace().deadline,
            inner: Inner::Recording(open),
        }
    }

    /// Returns this context with the deadline of the invocation, unless it has one.
    pub(crate) fn within(self, invocation: &LambdaContext) -> Self {
        Self {
            deadline: self.deadline.or_else(|| Deadline::of(invocation)),
            ..self
        }
    }

    /// Returns the time at which the invocation ends, if known.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Runs `work` in this context, in whatever task it is polled.
    pub fn scope<F: Future>(self, work: F) -> Scope<F> {
        Scope {
            work: Some(work),
            context: self,
        }
    }

    /// Runs `work` in this context, on this thread.
    pub fn sync_scope<T>(self, work: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        work()
    }

    /// Returns the header that a call from here carries, for transports that this crate does not
    /// know.
    ///
    /// Returns `None` outside an invocation, and inside one without a trace.
    ///
    /// ```
    /// // `X-Amzn-Trace-Id: Root=..;Parent=..;Sampled=1` inside a traced invocation
    /// let header = tracestitch::Context::current().trace_header();
    /// assert!(header.is_none(), "this example runs outside one");
    /// ```
    pub fn trace_header(&self) -> Option<TraceHeader> {
        match &self.inner {
            Inner::Outside => None,
            Inner::Passing(passing) => passing.trace.header.clone(),
            Inner::Recording(open) => open.header(),
        }
    }

    /// Returns the header of an HTTP response to a caller that left the sampling decision to this
    /// function (`Sampled=?`): `Root=..;Sampled=1`, or `Sampled=0` if no sampling rule recorded the
    /// request. Returns `None` in every other invocation.
    ///
    /// `http::run` (feature `lambda-http`) adds it to each response as `X-Amzn-Trace-Id`. A handler
    /// that builds the JSON of its response adds it to the `headers`. A gateway in between may
    /// replace it.
    ///
    /// Source: the HTTP middleware of the X-Ray SDKs.
    ///
    /// ```
    /// let answer = tracestitch::Context::current().answer_header();
    /// assert!(answer.is_none(), "this example runs outside an invocation");
    /// ```
    pub fn answer_header(&self) -> Option<TraceHeader> {
        let trace = self.trace().filter(|trace| trace.asked)?;
        let header = trace.header.as_ref()?;
        let decision = match header.sampling {
            Sampling::Sampled => Sampling::Sampled,
            _ => Sampling::NotSampled,
        };
        Some(TraceHeader::new(header.root, None, decision))
    }

    /// Returns true if subsegments are recorded: in a sampled invocation or message.
    pub fn is_recording(&self) -> bool {
        matches!(self.inner, Inner::Recording(_))
    }

    /// Returns the same trace with the decision not to record, for calls that are too many, such as
    /// the calls of a fan-out. Code in this context records nothing, and its calls carry
    /// `Sampled=0`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let quiet = tracestitch::Context::current().unsampled();
    /// quiet.scope(async { /* these calls are not recorded, here and downstream */ }).await;
    /// # }
    /// ```
    #[must_use]
    pub fn unsampled(&self) -> Self {
        let Some(trace) = self.trace() else {
            return self.clone();
        };
        let trace = match self.trace_header() {
            Some(mut header) => {
                header.sampling = Sampling::NotSampled;
                trace.carried(header)
            }
            // The init phase has no header yet.
            None => trace.unrecorded(),
        };
        Self {
            deadline: self.deadline,
            ..Self::passing(Arc::new(trace))
        }
    }

    pub(crate) fn trace(&self) -> Option<&Arc<Trace>> {
        match &self.inner {
            Inner::Outside => None,
            Inner::Passing(passing) => Some(&passing.trace),
            Inner::Recording(open) => Some(open.trace()),
        }
    }

    #[inline]
    pub(crate) fn recording(&self) -> Option<&Arc<Open>> {
        match &self.inner {
            Inner::Recording(open) => Some(open),
            _ => None,
        }
    }
}

/// Restores the previous context, also during unwinding.
struct Entered(Context);

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        std::mem::take(&mut self.0).restore();
    }
}

pin_project! {
    /// Future of [`Context::scope`].
    #[derive(Debug)]
    pub struct Scope<F> {
        #[pin]
        work: Option<F>,
        context: Context,
    }

    impl<F> PinnedDrop for Scope<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.work.is_some() {
                let _entered = this.context.clone().enter();
                // Drops of the work's values belong to its context.
                this.work.set(None);
            }
        }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _entered = this.context.clone().enter();
        let work = this.work.as_mut().as_pin_mut();
        let polled = work
            .expect("a future is not polled after it was ready")
            .poll(cx);
        if polled.is_ready() {
            this.work.set(None);
        } else if let Some(trace) = this.context.trace() {
            trace.changes.hand_over();
        }
        polled
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.inner {
            Inner::Outside => "outside an invocation",
            Inner::Passing(_) => "passing on",
            Inner::Recording(_) => "recording",
        };
        write!(f, "Context({state})")
    }
}
