//! Documents of an unsampled trace, kept until its outcome is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracestitch_wire::{document::Document, id::SegmentId};

use super::{outlet::Outlet, tracer::Tracer};

/// Largest number of finished documents that are kept. Later ones are left out, except the
/// outermost.
const MAX_DOCUMENTS: usize = 200;

/// Largest number of kept documents for a document with a failure, which most likely comes last.
const MAX_WITH_FAILURES: usize = 2 * MAX_DOCUMENTS;

/// Buffers the documents of one unsampled invocation or message.
///
/// All of them are opened at the extension, finished ones too: if the process dies, the extension
/// sends the finished ones and closes the others. The outcome of the outermost document decides
/// whether the process closes or discards them. Finished documents are also kept here, for a
/// process without an extension.
///
/// Documents are sent under the lock, so that none is opened after it was discarded.
#[derive(Debug, Default)]
pub(crate) struct TailSampled {
    outermost: OnceLock<SegmentId>,
    state: Mutex<Verdict>,
    failed: AtomicBool,
}

#[derive(Debug)]
enum Verdict {
    Undecided(Waiting),
    /// The trace failed: later work is recorded as in a sampled trace.
    Wanted,
    /// The trace succeeded: later work is not recorded.
    Unwanted,
}

#[derive(Debug)]
struct Waiting {
    /// Documents in progress.
    begun: Vec<SegmentId>,
    finished: Vec<(SegmentId, Vec<u8>)>,
}

impl Default for Verdict {
    fn default() -> Self {
        // Most invocations have a few documents.
        Self::Undecided(Waiting {
            begun: Vec::with_capacity(8),
            finished: Vec::with_capacity(8),
        })
    }
}

impl Outlet for TailSampled {
    /// The document that begins first ends last.
    fn open(&self, tracer: &Tracer, document: &Document) {
        let id = document.id;
        // Redaction rules are the user's code and run without the lock, here and below.
        tracer.in_progress(document, |json| {
            let mut state = self.lock();
            match &mut *state {
                Verdict::Undecided(waiting) => {
                    if self.outermost.set(id).is_ok() {
                        // Documents of the init phase, which ended before the outermost one began.
                        for (id, json) in &waiting.finished {
                            tracer.sink.open(*id, json);
                        }
                    }
                    waiting.begun.push(id);
                }
                Verdict::Wanted => {}
                Verdict::Unwanted => return,
            }
            tracer.sink.open(id, json);
        });
    }

    fn update(&self, tracer: &Tracer, document: &Document) {
        tracer.in_progress(document, |json| {
            let state = self.lock();
            if !matches!(*state, Verdict::Unwanted) {
                tracer.sink.open(document.id, json);
            }
        });
    }

    fn close(&self, tracer: &Tracer, document: &mut Document) {
        let id = document.id;
        let is_outermost = self.outermost.get() == Some(&id);
        if is_outermost && !document.fault && !self.failed.load(Ordering::Relaxed) {
            return self.give_up(tracer);
        }
        // A throttled call is also an error.
        let most = if document.fault || document.error {
            MAX_WITH_FAILURES
        } else {
            MAX_DOCUMENTS
        };
        tracer.over(document, |json| {
            let mut state = self.lock();
            match &mut *state {
                Verdict::Undecided(waiting) if is_outermost => {
                    for (id, json) in &waiting.finished {
                        tracer.sink.close(*id, json);
                    }
                    *state = Verdict::Wanted;
                    tracer.sink.close(id, json);
                }
                Verdict::Undecided(waiting) => {
                    waiting.forget(id);
                    if waiting.finished.len() >= most {
                        return tracer.sink.discard(&[id]);
                    }
                    // A document that ends before the outermost one begins is opened together with
                    // it, if it ever begins.
                    if self.outermost.get().is_some() {
                        tracer.sink.open(id, json);
                    }
                    waiting.finished.push((id, json.to_vec()));
                }
                Verdict::Wanted => tracer.sink.close(id, json),
                Verdict::Unwanted => {}
            }
        });
    }

    fn discard(&self, tracer: &Tracer, id: SegmentId) {
        let mut state = self.lock();
        match &mut *state {
            Verdict::Undecided(waiting) => waiting.forget(id),
            Verdict::Wanted => {}
            Verdict::Unwanted => return,
        }
        tracer.sink.discard(&[id]);
    }

    fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    fn is_tail_sampled(&self) -> bool {
        true
    }
}

impl TailSampled {
    /// Discards all documents: the trace succeeded, so none is sent, however the process ends.
    fn give_up(&self, tracer: &Tracer) {
        let mut state = self.lock();
        if let Verdict::Undecided(waiting) = std::mem::replace(&mut *state, Verdict::Unwanted) {
            let mut ids = waiting.begun;
            ids.extend(waiting.finished.iter().map(|(id, _)| *id));
            tracer.sink.discard(&ids);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Verdict> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn forget(&mut self, id: SegmentId) {
        // The latest document is usually the first to end.
        if let Some(place) = self.begun.iter().rposition(|begun| *begun == id) {
            self.begun.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests;
