//! One invocation, from its event to the moment after its reply.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::{Duration, Instant};

use crate::{
    incoming::{self, invocation::Carried},
    settings::sampling::{self, Candidate},
    support::clock,
    trace::{
        context::{Context, Scope},
        init,
        subsegment::Subsegment,
        trace::{Deadline, Trace},
        tracer::Tracer,
    },
    transport::sink::Flushed,
};
use lambda_runtime::Context as LambdaContext;
use pin_project_lite::pin_project;
use tracestitch_wire::header::{Sampling, TraceHeader};

/// An invocation that is under way. When it is dropped, the extension is told that it is over.
#[derive(Debug)]
pub(crate) struct Invocation {
    trace: Arc<Trace>,
    /// The context around the handler.
    context: Context,
}

impl Invocation {
    pub(crate) fn begin(
        tracer: &Arc<Tracer>,
        context: &LambdaContext,
        event: Option<&[u8]>,
    ) -> Self {
        tracer.sink.begin();
        let Carried { header, by_runtime } =
            incoming::invocation::of_invocation(tracer, context, event);
        let decided = header.as_ref().is_some_and(sampling::is_decided);
        let asks = |header: &TraceHeader| header.sampling == Sampling::Requested;
        let asked = header.as_ref().is_some_and(asks);
        let header = if decided || tracer.sampling.is_empty() {
            header
        } else {
            let (source, path) = incoming::shape::of_event(event.unwrap_or_default());
            let candidate = Candidate {
                function: &tracer.function_name,
                source,
                path: path.as_deref(),
            };
            tracer.sampling.begin(header, candidate, clock::now())
        };
        let trace = Arc::new(Trace {
            deadline: deadline(context),
            // What has no decision of the runtime's own, Lambda does not record.
            has_facade_segment: decided && by_runtime,
            asked,
            ..Trace::new(tracer.clone(), header, &context.request_id)
        });
        init::hand_over(&trace);
        Self::of(trace)
    }

    /// Work of a process that is no Lambda function: it has its begin and its end all the same.
    #[cfg(feature = "sqs-poll")]
    pub(crate) fn of_service(trace: Arc<Trace>) -> Self {
        trace.tracer.sink.begin();
        Self::of(trace)
    }

    fn of(trace: Arc<Trace>) -> Self {
        Self {
            context: Context::passing(trace.clone()),
            trace,
        }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Runs `work` as this invocation's.
    pub(crate) fn run<F: Future>(self, work: F) -> InvocationFuture<F> {
        InvocationFuture {
            work: self.context.clone().scope(work),
            output: None,
            invocation: Some(self),
        }
    }
}

/// When Lambda ends the invocation, by the clock that waits go by. A deadline that is over before
/// the invocation has begun is none: some local runtimes send such.
fn deadline(context: &LambdaContext) -> Option<Deadline> {
    let left = context
        .deadline
        .checked_sub(clock::now().as_micros() / 1000)?;
    let began = clock::monotonic();
    let ends = began.checked_add(Duration::from_millis(left))?;
    Some(Deadline { began, ends })
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.trace.tracer.sink.end(&self.trace.request_id);
    }
}

/// Begins the handler's subsegment: named after the function, under the segment that Lambda
/// sends for it. Without such a segment (no active tracing, `Parent` absent) it is a segment.
pub(crate) fn begin_handler(trace: &Arc<Trace>) -> Option<Subsegment> {
    let header = trace.recorded()?;
    let mut document = trace.begin(header, clock::now());
    document
        .annotations
        .insert("cold_start".into(), trace.tracer.is_cold_start().into());
    Some(Subsegment::start(trace.clone(), document))
}

/// How long documents wait after the reply for somebody who takes them, when the socket is full
/// because the extension does not read. What has not left by then goes to the daemon directly:
/// there may be no later invocation to take it along.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long they may take to leave in all.
const DRAIN: Duration = Duration::from_secs(1);

/// Since when documents leave, and since when none has left.
#[derive(Debug, Clone, Copy)]
struct Wait {
    began: Instant,
    idle: Instant,
}

impl Wait {
    /// True while it is worth while to look again.
    fn goes_on(&mut self, flushed: Flushed, now: Instant) -> bool {
        match flushed {
            Flushed::All => return false,
            Flushed::Some => self.idle = now,
            Flushed::Nothing => {}
        }
        now.saturating_duration_since(self.idle) < PATIENCE
            && now.saturating_duration_since(self.began) < DRAIN
    }
}

pin_project! {
    /// A future that is an invocation; work that it drops is dropped before the invocation ends.
    #[derive(Debug)]
    pub struct InvocationFuture<F: Future> {
        #[pin]
        work: Scope<F>,
        output: Option<(F::Output, Wait)>,
        invocation: Option<Invocation>,
    }
}

impl<F: Future> InvocationFuture<F> {
    /// Runs `work` in the current context: as part of an invocation that is already under way,
    /// or of none.
    pub(crate) fn part(work: F) -> Self {
        Self {
            work: Context::current().scope(work),
            output: None,
            invocation: None,
        }
    }
}

impl<F: Future> Future for InvocationFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let (output, mut wait) = match this.output.take() {
            Some(waiting) => waiting,
            None => {
                let output = ready!(this.work.poll(cx));
                let now = clock::monotonic();
                (
                    output,
                    Wait {
                        began: now,
                        idle: now,
                    },
                )
            }
        };
        if let Some(invocation) = this.invocation {
            let flushed = invocation.trace.tracer.sink.flush();
            if wait.goes_on(flushed, clock::monotonic()) {
                *this.output = Some((output, wait));
                // Others get their turn between two looks: the extension, and other invocations.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        *this.invocation = None;
        Poll::Ready(output)
    }
}
