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
    /// Finished documents that the function handed over, without those that it did not want in
    /// the end.
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

    /// One JSON line, at level info, or at level warn when something was lost.
    pub(crate) fn report(&self, log: Log) {
        let level = if self.is_whole() {
            Level::Info
        } else {
            Level::Warn
        };
        if log.writes(level) {
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
    use std::net::UdpSocket;

    use tracestitch_wire::time::Timestamp;

    use super::*;
    use crate::flush::Flush;
    use crate::interrupted::Interruption;
    use crate::pending::{Limits, Pending};

    const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);

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

    /// Documents as they may come: usual ones, and such as must be split or trimmed, or cannot be
    /// sent or closed at all.
    fn document(random: &mut fastrand::Rng) -> Vec<u8> {
        let filler = "x".repeat(70_000);
        let child = |n: u32| {
            format!(
                r#"{{"name":"c{n}","id":"{n}","k":"{}"}}"#,
                &filler[..40_000]
            )
        };
        match random.u32(0..40) {
            0 => format!(
                r#"{{"id":"1","subsegments":[{},{},7]}}"#,
                child(1),
                child(2)
            ),
            1 => format!(r#"{{"metadata":{{"default":{{"k":"{filler}"}}}}}}"#),
            2 => format!(r#"{{"name":"{filler}"}}"#),
            3 => filler,
            4 => "[]".to_owned(),
            _ => r#"{"start_time":1.0,"in_progress":true}"#.to_owned(),
        }
        .into_bytes()
    }

    #[tokio::test]
    async fn over_random_histories_they_add_up() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = socket.local_addr().unwrap().to_string();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let nobody = free.local_addr().unwrap().to_string();
        drop(free);
        let mut random = fastrand::Rng::with_seed(7);
        let mut all = Counts::default();
        for daemon in [&there, &nobody, "nobody.invalid:2000"] {
            for round in 0..20 {
                let mut pending = Pending::with_limits(Limits {
                    bytes: 500_000,
                    documents: if round % 2 == 0 { 20 } else { 1_000 },
                });
                let mut flush = Flush::new(daemon.parse().ok(), Log::new(Level::Error));
                for _ in 0..random.usize(..150) {
                    let (session, id) = (random.u64(..3), random.u64(1..9));
                    let id = format!("{id:016x}").parse().unwrap();
                    match random.u32(..20) {
                        0..8 => pending.open(session, id, &document(&mut random)),
                        8..16 => pending.close(session, id, &document(&mut random)),
                        16 => pending.forget(session, id),
                        17 => pending.forget_all(session),
                        18 => pending.interrupt(session, NOW, &Interruption::Crash),
                        _ => flush.send(pending.take_finished()).await,
                    }
                }
                (0..3).for_each(|session| pending.interrupt(session, NOW, &Interruption::Timeout));
                flush.send(pending.take_finished()).await;
                let counts = flush.counts().clone().and(pending.counts());
                assert_eq!(
                    counts.received + counts.interrupted + counts.split,
                    counts.sent + counts.lost.values().sum::<u64>(),
                    "{counts:?}"
                );
                all = all.and(&counts);
            }
        }
        assert_eq!(all.lost.len(), 5, "each reason came up: {all:?}");
        assert!(
            all.split > 0 && all.trimmed > 0 && all.unwatched > 0,
            "{all:?}"
        );
    }
}
