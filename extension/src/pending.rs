//! Keeps open documents, and finished ones until they are sent.

use std::collections::{BTreeMap, VecDeque};

use tracestitch_wire::delivery::Loss;
use tracestitch_wire::id::SegmentId;
use tracestitch_wire::time::Timestamp;

use crate::documents::Documents;
use crate::interrupted::{self, Closed, Interruption};
use crate::report::Counts;

/// Most documents and bytes that are kept.
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

/// A number of documents and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    bytes: usize,
    documents: usize,
}

impl Amount {
    fn add(&mut self, document: &[u8]) {
        self.bytes += document.len();
        self.documents += 1;
    }

    fn remove(&mut self, document: &[u8]) {
        self.bytes -= document.len();
        self.documents -= 1;
    }

    fn has_room_for(self, document: &[u8], limits: Limits) -> bool {
        self.documents < limits.documents && self.bytes + document.len() <= limits.bytes
    }
}

/// A document whose work has not ended, or a finished one that is sent only if its session dies.
#[derive(Debug)]
struct Open {
    /// Number of the document in the order in which open documents were written.
    number: u64,
    document: Vec<u8>,
}

/// The documents of all sessions, within [`Limits`].
///
/// Finished documents take precedence. If there is no room, the open documents that were written
/// longest ago are dropped: they still arrive when they are finished, but are not closed if the
/// function dies. So work that never ends cannot keep out work that does.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    limits: Limits,
    /// Open documents by session and id.
    open: BTreeMap<(u64, SegmentId), Open>,
    /// Keys and numbers of open documents, oldest first. Entries whose document was finished,
    /// dropped or replaced stay until [`Pending::sweep_ages`] removes them.
    ages: VecDeque<((u64, SegmentId), u64)>,
    next_number: u64,
    /// Finished documents by session, oldest first.
    finished: Vec<(u64, Documents)>,
    /// The next list of finished documents, empty.
    spare: Documents,
    open_amount: Amount,
    finished_amount: Amount,
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

    /// Keeps a document in progress, or a finished one that is not wanted yet. It replaces an
    /// earlier one of the same id.
    pub(crate) fn open(&mut self, session: u64, id: SegmentId, document: &[u8]) {
        self.discard(session, id);
        if !self.make_room(document) {
            self.counts.unwatched += 1;
            return;
        }
        let (key, number) = ((session, id), self.next_number);
        self.next_number += 1;
        self.sweep_ages();
        self.ages.push_back((key, number));
        self.open_amount.add(document);
        let document = document.to_vec();
        self.open.insert(key, Open { number, document });
    }

    /// Keeps a finished document until it is taken. It replaces an open one of the same id.
    pub(crate) fn close(&mut self, session: u64, id: SegmentId, document: &[u8]) {
        self.discard(session, id);
        self.counts.received += 1;
        if self.make_room(document) {
            self.finish(session, document);
        } else {
            self.counts.delivery.lose(Loss::NoRoom, 1);
        }
    }

    /// Drops an open document, if it is here.
    pub(crate) fn discard(&mut self, session: u64, id: SegmentId) {
        if let Some(open) = self.open.remove(&(session, id)) {
            self.open_amount.remove(&open.document);
        }
    }

    /// Drops all open documents of `session`, whose function sends them to the daemon itself.
    pub(crate) fn discard_all(&mut self, session: u64) {
        self.take_open(session);
    }

    /// Finishes all documents that `session` left open. One that has an end already is not
    /// changed: it was kept in case the function dies before it decides about the document.
    pub(crate) fn interrupt(&mut self, session: u64, at: Timestamp, why: &Interruption) {
        for document in self.take_open(session) {
            match interrupted::close(&document, at, why) {
                Closed::Already => {
                    self.counts.received += 1;
                    self.finish(session, &document);
                }
                Closed::Now(document) => {
                    self.counts.interrupted += 1;
                    self.finish(session, &document);
                }
                Closed::Malformed => {
                    self.counts.interrupted += 1;
                    self.counts.delivery.lose(Loss::Malformed, 1);
                }
            }
        }
    }

    /// Returns true if `session` has open documents.
    pub(crate) fn has_open(&self, session: u64) -> bool {
        self.keys_of(session).next().is_some()
    }

    /// Returns true if finished documents of `session` wait to be taken.
    pub(crate) fn has_finished(&self, session: u64) -> bool {
        self.finished.iter().any(|(owner, _)| *owner == session)
    }

    /// Takes all finished documents with their sessions, in the order in which they were
    /// finished.
    pub(crate) fn take_finished(&mut self) -> Vec<(u64, Documents)> {
        self.finished_amount = Amount::default();
        std::mem::take(&mut self.finished)
    }

    /// Takes back a list whose documents were sent. Its memory serves the next ones.
    pub(crate) fn reuse(&mut self, mut documents: Documents) {
        documents.clear();
        self.spare = documents;
    }

    /// Counters of documents that were received, closed and lost here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    fn finish(&mut self, session: u64, document: &[u8]) {
        self.finished_amount.add(document);
        match self.finished.last_mut() {
            Some((owner, documents)) if *owner == session => documents.push(document),
            _ => {
                let mut documents = std::mem::take(&mut self.spare);
                documents.push(document);
                self.finished.push((session, documents));
            }
        }
    }

    fn take_open(&mut self, session: u64) -> Vec<Vec<u8>> {
        let keys: Vec<_> = self.keys_of(session).collect();
        let mut documents = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(open) = self.open.remove(&key) {
                self.open_amount.remove(&open.document);
                documents.push(open.document);
            }
        }
        documents
    }

    fn keys_of(&self, session: u64) -> impl Iterator<Item = (u64, SegmentId)> {
        let keys = self.open.keys().copied();
        keys.filter(move |(owner, _)| *owner == session)
    }

    /// Removes entries of documents that are not open any more, once they are the larger part.
    fn sweep_ages(&mut self) {
        if self.ages.len() > 2 * self.open.len() + 64 {
            let open = &self.open;
            self.ages
                .retain(|(key, number)| open.get(key).is_some_and(|open| open.number == *number));
        }
    }

    /// Drops open documents, oldest first, until there is room for `document`. Returns false if
    /// finished ones alone leave none.
    fn make_room(&mut self, document: &[u8]) -> bool {
        if !self.finished_amount.has_room_for(document, self.limits) {
            return false;
        }
        while !self.amount().has_room_for(document, self.limits) {
            let Some((key, number)) = self.ages.pop_front() else {
                return false;
            };
            if self
                .open
                .get(&key)
                .is_some_and(|open| open.number == number)
            {
                self.discard(key.0, key.1);
                self.counts.unwatched += 1;
            }
        }
        true
    }

    fn amount(&self) -> Amount {
        Amount {
            bytes: self.open_amount.bytes + self.finished_amount.bytes,
            documents: self.open_amount.documents + self.finished_amount.documents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(5_000_000);

    fn id(n: u64) -> SegmentId {
        format!("{:016x}", n + 1).parse().unwrap()
    }

    fn small() -> Pending {
        Pending::with_limits(Limits {
            bytes: 10,
            documents: 2,
        })
    }

    fn take(pending: &mut Pending) -> Vec<Vec<u8>> {
        let finished = pending.take_finished();
        let documents = finished.iter().flat_map(|(_, documents)| documents.iter());
        documents.map(<[u8]>::to_vec).collect()
    }

    fn is_empty(pending: &Pending) -> bool {
        pending.amount() == Amount::default() && pending.open.is_empty()
    }

    #[test]
    fn close_replaces_its_open() {
        let mut pending = Pending::default();
        pending.open(1, id(1), b"{\"in_progress\":true}");
        pending.close(1, id(1), b"{}");
        assert!(!pending.has_open(1));
        let expected = Documents::from_iter([b"{}"]);
        assert_eq!(pending.take_finished(), [(1, expected)]);
        assert_eq!(take(&mut pending), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn sessions_do_not_touch_each_other() {
        let mut pending = Pending::default();
        pending.open(1, id(1), b"{}");
        pending.discard(2, id(1));
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
        assert_eq!(take(&mut pending).len(), 1);
        assert_eq!(pending.counts().interrupted, 2);
        assert_eq!(pending.counts().delivery.lost.of(Loss::Malformed), 1);
        assert!(is_empty(&pending));
    }

    #[test]
    fn document_that_was_finished_is_unchanged_when_its_function_dies() {
        const DONE: &[u8] = br#"{"start_time":1.000000,"end_time":2.000000}"#;
        let mut pending = Pending::default();
        for (n, reason) in [(1, "kept"), (2, "discarded"), (3, "closed before")] {
            pending.open(1, id(n), br#"{"start_time":1.0,"in_progress":true}"#);
            pending.open(1, id(n), DONE);
            assert_eq!(take(&mut pending), Vec::<Vec<u8>>::new(), "{reason}");
        }
        pending.discard(1, id(2));
        pending.close(1, id(3), DONE);
        assert_eq!(take(&mut pending), [DONE]);
        pending.interrupt(1, AT, &Interruption::Crash);
        assert_eq!(take(&mut pending), [DONE]);
        assert_eq!(pending.counts().received, 2);
        assert_eq!(pending.counts().interrupted, 0);
        assert!(is_empty(&pending));
    }

    #[test]
    fn finished_documents_beyond_the_limits_are_lost_and_counted() {
        let mut by_count = small();
        (0..3).for_each(|n| by_count.close(1, id(n), b"{}"));
        assert_eq!(by_count.counts().delivery.lost.of(Loss::NoRoom), 1);
        assert_eq!(take(&mut by_count).len(), 2);

        let mut by_bytes = small();
        by_bytes.close(1, id(1), b"12345678");
        by_bytes.close(1, id(2), b"123");
        assert_eq!(by_bytes.counts().delivery.lost.of(Loss::NoRoom), 1);
    }

    #[test]
    fn oldest_open_documents_make_room_for_newer_ones() {
        let mut pending = small();
        for n in [0, 1, 0, 2] {
            pending.open(1, id(n), b"{}");
        }
        assert_eq!(pending.counts().unwatched, 1);
        pending.interrupt(1, AT, &Interruption::Crash);
        assert_eq!(pending.counts().interrupted, 2);
        assert!(!pending.has_open(1));
        let mut pending = small();
        (0..3).for_each(|n| pending.open(n, id(n), b"{}"));
        let open = [0, 1, 2].map(|session| pending.has_open(session));
        assert_eq!(open, [false, true, true]);
    }

    #[test]
    fn document_that_is_too_large_drops_no_other() {
        let mut pending = small();
        pending.open(1, id(1), b"{}");
        pending.open(1, id(2), b"12345678901");
        pending.close(1, id(3), b"12345678901");
        assert!(pending.has_open(1));
        assert_eq!(pending.counts().unwatched, 1);
        assert_eq!(pending.counts().delivery.lost.of(Loss::NoRoom), 1);
    }

    #[test]
    fn leaked_open_documents_do_not_keep_out_finished_ones() {
        let mut pending = Pending::default();
        let leaked = 25_000;
        for n in 0..leaked {
            pending.open(1, id(n), b"{}");
            pending.close(1, id(leaked + n), b"{}");
            assert_eq!(take(&mut pending), [b"{}"], "{n}");
        }
        assert!(pending.counts().delivery.lost.is_empty());
        // Each finished document needs the room of one for a moment.
        assert_eq!(pending.counts().unwatched, leaked - 19_999);
    }

    #[test]
    fn list_of_ages_is_bounded_by_the_open_documents() {
        let mut pending = Pending::default();
        pending.open(1, id(0), b"{}");
        for n in 1..10_000 {
            pending.open(1, id(n), b"{}");
            pending.discard(1, id(n));
        }
        assert!(pending.ages.len() < 100, "{}", pending.ages.len());
        assert!(pending.has_open(1));
    }

    #[test]
    fn document_that_could_not_be_kept_open_arrives_when_it_is_finished() {
        let mut pending = small();
        (0..3).for_each(|n| pending.open(1, id(n), b"{}"));
        assert_eq!(pending.counts().unwatched, 1);
        pending.discard_all(1);
        (0..2).for_each(|n| pending.close(1, id(n), b"{}"));
        assert_eq!(take(&mut pending).len(), 2);
        assert!(pending.counts().delivery.lost.is_empty());
        assert!(is_empty(&pending));
    }

    #[test]
    fn documents_that_leave_make_room() {
        let mut pending = small();
        for _ in 0..5 {
            pending.open(1, id(1), b"1234567890");
            pending.open(1, id(1), b"0987654321");
            pending.discard(1, id(1));
            pending.close(1, id(1), b"1234567890");
            assert_eq!(take(&mut pending).len(), 1);
        }
        assert!(pending.counts().delivery.lost.is_empty());
        assert!(is_empty(&pending));
    }
}
