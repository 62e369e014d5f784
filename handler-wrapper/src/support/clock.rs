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
    date(now())
}

/// Returns a time as in RFC 3339. The date is that of the algorithm `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>), for days since the epoch.
#[cfg(any(feature = "tracing", feature = "sqs", feature = "streams"))]
fn date(time: Timestamp) -> String {
    let millis = time.as_micros() / 1000;
    let (days, millis) = (millis / 86_400_000, millis % 86_400_000);
    // Years begin in March here, and eras of 400 years in the year 0, so that leap days come last.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
    let (second, millis) = (millis / 1000 % 60, millis % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(all(test, any(feature = "tracing", feature = "sqs", feature = "streams")))]
mod tests {
    use super::*;

    #[test]
    fn dates_of_all_kinds_of_years_are_written() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (68_169_599, "1972-02-28T23:59:59.007Z"),
            (68_169_600, "1972-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_795_176_612, "2026-11-20T12:10:12.007Z"),
            (4_107_542_399, "2100-02-28T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
            (253_402_300_799, "9999-12-31T23:59:59.007Z"),
        ] {
            let time = Timestamp::from_micros(seconds * 1_000_000 + 7_999);
            assert_eq!(date(time), expected, "{seconds}");
        }
    }
}
