//! Documents of a trace that is not sampled, kept back until it is known how it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracestitch_wire::{document::Document, id::SegmentId};

/// Most documents that are kept back; later ones are left out, but never the outermost.
const MAX_DOCUMENTS: usize = 200;

/// The documents of one invocation or message.
///
/// They stay as they are, unserialised: most of them are thrown away.
#[derive(Debug, Default)]
pub(crate) struct Held {
    outermost: OnceLock<SegmentId>,
    documents: Mutex<Vec<Document>>,
    failed: AtomicBool,
}

impl Held {
    /// Something has begun; what begins first ends last.
    pub(crate) fn open(&self, id: SegmentId) {
        self.outermost.get_or_init(|| id);
    }

    /// Says that the whole is a failure, though its outermost document may be none.
    #[cfg(feature = "sqs")]
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Something is over. Gives the documents that are to be sent now.
    pub(crate) fn close(&self, document: Document) -> Vec<Document> {
        let mut documents = self
            .documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.outermost.get() != Some(&document.id) {
            if documents.len() < MAX_DOCUMENTS {
                documents.push(document);
            }
            return Vec::new();
        }
        let mut all = std::mem::take(&mut *documents);
        if !document.fault && !self.failed.load(Ordering::Relaxed) {
            return Vec::new();
        }
        all.push(document);
        all
    }
}
