//! Counts what was delivered and what was lost, and reports it in JSON lines.

use serde::ser::{Serialize, SerializeMap, Serializer};
use tracestitch_wire::delivery::{Counters, Delivery};

use crate::log::{Level, Log};

/// Counters of one part of the extension. Over all parts, once nothing waits any more:
/// `received + interrupted + split = sent + lost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Finished documents that the function handed over and did not withdraw.
    pub(crate) received: u64,
    /// Documents that were open when the function died, closed by the extension.
    pub(crate) interrupted: u64,
    /// Outcome of the documents that were to be sent.
    pub(crate) delivery: Delivery,
    /// Documents in progress for which there was no room. They arrive if they are finished; had
    /// the function died, they would not have been closed.
    pub(crate) unwatched: u64,
    /// Connections that sent what the protocol does not allow; the rest of them was not read.
    pub(crate) unreadable: u64,
}

impl Counters for Counts {
    fn zip_with(&mut self, other: &Self, change: fn(&mut u64, u64)) {
        change(&mut self.received, other.received);
        change(&mut self.interrupted, other.interrupted);
        self.delivery.zip_with(&other.delivery, change);
        change(&mut self.unwatched, other.unwatched);
        change(&mut self.unreadable, other.unreadable);
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, count) in [
            ("received", self.received),
            ("interrupted", self.interrupted),
            ("split", self.delivery.split),
            ("sent", self.delivery.sent),
            ("trimmed", self.delivery.trimmed),
        ] {
            map.serialize_entry(name, &count)?;
        }
        if !self.delivery.lost.is_empty() {
            map.serialize_entry("lost", &self.delivery.lost)?;
        }
        for (name, count) in [
            ("unwatched", self.unwatched),
            ("unreadable", self.unreadable),
        ] {
            if count > 0 {
                map.serialize_entry(name, &count)?;
            }
        }
        map.end()
    }
}

impl Counts {
    fn is_complete(&self) -> bool {
        self.delivery.lost.is_empty() && self.unwatched + self.unreadable == 0
    }

    /// Writes one JSON line, at level info, or at level warn if something was lost.
    pub(crate) fn report(&self, log: Log) {
        let level = if self.is_complete() {
            Level::Info
        } else {
            Level::Warn
        };
        if log.writes(level) {
            log.raw(serde_json::json!({ "tracestitch": self }).to_string());
        }
    }

    /// Writes one JSON line about the invocation that these counts cover.
    pub(crate) fn report_invocation(&self, log: Log) {
        log.raw(serde_json::json!({ "tracestitch": { "invocation": self } }).to_string());
    }
}

#[cfg(test)]
mod tests {
    use tracestitch_wire::delivery::Loss;

    use super::*;

    #[test]
    fn parts_add_up_and_unused_counters_are_left_out() {
        let mut one = Counts {
            received: 2,
            ..Counts::default()
        };
        one.delivery.lose(Loss::NoRoom, 1);
        let mut other = Counts::default();
        other.delivery.sent = 1;
        other.delivery.lose(Loss::NoRoom, 2);
        let both = one.and(&other);
        assert_eq!(
            serde_json::to_value(both).unwrap(),
            serde_json::json!({
                "received": 2, "interrupted": 0, "split": 0, "sent": 1, "trimmed": 0,
                "lost": { "no_room": 3 },
            })
        );
        assert_eq!(both.since(&other), one);
    }

    #[test]
    fn each_counter_is_added_and_reported() {
        let mut one = Counts {
            received: 1,
            interrupted: 1,
            delivery: Delivery::default(),
            unwatched: 1,
            unreadable: 1,
        };
        (one.delivery.split, one.delivery.sent, one.delivery.trimmed) = (1, 1, 1);
        let two = serde_json::to_value(one.and(&one)).unwrap();
        let counters = two.as_object().unwrap();
        assert_eq!(counters.len(), 7, "{two}");
        assert!(counters.values().all(|count| *count == 2), "{two}");
    }
}
