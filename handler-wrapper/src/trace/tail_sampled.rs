//! Documents of an unsampled trace, kept until its outcome is known.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracestitch_wire::{datagram, document::Document, id::SegmentId};

use super::{outlet::Outlet, tracer::Tracer};

/// Largest number of finished documents that are kept. Later ones are left out, except the
/// outermost.
const MAX_DOCUMENTS: usize = 200;

/// Largest number of kept documents for a document with a failure, which most likely comes last.
const MAX_WITH_FAILURES: usize = 2 * MAX_DOCUMENTS;

/// Memory for kept documents in bytes. X-Ray keeps at most 500 KB of a trace (X-Ray endpoints and
/// quotas). Documents beyond it are trimmed to [`SMALLEST`].
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Size in bytes for which each kept document has room: enough for its identity, times and flags,
/// without which documents under it would have no parent.
const SMALLEST: usize = 4 * 1024;

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
    left_out: AtomicUsize,
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
    finished: Vec<Finished>,
    /// Size of the finished documents.
    bytes: usize,
    /// Number of reasons to put the verdict off.
    postponed: usize,
    /// The outermost document, if it ended before the verdict.
    outermost: Option<Finished>,
}

type Finished = (SegmentId, Vec<u8>);

impl Default for Verdict {
    fn default() -> Self {
        // Most invocations have a few documents.
        Self::Undecided(Waiting {
            begun: Vec::with_capacity(8),
            finished: Vec::with_capacity(8),
            bytes: 0,
            postponed: 0,
            outermost: None,
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
        if is_outermost {
            return self.close_outermost(tracer, document);
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
                Verdict::Undecided(waiting) => {
                    waiting.forget(id);
                    let kept = (waiting.finished.len() < most)
                        .then(|| waiting.keep(id, json))
                        .flatten();
                    let Some(json) = kept else {
                        self.left_out.fetch_add(1, Ordering::Relaxed);
                        return tracer.sink.discard(&[id]);
                    };
                    // A document that ends before the outermost one begins is opened together with
                    // it, if it ever begins.
                    if self.outermost.get().is_some() {
                        tracer.sink.open(id, json);
                    }
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

    fn postpone(&self) {
        if let Verdict::Undecided(waiting) = &mut *self.lock() {
            waiting.postponed += 1;
        }
    }

    fn resume(&self, tracer: &Tracer) {
        let mut state = self.lock();
        let Verdict::Undecided(waiting) = &mut *state else {
            return;
        };
        waiting.postponed = waiting.postponed.saturating_sub(1);
        if waiting.postponed > 0 {
            return;
        }
        let Some(outermost) = waiting.outermost.take() else {
            return;
        };
        if self.failed.load(Ordering::Relaxed) {
            self.send(tracer, &mut state, &outermost);
        } else {
            waiting.finished.push(outermost);
            give_up(tracer, &mut state);
        }
    }

    fn left_out(&self) -> usize {
        self.left_out.load(Ordering::Relaxed)
    }

    fn is_tail_sampled(&self) -> bool {
        true
    }
}

impl TailSampled {
    /// Closes the document that decides, at once or as soon as no work goes on after it.
    fn close_outermost(&self, tracer: &Tracer, document: &mut Document) {
        let id = document.id;
        let failed = document.fault || self.failed.load(Ordering::Relaxed);
        if !failed {
            let mut state = self.lock();
            let postponed = matches!(&*state, Verdict::Undecided(waiting) if waiting.postponed > 0);
            if !postponed {
                return give_up(tracer, &mut state);
            }
        }
        tracer.over(document, |json| {
            let mut state = self.lock();
            match &mut *state {
                Verdict::Undecided(waiting) if !failed && waiting.postponed > 0 => {
                    waiting.forget(id);
                    tracer.sink.open(id, json);
                    waiting.outermost = Some((id, json.to_vec()));
                }
                // The last reason to put it off has gone in the meantime.
                Verdict::Undecided(_) if !failed && !self.failed.load(Ordering::Relaxed) => {
                    give_up(tracer, &mut state);
                }
                Verdict::Undecided(_) => self.send(tracer, &mut state, &(id, json.to_vec())),
                Verdict::Wanted => tracer.sink.close(id, json),
                Verdict::Unwanted => {}
            }
        });
    }

    /// Sends all documents: the trace failed.
    fn send(&self, tracer: &Tracer, state: &mut Verdict, outermost: &Finished) {
        if let Verdict::Undecided(waiting) = std::mem::replace(state, Verdict::Wanted) {
            for (id, json) in waiting.finished.iter().chain([outermost]) {
                tracer.sink.close(*id, json);
            }
            for _ in 0..self.left_out.load(Ordering::Relaxed) {
                tracer.sink.leave_out();
            }
        }
    }
    fn lock(&self) -> MutexGuard<'_, Verdict> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Discards all documents: the trace succeeded, so none is sent, however the process ends.
fn give_up(tracer: &Tracer, state: &mut Verdict) {
    if let Verdict::Undecided(waiting) = std::mem::replace(state, Verdict::Unwanted) {
        let mut ids = waiting.begun;
        ids.extend(waiting.finished.iter().map(|(id, _)| *id));
        tracer.sink.discard(&ids);
    }
}

impl Waiting {
    /// Keeps a finished document, trimmed as far as there is no room for it. Returns the kept JSON,
    /// or `None` if the document cannot be trimmed enough.
    fn keep(&mut self, id: SegmentId, json: &[u8]) -> Option<&[u8]> {
        let room = MAX_BYTES.saturating_sub(self.bytes);
        let most = room.clamp(SMALLEST, datagram::MAX_DOCUMENT);
        let json = if json.len() <= most {
            json.to_vec()
        } else {
            datagram::fit_within(json.to_vec(), most).documents.pop()?
        };
        self.bytes += json.len();
        self.finished.push((id, json));
        self.finished.last().map(|(_, json)| &json[..])
    }

    fn forget(&mut self, id: SegmentId) {
        // The latest document is usually the first to end.
        if let Some(place) = self.begun.iter().rposition(|begun| *begun == id) {
            self.begun.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests;
