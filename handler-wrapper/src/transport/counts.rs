//! Counters of this process's documents, with losses by reason.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::support::diagnostics::{self, Level};

/// Shortest time between two reports of losses: an absent daemon is absent in every invocation.
const LOSSES_AGAIN: Duration = Duration::from_secs(60);

/// Why a document was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Not JSON, or larger than a datagram and nothing left to trim.
    TooLarge,
    /// The daemon's name could not be resolved, or no socket opened.
    DaemonUnknown,
    /// The kernel rejected the datagram, or no process listened at the daemon's address.
    NotSent,
    /// The settings allow only the extension, which did not take the document.
    NoExtension,
    /// Neither an extension nor a daemon address: expected on a developer's machine.
    Nowhere,
}

const LOSSES: [(Loss, &str); 5] = [
    (Loss::TooLarge, "too_large"),
    (Loss::DaemonUnknown, "daemon_unknown"),
    (Loss::NotSent, "not_sent"),
    (Loss::NoExtension, "no_extension"),
    (Loss::Nowhere, "nowhere"),
];

/// Counters. When nothing waits: `documents + split = handed + sent + lost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Finished documents.
    pub(crate) documents: u64,
    /// Documents that came out of a larger one, beyond the first part.
    pub(crate) split: u64,
    /// Documents that the kernel took for the extension.
    pub(crate) handed: u64,
    /// Documents that the kernel took for the daemon.
    pub(crate) sent: u64,
    /// Documents that lost a part of their content.
    pub(crate) trimmed: u64,
    /// Subsegments beyond the limit of their invocation: no document was made.
    pub(crate) left_out: u64,
    /// Number of times that the extension was given up.
    pub(crate) gave_up: u64,
    lost: [u64; LOSSES.len()],
}

impl Counts {
    pub(crate) fn lose(&mut self, reason: Loss, count: usize) {
        self.lost[reason as usize] += count as u64;
    }

    #[cfg(test)]
    pub(crate) fn lost(&self, reason: Loss) -> u64 {
        self.lost[reason as usize]
    }

    /// Returns the sum with the counts of another part.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.each(other, |own, other| *own += other);
        self
    }

    /// Returns what was counted after `earlier`, a former value of these counts.
    fn since(mut self, earlier: Self) -> Self {
        // A datagram that is rejected later makes `sent` smaller.
        self.each(earlier, |own, earlier| *own = own.saturating_sub(earlier));
        self
    }

    fn each(&mut self, other: Self, change: fn(&mut u64, u64)) {
        for (own, other) in [
            (&mut self.documents, other.documents),
            (&mut self.split, other.split),
            (&mut self.handed, other.handed),
            (&mut self.sent, other.sent),
            (&mut self.trimmed, other.trimmed),
            (&mut self.left_out, other.left_out),
            (&mut self.gave_up, other.gave_up),
        ]
        .into_iter()
        .chain(self.lost.iter_mut().zip(other.lost))
        {
            change(own, other);
        }
    }

    /// Returns true if documents were lost. A process without an address to send to loses none.
    fn has_losses(&self) -> bool {
        let lost: u64 = self.lost.iter().sum();
        lost > self.lost[Loss::Nowhere as usize]
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost: Map<String, Value> = LOSSES
            .into_iter()
            .map(|(reason, name)| (name, self.lost[reason as usize]))
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let line = json!({ "tracestitch": { "function": {
            "documents": self.documents,
            "split": self.split,
            "handed": self.handed,
            "sent": self.sent,
            "trimmed": self.trimmed,
            "left_out": self.left_out,
            "gave_up": self.gave_up,
            "lost": lost,
        } } });
        write!(f, "{line}")
    }
}

/// Reports the counts, each of them once.
#[derive(Debug, Default)]
pub(crate) struct CountsReporter(Mutex<Reported>);

#[derive(Debug, Default)]
struct Reported {
    counts: Counts,
    losses: Option<Instant>,
}

impl CountsReporter {
    /// Writes a JSON line with the counts since the previous line: at level debug after each
    /// invocation, at level warn after losses.
    pub(crate) fn report(&self, counts: Counts, now: Instant) {
        if let Some(new) = self.unreported(counts, now, diagnostics::writes(Level::Debug)) {
            diagnostics::raw(Level::Warn, format_args!("{new}"));
        }
    }

    fn unreported(&self, counts: Counts, now: Instant, always: bool) -> Option<Counts> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = counts.since(state.counts);
        let again = |last| now.saturating_duration_since(last) >= LOSSES_AGAIN;
        let losses = new.has_losses() && state.losses.is_none_or(again);
        if losses {
            state.losses = Some(now);
        }
        (losses || always).then(|| {
            state.counts = counts;
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_reported_at_once_and_then_once_a_minute() {
        let (reporter, start) = (CountsReporter::default(), Instant::now());
        let mut counts = Counts::default();
        let mut lines = Vec::new();
        for second in 0..150 {
            counts.documents += 1;
            if second >= 10 {
                counts.lose(Loss::NotSent, 1);
            }
            let now = start + Duration::from_secs(second);
            if let Some(new) = reporter.unreported(counts, now, false) {
                lines.push((second, new.documents, new.lost(Loss::NotSent)));
            }
        }
        assert_eq!(lines, [(10, 11, 1), (70, 60, 60), (130, 60, 60)]);
    }

    #[test]
    fn line_without_losses_is_written_at_level_debug() {
        let (reporter, now) = (CountsReporter::default(), Instant::now());
        let mut counts = Counts {
            documents: 3,
            handed: 3,
            ..Counts::default()
        };
        assert_eq!(reporter.unreported(counts, now, false), None);
        counts.lose(Loss::Nowhere, 1);
        assert_eq!(
            reporter.unreported(counts, now, false),
            None,
            "nothing to send to"
        );
        let line = reporter.unreported(counts, now, true).unwrap().to_string();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["tracestitch"]["function"]["handed"], 3);
        assert_eq!(line["tracestitch"]["function"]["lost"]["nowhere"], 1);
        let next = reporter.unreported(counts, now, true).unwrap();
        assert_eq!(next, Counts::default(), "each is reported once");
    }
}
