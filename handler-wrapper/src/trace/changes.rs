//! Facts that were added to documents in progress and not handed over yet.
//!
//! A process may be killed at any moment, and the extension closes the documents that it knows.
//! Facts are handed over when the future yields or a child begins: several of them at once, and
//! not at all if the work ends before.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

/// A document in progress that can be handed over again.
pub(crate) trait Changed: fmt::Debug + Send + Sync {
    /// Hands the document over with all facts that it has now, unless it is over.
    fn hand_over(&self);
}

/// The changed documents of one trace.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// True if `documents` has any: most polls have nothing to hand over.
    any: AtomicBool,
    documents: Mutex<Vec<Weak<dyn Changed>>>,
}

impl Changes {
    fn documents(&self) -> MutexGuard<'_, Vec<Weak<dyn Changed>>> {
        self.documents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a document whose facts are handed over next time.
    pub(crate) fn add(&self, document: Weak<dyn Changed>) {
        self.documents().push(document);
        self.any.store(true, Ordering::Release);
    }

    /// Hands over all changed documents.
    pub(crate) fn hand_over(&self) {
        if !self.any.swap(false, Ordering::Acquire) {
            return;
        }
        // A redaction rule may change documents meanwhile, without end: those wait for the next time.
        let count = self.documents().len();
        for _ in 0..count {
            let document = self.documents().pop();
            if let Some(document) = document.as_ref().and_then(Weak::upgrade) {
                document.hand_over();
            }
        }
    }
}
