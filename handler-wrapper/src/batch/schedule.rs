//! Schedule of a batch: number of items at a time, order, deadline.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, future, stream::FuturesUnordered};
use tracestitch_wire::document::{Cause, Exception};

use super::{
    item::Item,
    lanes::{self, Lane},
    report::{self, Hook, Reason, Reports},
    stitch::{Batch, Mode, Stitched},
};
use crate::{
    support::{alarm::Alarm, clock, last_panic, user_code},
    trace::{capture::Recorded, context::Context, failure::Failure, open::Open, trace::Trace},
};

/// Time before the deadline at which messages are given up, unless set otherwise.
const MARGIN: Duration = Duration::from_millis(500);

pub(crate) type Choose<M> = Arc<dyn Fn(&M) -> Mode + Send + Sync>;

/// Order and limits of the items of a batch.
pub(crate) struct Schedule<M> {
    /// Largest number of items that are handled at the same time.
    pub(crate) concurrency: usize,
    /// Time before the deadline at which the rest is given up; [`Duration::MAX`] for never.
    pub(crate) margin: Duration,
    /// Chooses the trace in which an item is handled.
    pub(crate) choose: Choose<M>,
    /// Reports an item that is not done, instead of a line in the log.
    pub(crate) on_failure: Option<Hook>,
}

impl<M> Schedule<M> {
    /// Handles the items of a batch. Returns for each item, in order, whether it is done.
    pub(crate) async fn work_off<H, F, T, E, Kind>(&self, messages: Vec<M>, handle: H) -> Vec<bool>
    where
        M: Item,
        H: FnMut(M) -> F,
        F: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        let around = Context::current();
        let reports = Reports::begin(self.on_failure.as_ref(), &around);
        let batch = Batch::begin(around.clone());
        let until = batch
            .deadline()
            .filter(|_| self.margin != Duration::MAX)
            .map(|deadline| deadline.less(self.margin));
        let run = Run {
            batch: &batch,
            reports: &reports,
            choose: &*self.choose,
            handle: Mutex::new(handle),
            done: messages.iter().map(|_| AtomicBool::new(false)).collect(),
            until,
        };
        let mut waiting = lanes::lanes(messages).into_iter();
        {
            let work = pin!(async {
                let mut working = FuturesUnordered::new();
                loop {
                    while working.len() < self.concurrency
                        && let Some(lane) = waiting.next()
                    {
                        working.push(run.lane(lane));
                    }
                    if working.next().await.is_none() {
                        break;
                    }
                }
            });
            // Items in progress at the deadline are dropped with this block.
            match until {
                Some(until) => drop(future::select(work, Alarm::at(until)).await),
                None => work.await,
            }
        }
        for (_, message) in waiting.flatten() {
            reports.unprocessed(&message);
        }
        reports.end(run.done.len());
        run.done.into_iter().map(AtomicBool::into_inner).collect()
    }
}

/// A batch in progress.
struct Run<'a, M, H> {
    batch: &'a Batch,
    reports: &'a Reports<'a>,
    choose: &'a (dyn Fn(&M) -> Mode + Send + Sync),
    handle: Mutex<H>,
    done: Vec<AtomicBool>,
    until: Option<Instant>,
}

impl<M: Item, H> Run<'_, M, H> {
    /// Handles the messages of a lane up to the first that fails.
    async fn lane<F, T, E, Kind>(&self, lane: Lane<M>)
    where
        H: FnMut(M) -> F,
        F: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        let mut rest = Rest {
            reports: self.reports,
            lane: lane.into_iter(),
        };
        // Items that never wait leave the timer no turn.
        let is_over = || self.until.is_some_and(|until| clock::monotonic() >= until);
        while !is_over()
            && let Some((place, message)) = rest.lane.next()
            && self.message(message).await
        {
            self.done[place].store(true, Ordering::Relaxed);
        }
    }

    /// Handles one item. Returns true if it is done.
    async fn message<F, T, E, Kind>(&self, message: M) -> bool
    where
        H: FnMut(M) -> F,
        F: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        let mode = user_code::contained(|| (self.choose)(&message)).unwrap_or_default();
        let Stitched {
            context,
            segment,
            pointer,
        } = Stitched::begin(self.batch, &message, mode);
        let working = self.reports.message(&message, &context);
        let mut failure = FailureMark(context.trace().cloned());
        let judged_on = segment.open().cloned();
        // The closure's code before its first await belongs to the item, too.
        let work = async {
            let mut mark = DeadlineMark {
                until: self.until,
                judged_on,
            };
            let future = {
                let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
                handle(message)
            };
            let result = future.await;
            mark.until = None;
            result
        };
        let judged = Recorded::new(context, segment, work, |outcome: Result<T, E>, segment| {
            outcome.map(drop).map_err(|error| {
                segment.record_failure(&error);
                Reason::Failed(report::chain(user_code::cause_of(|| error.cause())))
            })
        });
        let outcome = Contained(Some(judged)).await;
        let succeeded = outcome.is_ok();
        if succeeded {
            failure.0 = None;
        } else {
            pointer.amend(|document| document.error = true);
        }
        pointer.finish();
        working.end(outcome);
        succeeded
    }
}

/// The items of a lane that are still to be handled. When dropped, reports them as unprocessed.
struct Rest<'a, M: Item> {
    reports: &'a Reports<'a>,
    lane: std::vec::IntoIter<(usize, M)>,
}

impl<M: Item> Drop for Rest<'_, M> {
    fn drop(&mut self) {
        for (_, message) in self.lane.by_ref() {
            self.reports.unprocessed(&message);
        }
    }
}

/// Marks the trace of a message as failed when dropped, unless the message succeeded first. A
/// message that is dropped half-way has failed, too.
struct FailureMark(Option<Arc<Trace>>);

impl Drop for FailureMark {
    fn drop(&mut self) {
        if let Some(trace) = &self.0 {
            trace.fail();
        }
    }
}

/// Dropped before the message's segment, so it can record that the deadline (not the caller)
/// cancelled the work.
struct DeadlineMark {
    /// `None` once the work is done.
    until: Option<Instant>,
    /// Document that gets the outcome.
    judged_on: Option<Arc<Open>>,
}

impl Drop for DeadlineMark {
    fn drop(&mut self) {
        let is_over = self.until.is_some_and(|until| clock::monotonic() >= until);
        if is_over
            && !std::thread::panicking()
            && let Some(segment) = &self.judged_on
        {
            let message = "given up before the invocation's deadline, so that the others of its \
                           batch do not come back, too: see Consumer::deadline_margin";
            let cause = Cause::from_exception(Exception::new("Cancelled", message));
            segment.amend(|document| document.fail(cause));
        }
    }
}

/// Contains panics of the work, and of the values that it drops when it is given up.
struct Contained<W>(Option<W>);

impl<W: Future<Output = Result<(), Reason>> + Unpin> Future for Contained<W> {
    type Output = Result<(), Reason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else {
            return Poll::Ready(Err(Reason::GivenUp));
        };
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(work).poll(cx)));
        polled.unwrap_or_else(|panic| {
            let message = report::chain(last_panic::cause(&*panic));
            Poll::Ready(Err(Reason::Panicked(message)))
        })
    }
}

impl<W> Drop for Contained<W> {
    fn drop(&mut self) {
        let work = self.0.take();
        // A panic is the user's own, and the hook of the process reports it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

impl<M> Default for Schedule<M> {
    fn default() -> Self {
        Self {
            concurrency: 1,
            margin: MARGIN,
            choose: Arc::new(|_| Mode::default()),
            on_failure: None,
        }
    }
}

impl<M> Clone for Schedule<M> {
    fn clone(&self) -> Self {
        Self {
            choose: Arc::clone(&self.choose),
            on_failure: self.on_failure.clone(),
            ..*self
        }
    }
}

impl<M> fmt::Debug for Schedule<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("concurrency", &self.concurrency)
            .field("margin", &self.margin)
            .finish_non_exhaustive()
    }
}
