//! Reads the clocks of the system. No other file does.

#![allow(clippy::disallowed_methods, reason = "no other file reads the clock")]

use std::time::SystemTime;

use tokio::time::Instant;

/// The time of day. It may be set, and it continues while the environment is frozen.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// A clock that cannot be set. It may stop while the environment is frozen.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
