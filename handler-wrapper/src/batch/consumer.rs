//! How a batch is worked off: how many messages at a time, in which order, until when.

use std::fmt;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use aws_lambda_events::sqs::SqsMessage;
use futures_util::{StreamExt, future, stream::FuturesUnordered};
use tracestitch_wire::document::{Cause, Exception};

use super::{
    item::Item,
    lanes::{self, Lane},
    stitch::{Batch, Mode, Stitched},
};
use crate::{
    support::{clock, user_code},
    trace::{capture::Recorded, context::Context, failure::Failure, trace::Trace},
};

/// Time that is left for the reply when messages are given up, unless set otherwise.
const MARGIN: Duration = Duration::from_millis(500);

type Choose<M> = Arc<dyn Fn(&M) -> Mode + Send + Sync>;

/// Works off batches of messages, each message in a trace of its own.
///
/// A message fails when its closure returns an error or panics, and no other message is touched
/// by that. In a FIFO queue the messages of a group are handled in their order, and after a
/// failure the rest of the group is returned unprocessed; other groups go on.
///
/// When less than the margin is left until the function's deadline, no message is begun any
/// more, those in work are dropped (their segments end as cancelled), and all of them are
/// returned as failed: so what is done stays done, where a timeout would bring the whole batch
/// back. A closure that blocks its thread cannot be dropped.
///
/// ```
/// use std::time::Duration;
/// use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
/// use lambda_runtime::{Error, LambdaEvent};
/// use tracestitch::sqs::{Consumer, Mode};
///
/// async fn handler(event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
///     let consumer = Consumer::new()
///         .concurrency(10)
///         .deadline_margin(Duration::from_secs(2))
///         .mode_for(|message| match message.body.as_deref() {
///             Some("heartbeat") => Mode::Link,
///             _ => Mode::Stitch,
///         });
///     Ok(consumer.each(event.payload, |message| async move {
///         println!("{:?}", message.message_id);
///         Ok::<_, Error>(())
///     })
///     .await)
/// }
/// ```
///
/// It is a [tower layer](tower::Layer), too: around a service of single messages it gives a
/// handler of batches, see [`EachMessage`](crate::sqs::EachMessage).
pub struct Consumer<M = SqsMessage> {
    concurrency: usize,
    margin: Duration,
    choose: Choose<M>,
    fifo: bool,
}

impl<M> Consumer<M> {
    /// Handles up to `limit` messages at a time; 0 counts as 1. They share the handler's task,
    /// so they overlap where they wait.
    #[must_use]
    pub fn concurrency(mut self, limit: usize) -> Self {
        self.concurrency = limit.max(1);
        self
    }

    /// The trace in which all messages are handled.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        self.mode_for(move |_| mode)
    }

    /// Chooses for each message the trace in which it is handled. A choice that panics counts as
    /// [`Mode::Stitch`].
    #[must_use]
    pub fn mode_for(mut self, choose: impl Fn(&M) -> Mode + Send + Sync + 'static) -> Self {
        self.choose = Arc::new(choose);
        self
    }

    /// How long before the function's deadline what is not done is given up; half a second
    /// unless set. More than half of the function's time counts as half of it.
    /// [`Duration::MAX`] switches this off.
    #[must_use]
    pub fn deadline_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Takes messages with a message group for those of a FIFO queue.
    #[cfg(feature = "sqs-poll")]
    #[must_use]
    pub(crate) fn fifo(mut self, fifo: bool) -> Self {
        self.fifo = fifo;
        self
    }

    /// True for each message, in their order, that is done with.
    pub(crate) async fn work_off<H, F, T, E, Kind>(&self, messages: Vec<M>, handle: H) -> Vec<bool>
    where
        M: Item,
        H: FnMut(M) -> F,
        F: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        let batch = Batch::begin(Context::current());
        let until = batch
            .deadline()
            .filter(|_| self.margin != Duration::MAX)
            .map(|deadline| deadline.less(self.margin));
        let run = Run {
            batch: &batch,
            choose: &*self.choose,
            handle: Mutex::new(handle),
            done: messages.iter().map(|_| AtomicBool::new(false)).collect(),
            until,
        };
        let mut waiting = lanes::lanes(messages, self.fifo).into_iter();
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
            // What is in work when time is over is dropped with this block.
            future::select(work, pin!(reached(until))).await;
        }
        run.done.into_iter().map(AtomicBool::into_inner).collect()
    }
}

/// One batch under way.
struct Run<'a, M, H> {
    batch: &'a Batch,
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
        for (place, message) in lane {
            // Messages that never wait leave the timer no chance to be looked at.
            let over = self.until.is_some_and(|until| clock::monotonic() >= until);
            if over || !self.message(message).await {
                return;
            }
            self.done[place].store(true, Ordering::Relaxed);
        }
    }

    /// True when the message is done with.
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
        let mut failure = FailureMark(context.trace().cloned());
        // The closure's own part of the work, before its first await, belongs to the message, too.
        let work = async {
            let mut mark = DeadlineMark(self.until);
            let future = {
                let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
                handle(message)
            };
            let result = future.await;
            mark.0 = None;
            result
        };
        let judged = Recorded::new(context, segment, work, |outcome: Result<T, E>, segment| {
            outcome
                .inspect_err(|error| segment.record_failure(error))
                .is_ok()
        });
        let succeeded = Contained(Some(judged)).await.unwrap_or(false);
        if succeeded {
            failure.0 = None;
        } else {
            pointer.amend(|document| document.error = true);
        }
        pointer.finish();
        succeeded
    }
}

/// Marks the trace of a message as failed when dropped, unless the message succeeded first. Work that
/// is dropped half-way has failed, too.
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
struct DeadlineMark(Option<Instant>);

impl Drop for DeadlineMark {
    fn drop(&mut self) {
        let is_over = self.0.is_some_and(|until| clock::monotonic() >= until);
        if is_over
            && !std::thread::panicking()
            && let Some(segment) = Context::current().recording()
        {
            let message = "given up before the invocation's deadline, so that the others of its \
                           batch do not come back, too: see Consumer::deadline_margin";
            let cause = Cause::from_exception(Exception::new("Cancelled", message));
            segment.amend(|document| document.fail(cause));
        }
    }
}

/// Work whose panics end with it, also those of what it drops when it is given up. Gives None when
/// it panics.
struct Contained<W>(Option<W>);

impl<W: Future + Unpin> Future for Contained<W> {
    type Output = Option<W::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = user_code::contained(|| Pin::new(work).poll(cx));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    }
}

impl<W> Drop for Contained<W> {
    fn drop(&mut self) {
        let work = self.0.take();
        user_code::contained(|| drop(work));
    }
}

/// Ready at `instant`; never when there is none.
async fn reached(instant: Option<Instant>) {
    let sleep = instant.and_then(|instant| {
        // A tokio runtime without timers panics here. Then only what is not begun is given up.
        user_code::contained(|| tokio::time::sleep_until(instant.into()))
    });
    match sleep {
        Some(sleep) => sleep.await,
        None => pending().await,
    }
}

impl<M> Default for Consumer<M> {
    fn default() -> Self {
        Self {
            concurrency: 1,
            margin: MARGIN,
            choose: Arc::new(|_| Mode::default()),
            fifo: false,
        }
    }
}

impl<M> Clone for Consumer<M> {
    fn clone(&self) -> Self {
        Self {
            choose: Arc::clone(&self.choose),
            ..*self
        }
    }
}

impl<M> fmt::Debug for Consumer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("concurrency", &self.concurrency)
            .field("margin", &self.margin)
            .finish_non_exhaustive()
    }
}
