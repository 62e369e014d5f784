//! A timer that needs no runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use futures_util::task::AtomicWaker;

use super::clock;

/// Stack of the thread in bytes. It runs a few calls, and the waker of a runtime.
const STACK: usize = 128 * 1024;

/// A future that completes at an instant.
///
/// tokio's timers panic in a runtime without them, and a panic may end the process before it is
/// caught: in the user's panic hook, or with `panic = "abort"`. This one waits on a thread, which
/// begins when the future is first polled and ends when the future is dropped. The runtime's own
/// threads stay free for other invocations.
#[derive(Debug)]
pub(crate) struct Alarm {
    instant: Instant,
    ringing: Option<Ringing>,
}

/// A thread that waits.
#[derive(Debug)]
struct Ringing {
    waker: Arc<AtomicWaker>,
    thread: Thread,
}

impl Alarm {
    pub(crate) fn at(instant: Instant) -> Self {
        Self {
            instant,
            ringing: None,
        }
    }
}

impl Ringing {
    /// Returns `None` if the system has no thread left.
    fn begin(instant: Instant, waker: &task::Waker) -> Option<(Self, JoinHandle<()>)> {
        let shared = Arc::new(AtomicWaker::new());
        shared.register(waker);
        let waiting = Arc::downgrade(&shared);
        let wait = move || {
            // The future holds the waker. It is gone when the future is.
            while let Some(waker) = waiting.upgrade() {
                let left = instant.saturating_duration_since(clock::monotonic());
                if left.is_zero() {
                    return waker.wake();
                }
                drop(waker);
                thread::park_timeout(left);
            }
        };
        let thread = thread::Builder::new()
            .name("tracestitch-alarm".to_owned())
            .stack_size(STACK)
            .spawn(wait)
            .ok()?;
        let ringing = Self {
            waker: shared,
            thread: thread.thread().clone(),
        };
        Some((ringing, thread))
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        match &self.ringing {
            Some(ringing) => ringing.waker.register(cx.waker()),
            None => {
                let begun = Ringing::begin(self.instant, cx.waker());
                self.ringing = begun.map(|(ringing, _)| ringing);
                if self.ringing.is_none() {
                    // Without a thread, the task has to look itself.
                    cx.waker().wake_by_ref();
                }
            }
        }
        // After the waker is registered, so that no ring is missed.
        if clock::monotonic() >= self.instant {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Ringing {
    fn drop(&mut self) {
        self.waker = Arc::default();
        self.thread.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt, future};

    use super::*;

    fn after(milliseconds: u64) -> Alarm {
        Alarm::at(Instant::now() + Duration::from_millis(milliseconds))
    }

    #[test]
    fn alarm_rings_without_a_runtime() {
        let began = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime
            .unwrap()
            .block_on(future::join(after(20), after(10)));
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert_eq!(after(0).now_or_never(), Some(()));
        assert_eq!(after(60_000).now_or_never(), None);
    }

    #[test]
    fn thread_ends_with_its_future() {
        let hours = Instant::now() + Duration::from_secs(36_000);
        let (ringing, thread) = Ringing::begin(hours, task::Waker::noop()).unwrap();
        drop(ringing);
        thread.join().unwrap();
    }
}
