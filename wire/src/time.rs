//! Points in time, written as seconds since the epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

/// A point in time, in whole microseconds since the Unix epoch.
///
/// Serialises as a number of seconds with up to six decimals (X-Ray developer guide, "Segment
/// documents": microsecond resolution is recommended). Until the year 2106, a 64-bit float keeps
/// all six decimals.
///
/// ```
/// use tracestitch_wire::time::Timestamp;
///
/// let at = Timestamp::from_micros(1_478_293_361_271_001);
/// assert_eq!(serde_json::to_string(&at)?, "1478293361.271001");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A point in time `micros` microseconds after the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the point in time `duration` later, at most the latest one that fits.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

impl From<SystemTime> for Timestamp {
    /// Times before the epoch become the epoch.
    fn from(time: SystemTime) -> Self {
        Self(0).after(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_microsecond_survives_json(micros in 0..4_290_000_000_000_000u64) {
            let json = serde_json::to_string(&Timestamp(micros)).unwrap();
            let seconds: f64 = json.parse().unwrap();
            prop_assert_eq!((seconds * 1e6).round() as u64, micros);
            prop_assert!(json.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= 6));
        }
    }
}
