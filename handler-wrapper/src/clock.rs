//! The only place that reads the clock.

use std::time::{Instant, SystemTime};

use tracestitch_wire::time::Timestamp;

/// Wall-clock time, as documents want it.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// A clock that only goes forward, for waits.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}
