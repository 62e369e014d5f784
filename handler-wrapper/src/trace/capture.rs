//! Subsegments around futures and closures.

use std::borrow::Cow;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project_lite::pin_project;

use super::{ambient, context::Context, failure::Failure, subsegment::Subsegment};

/// Runs `work` in a subsegment.
///
/// The subsegment begins when the future is first polled. A panic marks it as a fault and
/// continues unwinding. A future that is dropped before it is ready leaves a fault, too. If nothing
/// is recorded, `work` runs alone.
///
/// [`Capture::captured`] is the same as a method of the future.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let price = tracestitch::capture("price the order", async {
///     tracestitch::annotate("items", 3);
///     3 * 5
/// })
/// .await;
/// assert_eq!(price, 15);
/// # }
/// ```
pub async fn capture<F: Future>(name: impl Into<Cow<'static, str>>, work: F) -> F::Output {
    let Some(parent) = ambient::recording() else {
        return work.await;
    };
    let subsegment = Subsegment::begin_in(&Context::in_subsegment(parent), name);
    Recorded::new(subsegment.context(), subsegment, work, |output, _| output).await
}

/// Runs `work`, which may fail, in a subsegment. An `Err` marks it as a fault, with the error and
/// the chain of its sources as cause.
///
/// Otherwise as [`capture`]. [`Capture::try_captured`] is the same as a method of the future. `Kind`
/// is inferred: see [`Failure`].
///
/// # Errors
///
/// Returns the error of `work`, unchanged.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let parsed = tracestitch::try_capture("read quantity", async { "3".parse::<u32>() }).await;
/// assert_eq!(parsed, Ok(3));
/// # }
/// ```
pub async fn try_capture<F, T, E, Kind>(name: impl Into<Cow<'static, str>>, work: F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Failure<Kind>,
{
    let Some(parent) = ambient::recording() else {
        return work.await;
    };
    let subsegment = Subsegment::begin_in(&Context::in_subsegment(parent), name);
    let judge = |output: Result<T, E>, subsegment: &Subsegment| {
        output.inspect_err(|error| subsegment.record_failure(error))
    };
    Recorded::new(subsegment.context(), subsegment, work, judge).await
}

/// Runs `work` in a subsegment, on this thread.
///
/// ```
/// let price = tracestitch::capture_sync("price the order", || 3 * 5);
/// assert_eq!(price, 15);
/// ```
pub fn capture_sync<T>(name: impl Into<Cow<'static, str>>, work: impl FnOnce() -> T) -> T {
    run_sync(name, work, |_, _| {})
}

/// Runs `work`, which may fail, in a subsegment, on this thread.
///
/// `Kind` is inferred: see [`Failure`].
///
/// # Errors
///
/// Returns the error of `work`, unchanged.
///
/// ```
/// let parsed = tracestitch::try_capture_sync("read quantity", || "3".parse::<u32>());
/// assert_eq!(parsed, Ok(3));
/// ```
pub fn try_capture_sync<T, E, Kind>(
    name: impl Into<Cow<'static, str>>,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E>
where
    E: Failure<Kind>,
{
    run_sync(name, work, |output, subsegment| {
        if let Err(error) = output {
            subsegment.record_failure(error);
        }
    })
}

fn run_sync<T>(
    name: impl Into<Cow<'static, str>>,
    work: impl FnOnce() -> T,
    judge: impl FnOnce(&T, &Subsegment),
) -> T {
    let Some(parent) = ambient::recording() else {
        return work();
    };
    let subsegment = Subsegment::begin_in(&Context::in_subsegment(parent), name);
    let mut running = Running::new(subsegment.context(), subsegment);
    let output = running.step(work);
    running.end(|subsegment| judge(&output, subsegment));
    output
}

/// Records a future as a subsegment, by a method.
///
/// Every future has it, so no other type can implement it.
///
/// ```
/// use tracestitch::Capture;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let price = async { 3 * 5 }.captured("price the order").await;
/// assert_eq!(price, 15);
///
/// let quantity = async { "3".parse::<u32>() }.try_captured("read quantity").await;
/// assert_eq!(quantity, Ok(3));
/// # }
/// ```
pub trait Capture: Future + Sized {
    /// Runs this future in a subsegment: see [`capture`].
    fn captured(self, name: impl Into<Cow<'static, str>>) -> impl Future<Output = Self::Output> {
        capture(name, self)
    }

    /// Runs this future in a subsegment, which an `Err` marks as a fault: see [`try_capture`].
    ///
    /// `Kind` is inferred: see [`Failure`].
    fn try_captured<T, E, Kind>(
        self,
        name: impl Into<Cow<'static, str>>,
    ) -> impl Future<Output = Result<T, E>>
    where
        Self: Future<Output = Result<T, E>>,
        E: Failure<Kind>,
    {
        try_capture(name, self)
    }
}

impl<F: Future> Capture for F {}

/// A subsegment with the context that its work runs in.
///
/// All recorded work runs through here: futures, closures, and streams of responses.
#[derive(Debug)]
pub(crate) struct Running {
    context: Context,
    /// `None` once it is over.
    subsegment: Option<Subsegment>,
}

impl Running {
    pub(crate) fn new(context: Context, subsegment: Subsegment) -> Self {
        Self {
            context,
            subsegment: Some(subsegment),
        }
    }

    /// Runs a part of the work. A panic ends the subsegment as a fault and continues unwinding.
    pub(crate) fn step<T>(&mut self, step: impl FnOnce() -> T) -> T {
        let context = self.context.clone();
        match catch_unwind(AssertUnwindSafe(|| context.sync_scope(step))) {
            Ok(output) => output,
            Err(panic) => {
                self.end(|subsegment| subsegment.record_panic(&*panic));
                resume_unwind(panic)
            }
        }
    }

    /// Calls `record` with the subsegment, unless that is over.
    pub(crate) fn record(&self, record: impl FnOnce(&Subsegment)) {
        if let Some(subsegment) = &self.subsegment {
            record(subsegment);
        }
    }

    /// Calls `judge` with the subsegment and ends it. Returns `None` if it was over before.
    pub(crate) fn end<T>(&mut self, judge: impl FnOnce(&Subsegment) -> T) -> Option<T> {
        let subsegment = self.subsegment.take()?;
        let judged = judge(&subsegment);
        subsegment.finish();
        Some(judged)
    }

    /// Drops the work in its context: calls that it makes while it is dropped belong there.
    pub(crate) fn release(&self, drop_work: impl FnOnce()) {
        self.context.clone().sync_scope(drop_work);
    }
}

pin_project! {
    /// A future that runs in a subsegment. `judge` records its output before the subsegment ends.
    ///
    /// The work is dropped before the subsegment, so that children end first.
    #[derive(Debug)]
    pub struct Recorded<F, J> {
        #[pin]
        work: Option<F>,
        running: Running,
        judge: Option<J>,
    }

    impl<F, J> PinnedDrop for Recorded<F, J> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.work.is_some() {
                this.running.release(|| this.work.set(None));
            }
        }
    }
}

impl<F: Future, J> Recorded<F, J> {
    /// Boxed, because the types of nested futures grow with each wrapper. The compiler rejects AWS
    /// SDK calls inside a few of them (`recursion_limit`).
    pub(crate) fn new<T>(
        context: Context,
        subsegment: Subsegment,
        work: F,
        judge: J,
    ) -> Pin<Box<Self>>
    where
        J: FnOnce(F::Output, &Subsegment) -> T,
    {
        Box::pin(Self {
            work: Some(work),
            running: Running::new(context, subsegment),
            judge: Some(judge),
        })
    }
}

impl<F, J, T> Future for Recorded<F, J>
where
    F: Future,
    J: FnOnce(F::Output, &Subsegment) -> T,
{
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<T> {
        let this = self.project();
        let mut work = this.work;
        let polled = this.running.step(|| {
            let running = work.as_mut().as_pin_mut();
            let running = running.expect("a future is not polled after it was ready");
            let polled = running.poll(cx);
            if polled.is_ready() {
                work.set(None);
            }
            polled
        });
        let output = ready!(polled);
        let judge = this.judge.take();
        let judge = judge.expect("a future is not polled after it was ready");
        let judged = this.running.end(|subsegment| judge(output, subsegment));
        Poll::Ready(judged.expect("the subsegment ends with the work"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{header::SAMPLED, kept::Kept};

    #[tokio::test]
    async fn methods_of_a_future_record_it_and_its_error() {
        fn is_send<T: Send>(work: T) -> T {
            work
        }
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            let name = String::from("fine");
            let fine = is_send(async { crate::annotate("items", 3) }.captured(name));
            fine.await;
            let failing = async { "x".parse::<u32>() }.try_captured("failing");
            assert!(is_send(failing).await.is_err());
            let boxed = async { Err::<(), lambda_runtime::Error>("no stock".into()) };
            assert!(boxed.try_captured("boxed").await.is_err());
        })
        .await;
        assert_eq!(kept.one("fine")["annotations"]["items"], 3);
        assert_eq!(kept.one("fine").get("fault"), None);
        let exception = |name| kept.one(name)["cause"]["exceptions"][0].clone();
        assert_eq!(exception("failing")["type"], "ParseIntError");
        assert_eq!(exception("boxed")["message"], "no stock");
    }

    /// A future that puts an annotation when it is dropped.
    struct Noting;

    impl Future for Noting {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    impl Drop for Noting {
        fn drop(&mut self) {
            crate::annotate("dropped", true);
        }
    }

    #[tokio::test]
    async fn work_that_is_ready_is_dropped_in_its_subsegment() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            capture("noting", Noting).await;
            Context::current().scope(Noting).await;
        })
        .await;
        for name in ["noting", "order-worker"] {
            assert_eq!(kept.one(name)["annotations"]["dropped"], true, "{name}");
        }
    }
}
