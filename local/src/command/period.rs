//! Periods of time on the command line.

use std::time::{Duration, SystemTime};

use aws_sdk_xray::primitives::DateTime;

/// The units of a duration, with their seconds.
const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

/// Reads a duration such as `30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let unit = UNITS.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*seconds).filter(|seconds| *seconds > 0)
    });
    let seconds = unit.ok_or("expected a number and a unit: 30s, 30m, 6h or 2d")?;
    Ok(Duration::from_secs(seconds))
}

/// A time span for a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Period {
    pub(super) start: DateTime,
    pub(super) end: DateTime,
}

impl Period {
    /// Returns the time from `length` before `ago` until `ago`. A period that ends now ends a
    /// second later, so that the newest traces are in it.
    pub(super) fn new(length: Duration, ago: Duration) -> Self {
        let now = SystemTime::now();
        let end = if ago.is_zero() {
            now + Duration::from_secs(1)
        } else {
            now - ago
        };
        let start = now.checked_sub(ago + length);
        Self {
            start: start.unwrap_or(SystemTime::UNIX_EPOCH).into(),
            end: end.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_a_number_and_a_unit() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1_800)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for invalid in [
            "",
            "30",
            "m",
            "0s",
            "-1s",
            "1.5h",
            "99999999999999999999d",
            "1w",
        ] {
            assert!(duration(invalid).is_err(), "{invalid}");
        }
    }
}
