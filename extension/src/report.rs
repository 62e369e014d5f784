//! What was delivered and what was lost, by reason.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Level, Log};

/// Why a document did not reach the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loss {
    /// Too many documents or bytes waited already.
    NoRoom,
    /// An interrupted document was not a JSON object.
    Malformed,
    /// Larger than a datagram and nothing left to trim.
    TooLarge,
    /// The daemon's name could not be resolved.
    DaemonUnknown,
    /// The kernel refused the datagram, or nobody listened at the daemon's address.
    NotSent,
    /// A frame was incomplete when its connection ended.
    CutOff,
    /// A connection said what the protocol does not allow; what followed was not read.
    Unreadable,
}

/// Counters of one part of the extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Finished documents that the function handed over.
    pub(crate) received: u64,
    /// Documents that were open when the function died, closed by the extension.
    pub(crate) interrupted: u64,
    /// Datagrams handed to the kernel. A split document makes several.
    pub(crate) sent: u64,
    /// Documents of more than one datagram.
    pub(crate) split: u64,
    /// Documents that lost a part of their content.
    pub(crate) trimmed: u64,
    /// Documents that were lost.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) lost: BTreeMap<Loss, u64>,
}

impl Counts {
    /// Counts one loss.
    pub(crate) fn lose(&mut self, reason: Loss) {
        self.lose_many(reason, 1);
    }

    /// Counts several losses of one reason.
    pub(crate) fn lose_many(&mut self, reason: Loss, count: u64) {
        if count > 0 {
            *self.lost.entry(reason).or_default() += count;
        }
    }

    /// These counts and those of another part.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.received += other.received;
        self.interrupted += other.interrupted;
        self.sent += other.sent;
        self.split += other.split;
        self.trimmed += other.trimmed;
        for (reason, count) in &other.lost {
            self.lose_many(*reason, *count);
        }
        self
    }

    /// One JSON line, at level info or when something was lost.
    pub(crate) fn report(&self, log: Log) {
        if log.writes(Level::Info) || !self.lost.is_empty() {
            log.raw(&serde_json::json!({ "tracestitch": self }).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        let mut one = Counts {
            received: 2,
            ..Counts::default()
        };
        one.lose(Loss::NoRoom);
        let mut other = Counts {
            sent: 1,
            ..Counts::default()
        };
        other.lose_many(Loss::NoRoom, 2);
        other.lose_many(Loss::NotSent, 0);
        assert_eq!(
            serde_json::to_value(one.and(&other)).unwrap(),
            serde_json::json!({
                "received": 2, "interrupted": 0, "sent": 1, "split": 0, "trimmed": 0,
                "lost": { "no_room": 3 },
            })
        );
    }
}
