//! The time at which an invocation ends.

use std::time::{Duration, Instant};

use lambda_runtime::Context as LambdaContext;

use crate::support::clock;

/// The time span that Lambda allows for an invocation.
#[cfg_attr(
    not(any(feature = "sqs", feature = "streams")),
    expect(dead_code, reason = "only batches have something to give up")
)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) began: Instant,
    pub(crate) ends: Instant,
}

impl Deadline {
    /// Returns the deadline of an invocation that begins now, by the monotonic clock. `None` if it
    /// is over before the invocation has begun: some local runtimes send such deadlines.
    pub(crate) fn of(context: &LambdaContext) -> Option<Self> {
        let left = context
            .deadline
            .checked_sub(clock::now().as_micros() / 1000)?;
        let began = clock::monotonic();
        let ends = began.checked_add(Duration::from_millis(left))?;
        Some(Self { began, ends })
    }

    /// Returns the end less `margin`, at most half of the time span: a margin that leaves no time
    /// for work would return every message, again and again.
    #[cfg(any(feature = "sqs", feature = "streams"))]
    pub(crate) fn less(self, margin: Duration) -> Instant {
        let half = self.ends.saturating_duration_since(self.began) / 2;
        self.ends.checked_sub(margin.min(half)).unwrap_or(self.ends)
    }
}
