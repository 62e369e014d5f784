//! Dispatch of each document: to the extension, or to the daemon.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracestitch_wire::{
    datagram::{self, MAX_DOCUMENT},
    delivery::{Counters, Loss},
    id::{self, SegmentId},
};

use super::{
    counts::{Counts, CountsReporter},
    direct::Direct,
    handoff::Handoff,
    sink::{Flushed, Sink},
};
use crate::{
    settings::config::{Config, Route},
    support::clock,
};

/// Sends documents to the extension if there is one, else to the daemon.
///
/// Each finished document goes one of the two ways, never both. Documents in shared memory belong
/// to the extension until it has closed its socket; then what it has not released goes to the
/// daemon. If the extension dies after it sent a document and before it released it, that document
/// arrives twice. Documents in progress when the extension dies or is given up are not closed if
/// the function is killed.
#[derive(Debug)]
pub(crate) struct Transport {
    handoff: Option<Mutex<Handoff>>,
    direct: Option<Direct>,
    /// Counters of finished, split and trimmed documents, of work left out, and of losses between
    /// the two ways.
    counts: Mutex<Counts>,
    /// Reason of the loss if the extension does not take a document and there is no daemon.
    no_daemon: Loss,
    reporter: CountsReporter,
    /// True if the process was restored from a snapshot and has not begun its first invocation.
    restored: AtomicBool,
}

impl Transport {
    /// Connects to the extension, if it is there.
    pub(crate) fn new(config: &Config) -> Self {
        let direct = (config.route != Route::Extension)
            .then(|| config.daemon.as_ref().map(Direct::new))
            .flatten();
        let handoff = (config.route != Route::Direct).then(|| Mutex::new(Handoff::new(config)));
        Self {
            handoff,
            direct,
            counts: Mutex::default(),
            no_daemon: match config.route {
                Route::Extension => Loss::NoExtension,
                Route::Auto | Route::Direct => Loss::Nowhere,
            },
            reporter: CountsReporter::default(),
            restored: AtomicBool::new(config.snapshot),
        }
    }

    fn handoff(&self) -> Option<MutexGuard<'_, Handoff>> {
        self.handoff.as_ref().map(lock)
    }

    fn hand_over(&self, id: SegmentId, document: &[u8]) {
        let refused = match self.handoff() {
            Some(mut handoff) if handoff.is_up() => Some(handoff.close(id, document)),
            _ => None,
        };
        match refused {
            Some(refused) => self.send(&refused),
            None => self.send(&[document]),
        }
    }

    fn send<D: AsRef<[u8]>>(&self, documents: &[D]) {
        match &self.direct {
            Some(direct) => documents
                .iter()
                .for_each(|document| direct.send(document.as_ref())),
            None if documents.is_empty() => {}
            None => {
                let count = documents.len() as u64;
                lock(&self.counts).delivery.lose(self.no_daemon, count);
            }
        }
    }

    /// Returns all counters of this process.
    fn counts(&self) -> Counts {
        let mut counts = *lock(&self.counts);
        if let Some(handoff) = self.handoff() {
            counts = counts.and(&handoff.counts());
        }
        if let Some(direct) = &self.direct {
            counts.delivery = counts.delivery.and(&direct.counts());
        }
        counts
    }
}

/// Returns a number that differs among processes restored from one snapshot.
fn entropy() -> u64 {
    let mut bytes = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    match read {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => clock::now().as_micros(),
    }
}

/// Locks a mutex whose data a panic cannot leave in a state that matters more than the data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink for Transport {
    fn begin(&self) {
        if self.restored.swap(false, Ordering::Relaxed) {
            // All processes restored from one snapshot would create the same ids.
            id::reseed(entropy());
            if let Some(direct) = &self.direct {
                direct.reopen();
            }
        }
        if let Some(direct) = &self.direct {
            direct.begin();
        }
        let refused = self.handoff().map(|mut handoff| handoff.begin());
        self.send(&refused.unwrap_or_default());
    }

    fn announce(&self, request_id: &str) {
        let refused = self
            .handoff()
            .map(|mut handoff| handoff.announce(request_id));
        self.send(&refused.unwrap_or_default());
    }

    fn open(&self, id: SegmentId, document: &[u8]) {
        if document.len() <= MAX_DOCUMENT {
            let refused = self.handoff().map(|mut handoff| handoff.open(id, document));
            return self.send(&refused.unwrap_or_default());
        }
        // The first part is the document itself. It has no parts yet, or they are separate
        // documents.
        match datagram::fit(document.to_vec()).documents.first() {
            Some(document) => self.open(id, document),
            // The earlier version of the document must not be closed in its place.
            None => self.discard(&[id]),
        }
    }

    fn close(&self, id: SegmentId, document: &[u8]) {
        if document.len() <= MAX_DOCUMENT {
            lock(&self.counts).documents += 1;
            return self.hand_over(id, document);
        }
        let fitted = datagram::fit(document.to_vec());
        {
            let mut counts = lock(&self.counts);
            counts.documents += 1;
            counts.delivery.record_fit(&fitted);
        }
        if fitted.documents.is_empty() {
            // The opened document must not be closed as a fault later.
            self.discard(&[id]);
        }
        for (part, document) in fitted.documents.into_iter().enumerate() {
            // Parts have new ids, which are in their documents alone.
            let id = if part == 0 { id } else { SegmentId::new() };
            self.hand_over(id, &document);
        }
    }

    fn discard(&self, ids: &[SegmentId]) {
        let refused = self.handoff().map(|mut handoff| handoff.discard(ids));
        self.send(&refused.unwrap_or_default());
    }

    fn leave_out(&self) {
        lock(&self.counts).left_out += 1;
    }

    fn flush(&self) -> Flushed {
        self.direct.as_ref().map_or(Flushed::All, Direct::flush)
    }

    fn end(&self, request_id: &str) {
        let refused = self.handoff().map(|mut handoff| handoff.end(request_id));
        self.send(&refused.unwrap_or_default());
        if let Some(direct) = &self.direct {
            direct.finish();
        }
        self.reporter.report(self.counts(), clock::monotonic());
    }
}

#[cfg(test)]
mod tests;
