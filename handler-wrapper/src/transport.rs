//! How documents leave the process.

mod direct;
mod handoff;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracestitch_wire::{
    datagram::{self, MAX_DOCUMENT},
    id::SegmentId,
};

use self::{direct::Direct, handoff::Handoff};
use crate::config::{Config, Route};

/// Takes documents; never blocks, never fails in the caller's face.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// An invocation begins.
    fn begin(&self);
    /// Work has begun; it is over only with `close` or `discard`.
    fn open(&self, id: SegmentId, document: &[u8]);
    /// Work is over.
    fn close(&self, id: SegmentId, document: Vec<u8>);
    /// Work that was opened turned out to be none.
    fn discard(&self, id: SegmentId);
    /// True when everything has left the process.
    fn flush(&self) -> bool;
    /// The reply of this invocation has been posted.
    fn end(&self, request_id: &str);
}

/// Takes nothing.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn begin(&self) {}
    fn open(&self, _id: SegmentId, _document: &[u8]) {}
    fn close(&self, _id: SegmentId, _document: Vec<u8>) {}
    fn discard(&self, _id: SegmentId) {}
    fn flush(&self) -> bool {
        true
    }
    fn end(&self, _request_id: &str) {}
}

/// To the extension where there is one, else to the daemon.
#[derive(Debug)]
pub(crate) struct Transport {
    handoff: Option<Mutex<Handoff>>,
    direct: Option<Direct>,
}

impl Transport {
    /// Connects to the extension, if it is there.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            handoff: (config.route != Route::Direct).then(|| Mutex::new(Handoff::new(config))),
            direct: (config.route != Route::Extension)
                .then(|| config.daemon.as_ref().map(Direct::new))
                .flatten(),
        }
    }

    fn handoff(&self) -> Option<MutexGuard<'_, Handoff>> {
        // A panic cannot leave a handoff half-changed in a way that matters more than its data.
        self.handoff
            .as_ref()
            .map(|handoff| handoff.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hand_over(&self, id: SegmentId, document: Vec<u8>) {
        let refused = match self.handoff() {
            Some(mut handoff) => handoff.close(id, document),
            None => vec![document],
        };
        self.send(refused);
    }

    fn send(&self, documents: impl IntoIterator<Item = Vec<u8>>) {
        if let Some(direct) = &self.direct {
            documents
                .into_iter()
                .for_each(|document| direct.send(&document));
        }
    }
}

impl Sink for Transport {
    fn begin(&self) {
        if let Some(mut handoff) = self.handoff() {
            handoff.connect();
        }
    }

    fn open(&self, id: SegmentId, document: &[u8]) {
        let refused = self.handoff().map(|mut handoff| handoff.open(id, document));
        self.send(refused.unwrap_or_default());
    }

    fn close(&self, id: SegmentId, document: Vec<u8>) {
        if document.len() <= MAX_DOCUMENT {
            return self.hand_over(id, document);
        }
        for (part, document) in datagram::fit(document).into_iter().enumerate() {
            // Parts that were split off have ids of their own, in their document only.
            let id = if part == 0 { id } else { SegmentId::new() };
            self.hand_over(id, document);
        }
    }

    fn discard(&self, id: SegmentId) {
        let refused = self.handoff().map(|mut handoff| handoff.discard(id));
        self.send(refused.unwrap_or_default());
    }

    fn flush(&self) -> bool {
        let Some((flushed, refused)) = self.handoff().map(|mut handoff| handoff.flush()) else {
            return true;
        };
        self.send(refused);
        flushed
    }

    fn end(&self, request_id: &str) {
        let refused = self.handoff().map(|mut handoff| handoff.end(request_id));
        self.send(refused.unwrap_or_default());
    }
}
