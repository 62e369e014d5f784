//! Trace and segment ids: fixed-size bytes, printed on demand in lower case.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

use crate::{Error, hex, time::Timestamp};

/// What ids of this process depend on beyond what each thread asked the kernel for at its first
/// one.
static ENTROPY: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static SEEDED: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes the ids of all threads depend on `entropy` from now on.
///
/// For a process that goes on from a snapshot: others that do would make the same ids. `entropy`
/// must be one that they do not have.
pub fn reseed(entropy: u64) {
    ENTROPY.store(entropy, Ordering::Relaxed);
}

/// The generator's own seed is the time since the machine was started, and environments of Lambda
/// start their processes almost at the same one: theirs must be another.
fn seed_once() {
    let entropy = ENTROPY.load(Ordering::Relaxed);
    if SEEDED.replace(Some(entropy)) != Some(entropy) {
        fastrand::seed(seed(&RandomState::new(), entropy));
    }
}

/// `keys` are random numbers of the kernel's; in a process that goes on from a snapshot, those of
/// the snapshot.
fn seed(keys: &RandomState, entropy: u64) -> u64 {
    keys.hash_one((entropy, std::thread::current().id()))
}

/// Id of a whole trace: `1-` + 8 hex digits of epoch seconds + `-` + 24 hex digits.
///
/// Hex digits are read in either case and printed in lower case. The all-zero id, which some
/// SDKs use for "no trace", is refused.
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
    /// Characters of the printed form.
    pub const LENGTH: usize = 35;

    /// A new id whose first part is the time at which the trace began.
    pub fn new(started: Timestamp) -> Self {
        seed_once();
        let mut bytes = [0; 16];
        let seconds = (started.as_micros() / 1_000_000) as u32;
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..8].copy_from_slice(&fastrand::u32(1..).to_be_bytes());
        bytes[8..].copy_from_slice(&fastrand::u64(..).to_be_bytes());
        Self(bytes)
    }

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
/// The all-zero id is refused: no tracer makes it, and W3C trace context forbids it.
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
    /// Characters of the printed form.
    pub const LENGTH: usize = 16;

    /// A new random id.
    ///
    /// Random numbers come from a generator in user space, seeded once per thread: asking the
    /// kernel costs 250 ns an id.
    #[expect(
        clippy::new_without_default,
        reason = "a default id would suggest a fixed one"
    )]
    pub fn new() -> Self {
        seed_once();
        Self(fastrand::u64(1..).to_be_bytes())
    }

    /// The id as the eight bytes that a handoff frame carries.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn print(self) -> [u8; Self::LENGTH] {
        let mut text = [0; Self::LENGTH];
        let (words, _) = self.0.as_chunks();
        for (word, start) in words.iter().zip([0, 8]) {
            text[start..start + 8].copy_from_slice(&hex::encode(u32::from_be_bytes(*word)));
        }
        text
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
                // Digits and dashes: always UTF-8.
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn malformed_trace_ids_are_refused() {
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
                "accepted although {reason}: {text}"
            );
        }
    }

    #[test]
    fn malformed_segment_ids_are_refused() {
        for (text, reason) in [
            ("", "empty"),
            ("53995c3f42cd8ad", "one digit short"),
            ("53995c3f42cd8ad80", "one digit long"),
            ("53995c3f42cd8adg", "not hex"),
            ("0000000000000000", "all zero"),
        ] {
            assert!(
                text.parse::<SegmentId>().is_err(),
                "accepted although {reason}: {text}"
            );
        }
    }

    #[test]
    fn upper_case_is_read_and_lower_case_printed() {
        let id: SegmentId = "53995C3F42CD8AD8".parse().unwrap();
        assert_eq!(id.to_string(), "53995c3f42cd8ad8");
    }

    #[test]
    fn a_new_trace_id_carries_its_time() {
        let id = TraceId::new(Timestamp::from_micros(0x5759_e988 * 1_000_000 + 999_999));
        assert!(id.to_string().starts_with("1-5759e988-"), "{id}");
    }

    #[test]
    fn ids_do_not_depend_on_the_generators_own_seed() {
        let first_of_a_process = || {
            let thread = std::thread::spawn(|| {
                fastrand::seed(7);
                SegmentId::new()
            });
            thread.join().unwrap()
        };
        assert_ne!(first_of_a_process(), first_of_a_process());
    }

    /// As after a snapshot: the same keys and state, and threads that have made ids before.
    #[test]
    fn ids_depend_on_what_a_restored_process_adds() {
        let keys = RandomState::new();
        assert_ne!(seed(&keys, 1), seed(&keys, 2));

        SegmentId::new();
        fastrand::seed(7);
        let (same, other) = (SegmentId::new(), SegmentId::new());
        fastrand::seed(7);
        assert_eq!(SegmentId::new(), same, "not seeded at each id");
        reseed(1);
        assert_ne!(SegmentId::new(), other);
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(bytes in any::<[u8; 16]>(), half in any::<[u8; 8]>()) {
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
