//! Waits for a condition, with a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longest time that a test waits for something that normally takes milliseconds. Also the timeout
/// of functions that must not reach it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Longest time of an invocation that waits for nothing; one that waits lasts until its timeout.
pub const PROMPT: Duration = Duration::from_secs(20);

/// Timeout of functions that must reach it. They do everything else before, also when the machine
/// is busy.
pub const TIMEOUT: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(5);

/// Polls `condition` until it returns a value, for at most [`PATIENCE`].
///
/// # Panics
/// When it returns none in that time; the message names `what` was waited for.
pub async fn until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    match within(PATIENCE, condition).await {
        Some(value) => value,
        None => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Polls like [`until`], for at most `limit`; returns `None` after that.
pub async fn within<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(PAUSE).await;
    }
}
