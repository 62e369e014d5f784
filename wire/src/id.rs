//! Trace and segment ids: arrays of bytes, printed on demand.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

pub use crate::random::reseed;
use crate::{Error, hex, random, time::Timestamp};

/// Id of a trace: `1-`, 8 hex digits of epoch seconds, `-`, 24 hex digits.
///
/// Digits are parsed in either case and printed in lower case. The all-zero id, which some SDKs use
/// for "no trace", is invalid.
///
/// Source: X-Ray developer guide, "Tracing concepts", trace ids.
///
/// ```
/// use tracestitch_wire::id::TraceId;
///
/// let id: TraceId = "1-5759e988-bd862e3fe1be46a994272793".parse()?;
/// assert_eq!(id.to_string(), "1-5759e988-bd862e3fe1be46a994272793");
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// Number of characters of the printed form.
    pub const LENGTH: usize = 35;

    /// A new random id. Its first part is `started`, in whole seconds.
    pub fn new(started: Timestamp) -> Self {
        let mut bytes = [0; 16];
        let seconds = (started.as_micros() / 1_000_000) as u32;
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..8].copy_from_slice(&(random::number() as u32).to_be_bytes());
        bytes[8..].copy_from_slice(&random_not_zero().to_be_bytes());
        Self(bytes)
    }

    #[inline]
    pub(crate) fn print(self) -> [u8; Self::LENGTH] {
        let mut text = *b"1-00000000-000000000000000000000000";
        let (words, _) = self.0.as_chunks();
        for (word, start) in words.iter().zip([2, 11, 19, 27]) {
            text[start..start + 8].copy_from_slice(&hex::encode(u32::from_be_bytes(*word)));
        }
        text
    }
}

impl TraceId {
    /// The 32 hex digits, without version and separators.
    pub(crate) fn digits(self) -> impl Iterator<Item = char> {
        let digits = self
            .print()
            .into_iter()
            .skip(2)
            .filter(|byte| *byte != b'-');
        digits.map(char::from)
    }
}

impl FromStr for TraceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (epoch, unique) = text.strip_prefix("1-")?.split_once('-')?;
            let mut bytes = [0; 16];
            hex::decode(epoch.as_bytes(), &mut bytes[..4])?;
            hex::decode(unique.as_bytes(), &mut bytes[4..])?;
            (bytes != [0; 16]).then_some(Self(bytes))
        };
        parse().ok_or_else(|| Error::expected("a trace id of the form 1-<8 hex>-<24 hex>", text))
    }
}

/// Id of a segment or subsegment: 16 hex digits, unique within its trace.
///
/// Digits are parsed in either case and printed in lower case. The all-zero id is invalid, as in
/// W3C Trace Context.
///
/// Source: X-Ray developer guide, "Segment documents".
///
/// ```
/// use tracestitch_wire::id::SegmentId;
///
/// let id: SegmentId = "53995c3f42cd8ad8".parse()?;
/// assert_eq!(id.to_string(), "53995c3f42cd8ad8");
/// assert!("53995C3F".parse::<SegmentId>().is_err());
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentId([u8; 8]);

impl SegmentId {
    /// Number of characters of the printed form.
    pub const LENGTH: usize = 16;

    /// A new random id.
    ///
    /// Its number comes from [`random`], so neither the user's generators nor their
    /// seeds matter.
    #[expect(
        clippy::new_without_default,
        reason = "a default id would suggest a fixed one"
    )]
    pub fn new() -> Self {
        Self(random_not_zero().to_be_bytes())
    }

    /// The id as the bytes of a handoff frame.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(crate) fn print(self) -> [u8; Self::LENGTH] {
        let mut text = [0; Self::LENGTH];
        let (words, _) = self.0.as_chunks();
        for (word, start) in words.iter().zip([0, 8]) {
            text[start..start + 8].copy_from_slice(&hex::encode(u32::from_be_bytes(*word)));
        }
        text
    }
}

/// An id of zeros alone is invalid.
fn random_not_zero() -> u64 {
    loop {
        let number = random::number();
        if number != 0 {
            return number;
        }
    }
}

impl FromStr for SegmentId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 8];
        hex::decode(text.as_bytes(), &mut bytes)
            .filter(|()| bytes != [0; 8])
            .map(|()| Self(bytes))
            .ok_or_else(|| Error::expected("a segment id of 16 hex digits", text))
    }
}

macro_rules! print_as_text {
    ($id:ty) => {
        impl $id {
            pub(crate) fn push_to(self, text: &mut String) {
                // Digits and dashes are always UTF-8.
                text.push_str(std::str::from_utf8(&self.print()).unwrap_or_default());
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(std::str::from_utf8(&self.print()).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let text = self.print();
                let text = std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?;
                serializer.serialize_str(text)
            }
        }
    };
}

print_as_text!(TraceId);
print_as_text!(SegmentId);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_trace_ids_are_invalid() {
        for (text, reason) in [
            ("", "empty"),
            ("1-5759e988-bd862e3fe1be46a99427279", "one digit short"),
            ("1-5759e988-bd862e3fe1be46a9942727933", "one digit long"),
            ("2-5759e988-bd862e3fe1be46a994272793", "unknown version"),
            ("1-5759e98-bd862e3fe1be46a9942727930", "short epoch"),
            ("1-5759e988bd862e3fe1be46a994272793", "separator missing"),
            ("1-5759e98g-bd862e3fe1be46a994272793", "not hex"),
            (
                "1-00000000-000000000000000000000000",
                "the placeholder for no trace",
            ),
            (" 1-5759e988-bd862e3fe1be46a994272793", "white space"),
            ("1-5759é98-bd862e3fe1be46a994272793", "not ASCII"),
        ] {
            assert!(
                text.parse::<TraceId>().is_err(),
                "{text} is valid although {reason}"
            );
        }
    }

    #[test]
    fn malformed_segment_ids_are_invalid() {
        for (text, reason) in [
            ("", "empty"),
            ("53995c3f42cd8ad", "one digit short"),
            ("53995c3f42cd8ad80", "one digit long"),
            ("53995c3f42cd8adg", "not hex"),
            ("0000000000000000", "all zero"),
        ] {
            assert!(
                text.parse::<SegmentId>().is_err(),
                "{text} is valid although {reason}"
            );
        }
    }

    #[test]
    fn digits_are_parsed_in_either_case_and_printed_in_lower_case() {
        let id: SegmentId = "53995C3F42CD8AD8".parse().unwrap();
        assert_eq!(id.to_string(), "53995c3f42cd8ad8");
    }

    #[test]
    fn new_trace_id_begins_with_its_time() {
        let id = TraceId::new(Timestamp::from_micros(0x5759_e988 * 1_000_000 + 999_999));
        assert!(id.to_string().starts_with("1-5759e988-"), "{id}");
    }

    #[test]
    fn seed_of_the_program_neither_repeats_ids_nor_is_disturbed_by_them() {
        let drawn = |between: fn()| {
            fastrand::seed(42);
            let draw = |_| {
                between();
                fastrand::u64(..)
            };
            (0..10).map(draw).collect::<Vec<_>>()
        };
        let alone = drawn(|| ());
        let with_ids = drawn(|| {
            SegmentId::new();
            TraceId::new(Timestamp::from_micros(0));
        });
        assert_eq!(with_ids, alone);

        let ids_of_a_run = || {
            fastrand::seed(42);
            [SegmentId::new(), SegmentId::new()]
        };
        let ids: HashSet<_> = (0..10).flat_map(|_| ids_of_a_run()).collect();
        assert_eq!(ids.len(), 20);
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(bytes in any::<[u8; 16]>(), half in any::<[u8; 8]>()) {
            prop_assume!(bytes != [0; 16] && half != [0; 8]);
            prop_assert_eq!(TraceId(bytes).to_string().parse(), Ok(TraceId(bytes)));
            prop_assert_eq!(SegmentId(half).to_string().parse(), Ok(SegmentId(half)));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<TraceId>();
            let _ = text.parse::<SegmentId>();
        }
    }
}
