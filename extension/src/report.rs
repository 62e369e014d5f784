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
}

/// Counters of one part of the extension. Over all parts, when nothing waits any more:
/// `received + interrupted + split = sent + lost`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Finished documents that the function handed over.
    pub(crate) received: u64,
    /// Documents that were open when the function died, closed by the extension.
    pub(crate) interrupted: u64,
    /// Documents that came out of a larger one, to stand on their own.
    pub(crate) split: u64,
    /// Documents handed to the kernel, each in a datagram of its own.
    pub(crate) sent: u64,
    /// Documents that lost a part of their content.
    pub(crate) trimmed: u64,
    /// Documents that were lost.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) lost: BTreeMap<Loss, u64>,
    /// Documents in progress for which there was no room: had the function died, they would not
    /// have been closed.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unwatched: u64,
    /// Frames that were incomplete when their connection ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) cut_off: u64,
    /// Connections that said what the protocol does not allow; what followed was not read.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unreadable: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
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
        self.each(other, |own, other| *own += other);
        self
    }

    /// What has been counted since these counts were `earlier`.
    #[must_use]
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        // A datagram that was refused later makes `sent` smaller.
        self.each(earlier, |own, earlier| *own = own.saturating_sub(earlier));
        self.lost.retain(|_, count| *count > 0);
        self
    }

    fn each(&mut self, other: &Self, change: fn(&mut u64, u64)) {
        for (own, other) in [
            (&mut self.received, other.received),
            (&mut self.interrupted, other.interrupted),
            (&mut self.split, other.split),
            (&mut self.sent, other.sent),
            (&mut self.trimmed, other.trimmed),
            (&mut self.unwatched, other.unwatched),
            (&mut self.cut_off, other.cut_off),
            (&mut self.unreadable, other.unreadable),
        ] {
            change(own, other);
        }
        for (reason, count) in &other.lost {
            change(self.lost.entry(*reason).or_default(), *count);
        }
    }

    fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.unwatched + self.cut_off + self.unreadable == 0
    }

    /// One JSON line, at level info or when something was lost.
    pub(crate) fn report(&self, log: Log) {
        if log.writes(Level::Info) || !self.is_whole() {
            log.raw(&serde_json::json!({ "tracestitch": self }).to_string());
        }
    }

    /// One JSON line for what happened since the line before.
    pub(crate) fn report_invocation(&self, log: Log) {
        log.raw(&serde_json::json!({ "tracestitch": { "invocation": self } }).to_string());
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
        let both = one.clone().and(&other);
        assert_eq!(
            serde_json::to_value(&both).unwrap(),
            serde_json::json!({
                "received": 2, "interrupted": 0, "split": 0, "sent": 1, "trimmed": 0,
                "lost": { "no_room": 3 },
            })
        );
        assert_eq!(both.since(&other), one);
    }
}
