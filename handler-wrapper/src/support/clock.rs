//! Reads the clocks of the system. No other file does.

#![allow(clippy::disallowed_methods, reason = "no other file reads the clock")]

use std::time::{Instant, SystemTime};

use nix::time::ClockId;
use tracestitch_wire::time::Timestamp;

/// Wall-clock time, as documents want it.
pub(crate) fn now() -> Timestamp {
    // Each subsegment reads it twice. `SystemTime`, which has to be subtracted from, takes more than
    // twice the instructions.
    let Ok(now) = ClockId::CLOCK_REALTIME.now() else {
        return SystemTime::now().into();
    };
    let seconds = u64::try_from(now.tv_sec()).unwrap_or_default();
    let micros = u64::try_from(now.tv_nsec()).unwrap_or_default() / 1000;
    Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}

/// A clock that only goes forward, for waits.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Wall-clock time as log lines want it: RFC 3339, UTC, milliseconds.
#[cfg(any(feature = "tracing", feature = "sqs", feature = "streams"))]
pub(crate) fn rfc3339() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}
