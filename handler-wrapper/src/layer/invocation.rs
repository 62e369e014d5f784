//! One invocation, from its event to the moment after its reply.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::{Duration, Instant};

use crate::{
    incoming::{self, invocation::Carried},
    settings::sampling::{self, Candidate},
    support::{alarm::Alarm, clock},
    trace::{
        context::{Context, Scope},
        deadline::Deadline,
        init,
        trace::Trace,
        tracer::Tracer,
    },
    transport::sink::Flushed,
};
use lambda_runtime::Context as LambdaContext;
use pin_project_lite::pin_project;
use tracestitch_wire::header::{Sampling, TraceHeader};

/// An invocation under way. Its drop reports the end to the extension.
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
        tracer.sink.announce(&context.request_id);
        let Carried {
            header,
            by_runtime,
            source,
            path,
        } = incoming::invocation::of_invocation(tracer, context, event);
        let decided = header.as_ref().is_some_and(sampling::is_decided);
        let asks = |header: &TraceHeader| header.sampling == Sampling::Requested;
        let asked = header.as_ref().is_some_and(asks);
        let header = if decided || tracer.sampling.is_empty() {
            header
        } else {
            let candidate = Candidate {
                function: &tracer.function_name,
                source,
                path: path.as_deref(),
            };
            tracer.sampling.begin(header, candidate, clock::now())
        };
        let trace = Arc::new(Trace {
            deadline: Deadline::of(context),
            // Lambda records no segment without a decision of the runtime's own.
            has_facade_segment: decided && by_runtime,
            asked,
            function_arn: context.invoked_function_arn.as_str().into(),
            ..Trace::new(tracer.clone(), header, &context.request_id)
        });
        init::hand_over(&trace);
        Self::of(trace)
    }

    /// Begins work of a process that is not a Lambda function. It is not announced: the extension of a
    /// function in the same environment must not wait for it.
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

    /// Runs `work` in this invocation.
    pub(crate) fn run<F: Future>(self, work: F) -> InvocationFuture<F> {
        InvocationFuture {
            work: self.context.clone().scope(work),
            output: None,
            invocation: Some(self),
        }
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.trace.tracer.sink.end(&self.trace.request_id);
    }
}

/// Longest time without progress for which documents for the daemon wait after the reply, while its
/// name is being resolved. Documents for the extension never wait.
const PATIENCE: Duration = Duration::from_millis(100);

/// Longest time for which documents wait in all. Then they are sent without a pause: there may be no
/// later invocation to take them along.
const DRAIN: Duration = Duration::from_secs(1);

/// First pause between two attempts. Each attempt without progress doubles it.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// The wait for documents to leave after the reply.
#[derive(Debug, Clone, Copy)]
struct Wait {
    began: Instant,
    /// Time of the last progress.
    idle: Instant,
    pause: Duration,
}

impl Wait {
    fn begin(now: Instant) -> Self {
        Self {
            began: now,
            idle: now,
            pause: SHORTEST_PAUSE,
        }
    }

    /// Returns the pause before the next attempt; `None` if the wait is over.
    fn next_pause(&mut self, flushed: Flushed, now: Instant) -> Option<Duration> {
        match flushed {
            Flushed::All => return None,
            Flushed::Some => (self.idle, self.pause) = (now, SHORTEST_PAUSE),
            Flushed::Nothing => {}
        }
        let goes_on = now.saturating_duration_since(self.idle) < PATIENCE
            && now.saturating_duration_since(self.began) < DRAIN;
        let next = (self.pause * 2).min(LONGEST_PAUSE);
        goes_on.then(|| std::mem::replace(&mut self.pause, next))
    }
}

pin_project! {
    /// The future of an invocation. Its work is dropped before the invocation ends.
    #[derive(Debug)]
    pub struct InvocationFuture<F: Future> {
        #[pin]
        work: Scope<F>,
        output: Option<(F::Output, Wait, Alarm)>,
        invocation: Option<Invocation>,
    }
}

impl<F: Future> InvocationFuture<F> {
    /// Runs `work` in the current context, as a part of an invocation that is already under way.
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
            Some((output, wait, mut alarm)) => {
                if Pin::new(&mut alarm).poll(cx).is_pending() {
                    *this.output = Some((output, wait, alarm));
                    return Poll::Pending;
                }
                (output, wait)
            }
            None => {
                let output = ready!(this.work.poll(cx));
                (output, Wait::begin(clock::monotonic()))
            }
        };
        while let Some(invocation) = this.invocation {
            let flushed = invocation.trace.tracer.sink.flush();
            let now = clock::monotonic();
            let Some(pause) = wait.next_pause(flushed, now) else {
                break;
            };
            // The pause leaves the processor to the daemon.
            let mut alarm = Alarm::at(now + pause);
            if Pin::new(&mut alarm).poll(cx).is_pending() {
                *this.output = Some((output, wait, alarm));
                return Poll::Pending;
            }
        }
        *this.invocation = None;
        Poll::Ready(output)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracestitch_wire::{header::TraceHeader, id::SegmentId};

    use super::*;
    use crate::{
        tests::{
            header::SAMPLED,
            kept::{Kept, context},
        },
        trace::subsegment::Subsegment,
        transport::sink::Sink,
    };

    #[test]
    fn segments_of_an_invocation_have_its_id_and_the_functions_arn() {
        const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:f";
        let tracer = Arc::new(Kept::default().tracer());
        let mut context = context(SAMPLED);
        context.invoked_function_arn = ARN.to_owned();
        let invocation = Invocation::begin(&tracer, &context, None);
        let header: TraceHeader = SAMPLED.parse().unwrap();
        // As for a message of the invocation.
        let trace = invocation.trace.carried(header.clone());
        for trace in [&*invocation.trace, &trace] {
            let segment = trace.segment(&header, None, clock::now());
            assert_eq!(segment.aws.get("request_id"), Some("r-1".into()));
            assert_eq!(segment.aws.get("function_arn"), Some(ARN.into()));
            assert_eq!(segment.resource_arn.unwrap().as_str(), ARN);
        }
        let outside = Trace::new(tracer, None, "").segment(&header, None, clock::now());
        assert_eq!(outside.aws.get("request_id"), None);
        assert_eq!(outside.resource_arn, None);
    }

    /// A sink whose documents never leave.
    #[derive(Debug, Default)]
    struct Full(AtomicUsize);

    impl Sink for Full {
        fn begin(&self) {}
        fn announce(&self, _request_id: &str) {}
        fn open(&self, _: SegmentId, _: &[u8]) {}
        fn close(&self, _: SegmentId, _: &[u8]) {}
        fn discard(&self, _: &[SegmentId]) {}
        fn flush(&self) -> Flushed {
            self.0.fetch_add(1, Ordering::Relaxed);
            Flushed::Nothing
        }
        fn end(&self, _: &str) {}
    }

    /// An attempt each millisecond would be 100 in the time that documents may wait.
    #[tokio::test]
    async fn wait_for_documents_that_never_leave_pauses_between_attempts_and_is_bounded() {
        let sink = Arc::new(Full::default());
        let tracer = Arc::new(Tracer::new("f".to_owned(), true, sink.clone()));
        let began = Instant::now();
        let invocation = Invocation::begin(&tracer, &context(SAMPLED), None);
        assert_eq!(invocation.run(async { 7 }).await, 7);
        assert!(began.elapsed() >= PATIENCE);
        let attempts = sink.0.load(Ordering::Relaxed);
        assert!((2..=100).contains(&attempts), "{attempts} attempts");
    }

    #[test]
    fn progress_prolongs_the_wait_up_to_its_limit() {
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        let millis = Duration::from_millis;
        let mut wait = Wait::begin(began);
        for (flushed, at, pause, reason) in [
            (Flushed::Nothing, 0, Some(1), "first attempt"),
            (Flushed::Nothing, 1, Some(2), "no progress"),
            (Flushed::Nothing, 3, Some(4), "no progress"),
            (Flushed::Some, 90, Some(1), "progress"),
            (Flushed::Nothing, 189, Some(2), "99 ms without progress"),
            (Flushed::Nothing, 190, None, "100 ms without progress"),
            (Flushed::Some, 999, Some(1), "progress"),
            (Flushed::Some, 1000, None, "one second in all"),
            (Flushed::All, 10, None, "everything has left"),
        ] {
            let next = wait.next_pause(flushed, after(at));
            assert_eq!(next, pause.map(millis), "{reason}");
        }
        for _ in 0..10 {
            wait.next_pause(Flushed::Nothing, after(999));
        }
        assert!(wait.pause <= LONGEST_PAUSE);
    }

    #[test]
    fn only_an_environment_that_was_waited_for_starts_cold() {
        for (cold_until, expected, reason) in [
            (u64::MAX, [true, false], "the first of two"),
            (0, [false, false], "an environment that was made ahead"),
        ] {
            let kept = Kept::default();
            let mut tracer = kept.tracer();
            tracer.cold_until = tracestitch_wire::time::Timestamp::from_micros(cold_until);
            let tracer = Arc::new(tracer);
            for _ in expected {
                let trace = Trace::new(tracer.clone(), SAMPLED.parse().ok(), "r-1");
                Subsegment::begin_handler(&Arc::new(trace))
                    .unwrap()
                    .finish();
            }
            let found: Vec<_> = kept.closed();
            let found: Vec<_> = found
                .iter()
                .map(|document| document["annotations"]["cold_start"] == true)
                .collect();
            assert_eq!(found, expected, "{reason}");
        }
    }
}
