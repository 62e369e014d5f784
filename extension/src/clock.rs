//! Reads the clocks of the system. No other file does.

use std::time::SystemTime;

use tokio::time::Instant;

/// The time of day. It may be set, and it goes on while the environment is frozen.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// A clock that cannot be set. It may stand still while the environment is frozen.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
