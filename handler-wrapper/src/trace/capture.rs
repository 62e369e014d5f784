//! Subsegments around futures and closures.

use std::borrow::Cow;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project_lite::pin_project;

use super::{
    context::{Context, Scope},
    failure::Failure,
    subsegment::Subsegment,
};

/// Runs `work` in a subsegment of its own.
///
/// The subsegment begins when the future is first polled. A panic makes it a fault and goes on
/// unwinding; a future that is dropped before it is ready makes it a fault, too. Where nothing
/// is recorded, `work` just runs.
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
    let context = Context::current();
    if !context.is_recording() {
        return work.await;
    }
    let subsegment = Subsegment::begin_in(&context, name);
    Recorded::new(subsegment.context(), subsegment, work, |output, _| output).await
}

/// Runs `work`, which may fail, in a subsegment of its own: an `Err` makes it a fault with the
/// error and the chain of its sources as cause.
///
/// Otherwise as [`capture`].
///
/// # Errors
///
/// That of `work`, unchanged.
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
    let context = Context::current();
    if !context.is_recording() {
        return work.await;
    }
    let subsegment = Subsegment::begin_in(&context, name);
    Recorded::new(
        subsegment.context(),
        subsegment,
        work,
        |output: Result<T, E>, subsegment| {
            output.inspect_err(|error| subsegment.record_failure(error))
        },
    )
    .await
}

/// Runs `work` in a subsegment of its own, on this thread.
///
/// ```
/// let price = tracestitch::capture_sync("price the order", || 3 * 5);
/// assert_eq!(price, 15);
/// ```
pub fn capture_sync<T>(name: impl Into<Cow<'static, str>>, work: impl FnOnce() -> T) -> T {
    run_sync(name, work, |_, _| {})
}

/// Runs `work`, which may fail, in a subsegment of its own, on this thread.
///
/// # Errors
///
/// That of `work`, unchanged.
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
    let context = Context::current();
    if !context.is_recording() {
        return work();
    }
    let subsegment = Subsegment::begin_in(&context, name);
    let run = || subsegment.context().sync_scope(work);
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(output) => {
            judge(&output, &subsegment);
            subsegment.finish();
            output
        }
        Err(panic) => {
            subsegment.record_panic(&*panic);
            subsegment.finish();
            resume_unwind(panic)
        }
    }
}

pin_project! {
    /// A future that runs in a subsegment, and `judge`s its own output before that ends.
    ///
    /// The work is dropped before the subsegment, so that children end first.
    #[derive(Debug)]
    pub struct Recorded<F, J> {
        #[pin]
        work: Scope<F>,
        subsegment: Option<(Subsegment, J)>,
    }
}

impl<F: Future, J> Recorded<F, J> {
    /// Boxed, because the types of nested futures grow with each wrapper, and the compiler gives
    /// up on those of AWS SDK calls inside a few of them (`recursion_limit`).
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
            work: context.scope(work),
            subsegment: Some((subsegment, judge)),
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
        let polled = catch_unwind(AssertUnwindSafe(|| this.work.poll(cx)));
        match polled {
            Ok(polled) => {
                let output = ready!(polled);
                let (subsegment, judge) = this
                    .subsegment
                    .take()
                    .expect("a future is not polled after it was ready");
                let output = judge(output, &subsegment);
                subsegment.finish();
                Poll::Ready(output)
            }
            Err(panic) => {
                if let Some((subsegment, _)) = this.subsegment.take() {
                    subsegment.record_panic(&*panic);
                    subsegment.finish();
                }
                resume_unwind(panic)
            }
        }
    }
}
