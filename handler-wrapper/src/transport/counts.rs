//! Counters of this process's documents, with losses by reason.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tracestitch_wire::delivery::{Counters, Delivery, Loss};

use crate::support::diagnostics::{self, Level};

/// Shortest time between two reports of losses: an absent daemon is absent in every invocation.
const LOSSES_AGAIN: Duration = Duration::from_secs(60);

/// Counters. When nothing waits: `documents + split + taken_back = handed + sent + lost`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Finished documents.
    pub(crate) documents: u64,
    /// Finished documents that were published to the extension.
    pub(crate) handed: u64,
    /// Published documents that the extension left unread when it closed the session. They went to
    /// the daemon.
    pub(crate) taken_back: u64,
    /// Finished documents for which the ring had no room. They went to the daemon.
    pub(crate) ring_full: u64,
    /// Versions of documents in progress that the extension does not know, because the ring had no
    /// room.
    pub(crate) untracked: u64,
    /// Subsegments beyond the limit of their invocation: no document was made.
    pub(crate) left_out: u64,
    /// Number of times that the extension was given up.
    pub(crate) gave_up: u64,
    /// Number of times that the system refused a file in memory.
    pub(crate) no_memory_file: u64,
    /// Number of times that there was no memory to share at all.
    pub(crate) no_ring: u64,
    /// Outcome of the documents for the daemon.
    pub(crate) delivery: Delivery,
}

impl Counts {
    /// Returns true if documents were lost. A process without an address to send to loses none.
    fn has_losses(&self) -> bool {
        let lost = &self.delivery.lost;
        lost.total() > lost.of(Loss::Nowhere)
    }
}

impl Counters for Counts {
    fn zip_with(&mut self, other: &Self, change: fn(&mut u64, u64)) {
        for (own, other) in [
            (&mut self.documents, other.documents),
            (&mut self.handed, other.handed),
            (&mut self.taken_back, other.taken_back),
            (&mut self.ring_full, other.ring_full),
            (&mut self.untracked, other.untracked),
            (&mut self.left_out, other.left_out),
            (&mut self.gave_up, other.gave_up),
            (&mut self.no_memory_file, other.no_memory_file),
            (&mut self.no_ring, other.no_ring),
        ] {
            change(own, other);
        }
        self.delivery.zip_with(&other.delivery, change);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = json!({ "tracestitch": { "function": {
            "documents": self.documents,
            "split": self.delivery.split,
            "handed": self.handed,
            "taken_back": self.taken_back,
            "ring_full": self.ring_full,
            "untracked": self.untracked,
            "sent": self.delivery.sent,
            "trimmed": self.delivery.trimmed,
            "left_out": self.left_out,
            "gave_up": self.gave_up,
            "no_memory_file": self.no_memory_file,
            "no_ring": self.no_ring,
            "lost": self.delivery.lost,
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
        let new = counts.since(&state.counts);
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
    use serde_json::Value;

    use super::*;

    #[test]
    fn losses_are_reported_at_once_and_then_once_a_minute() {
        let (reporter, start) = (CountsReporter::default(), Instant::now());
        let mut counts = Counts::default();
        let mut lines = Vec::new();
        for second in 0..150 {
            counts.documents += 1;
            if second >= 10 {
                counts.delivery.lose(Loss::NotSent, 1);
            }
            let now = start + Duration::from_secs(second);
            if let Some(new) = reporter.unreported(counts, now, false) {
                lines.push((second, new.documents, new.delivery.lost.of(Loss::NotSent)));
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
        counts.delivery.lose(Loss::Nowhere, 1);
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
