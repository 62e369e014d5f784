//! Documents that are open, and finished ones that wait to be sent.

use std::collections::BTreeMap;

use tracestitch_wire::id::SegmentId;
use tracestitch_wire::time::Timestamp;

use crate::interrupted::{self, Interruption};
use crate::report::{Counts, Loss};

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of all documents together.
    pub(crate) bytes: usize,
    /// Documents, open and finished.
    pub(crate) documents: usize,
}

impl Default for Limits {
    /// 8 MiB in a process that shares the smallest function's 128 MB, and more documents than
    /// fit into it at their usual size of some 500 bytes.
    fn default() -> Self {
        Self {
            bytes: 8 * 1024 * 1024,
            documents: 20_000,
        }
    }
}

/// The documents of all sessions, within [`Limits`].
#[derive(Debug, Default)]
pub(crate) struct Pending {
    limits: Limits,
    open: BTreeMap<u64, BTreeMap<SegmentId, Vec<u8>>>,
    finished: Vec<Vec<u8>>,
    bytes: usize,
    documents: usize,
    counts: Counts,
}

impl Pending {
    #[cfg(test)]
    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Keeps a document in progress, or one that is finished and not yet wanted, in place of an
    /// earlier one of the same id.
    pub(crate) fn open(&mut self, session: u64, id: SegmentId, document: &[u8]) {
        self.forget(session, id);
        if self.admit(document) {
            self.open
                .entry(session)
                .or_default()
                .insert(id, document.to_vec());
        } else {
            self.counts.unwatched += 1;
        }
    }

    /// Keeps a finished document until it is taken; it replaces an open one of the same id.
    pub(crate) fn close(&mut self, session: u64, id: SegmentId, document: &[u8]) {
        self.forget(session, id);
        self.counts.received += 1;
        if self.admit(document) {
            self.finished.push(document.to_vec());
        } else {
            self.counts.lose(Loss::NoRoom);
        }
    }

    /// Drops an open document: there was nothing to tell.
    pub(crate) fn forget(&mut self, session: u64, id: SegmentId) {
        let Some(documents) = self.open.get_mut(&session) else {
            return;
        };
        if let Some(document) = documents.remove(&id) {
            self.bytes -= document.len();
            self.documents -= 1;
        }
        if documents.is_empty() {
            self.open.remove(&session);
        }
    }

    /// Drops all that `session` has open: the function tells the daemon itself how it ends.
    pub(crate) fn forget_all(&mut self, session: u64) {
        for document in self.open.remove(&session).unwrap_or_default().into_values() {
            self.bytes -= document.len();
            self.documents -= 1;
        }
    }

    /// Finishes all that `session` left open. What was finished already stays as it is: the
    /// function had not lived to say whether it is wanted, and that it died is what it was kept
    /// for.
    pub(crate) fn interrupt(&mut self, session: u64, at: Timestamp, why: &Interruption) {
        for document in self.open.remove(&session).unwrap_or_default().into_values() {
            if interrupted::is_finished(&document) {
                self.counts.received += 1;
                self.finished.push(document);
                continue;
            }
            self.bytes -= document.len();
            self.counts.interrupted += 1;
            match interrupted::close(&document, at, why) {
                Some(document) => {
                    self.bytes += document.len();
                    self.finished.push(document);
                }
                None => {
                    self.documents -= 1;
                    self.counts.lose(Loss::Malformed);
                }
            }
        }
    }

    /// True when `session` has open documents.
    pub(crate) fn has_open(&self, session: u64) -> bool {
        self.open.contains_key(&session)
    }

    /// All finished documents, in the order in which they were finished.
    pub(crate) fn take_finished(&mut self) -> Vec<Vec<u8>> {
        let finished = std::mem::take(&mut self.finished);
        self.bytes -= finished.iter().map(Vec::len).sum::<usize>();
        self.documents -= finished.len();
        finished
    }

    /// What was received, closed and lost here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    fn admit(&mut self, document: &[u8]) -> bool {
        let room = self.documents < self.limits.documents
            && self.bytes + document.len() <= self.limits.bytes;
        if room {
            self.documents += 1;
            self.bytes += document.len();
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(5_000_000);

    fn id(n: u8) -> SegmentId {
        format!("{:016x}", u64::from(n) + 1).parse().unwrap()
    }

    fn small() -> Pending {
        Pending::with_limits(Limits {
            bytes: 10,
            documents: 2,
        })
    }

    #[test]
    fn a_close_replaces_its_open() {
        let mut pending = Pending::default();
        pending.open(1, id(1), b"{\"in_progress\":true}");
        pending.close(1, id(1), b"{}");
        assert!(!pending.has_open(1));
        assert_eq!(pending.take_finished(), [b"{}"]);
        assert_eq!(pending.take_finished(), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn sessions_do_not_touch_each_other() {
        let mut pending = Pending::default();
        pending.open(1, id(1), b"{}");
        pending.forget(2, id(1));
        pending.interrupt(2, AT, &Interruption::Crash);
        assert!(pending.has_open(1));
    }

    #[test]
    fn interrupted_documents_are_finished_once() {
        let mut pending = Pending::default();
        pending.open(1, id(1), b"{}");
        pending.open(1, id(2), b"not json");
        pending.interrupt(1, AT, &Interruption::Crash);
        pending.interrupt(1, AT, &Interruption::Crash);
        assert_eq!(pending.take_finished().len(), 1);
        assert_eq!(pending.counts().interrupted, 2);
        assert_eq!(pending.counts().lost[&Loss::Malformed], 1);
        assert_eq!((pending.bytes, pending.documents), (0, 0));
    }

    #[test]
    fn what_was_finished_stays_as_it_is_when_its_function_dies() {
        const DONE: &[u8] = br#"{"start_time":1.000000,"end_time":2.000000}"#;
        let mut pending = Pending::default();
        for (n, reason) in [(1, "kept"), (2, "not wanted"), (3, "wanted before")] {
            pending.open(1, id(n), br#"{"start_time":1.0,"in_progress":true}"#);
            pending.open(1, id(n), DONE);
            assert_eq!(pending.take_finished(), Vec::<Vec<u8>>::new(), "{reason}");
        }
        pending.forget(1, id(2));
        pending.close(1, id(3), DONE);
        assert_eq!(pending.take_finished(), [DONE]);
        pending.interrupt(1, AT, &Interruption::Crash);
        assert_eq!(pending.take_finished(), [DONE]);
        assert_eq!(pending.counts().received, 2);
        assert_eq!(pending.counts().interrupted, 0);
        assert_eq!((pending.bytes, pending.documents), (0, 0));
    }

    #[test]
    fn beyond_the_limits_documents_are_lost_and_counted() {
        let mut by_count = small();
        (0..3).for_each(|n| by_count.close(1, id(n), b"{}"));
        assert_eq!(by_count.counts().lost[&Loss::NoRoom], 1);
        assert_eq!(by_count.take_finished().len(), 2);

        let mut by_bytes = small();
        by_bytes.open(1, id(1), b"12345678");
        by_bytes.close(1, id(2), b"123");
        assert_eq!(by_bytes.counts().lost[&Loss::NoRoom], 1);
    }

    #[test]
    fn what_cannot_be_watched_is_not_lost_when_it_finishes() {
        let mut pending = small();
        (0..3).for_each(|n| pending.open(1, id(n), b"{}"));
        assert_eq!(pending.counts().unwatched, 1);
        pending.forget_all(1);
        (0..2).for_each(|n| pending.close(1, id(n), b"{}"));
        assert_eq!(pending.take_finished().len(), 2);
        assert!(pending.counts().lost.is_empty());
        assert_eq!((pending.bytes, pending.documents), (0, 0));
    }

    #[test]
    fn what_leaves_makes_room() {
        let mut pending = small();
        for _ in 0..5 {
            pending.open(1, id(1), b"1234567890");
            pending.open(1, id(1), b"0987654321");
            pending.forget(1, id(1));
            pending.close(1, id(1), b"1234567890");
            assert_eq!(pending.take_finished().len(), 1);
        }
        assert!(pending.counts().lost.is_empty());
        assert_eq!((pending.bytes, pending.documents), (0, 0));
    }
}
