//! Documents of a trace that is not sampled, kept back until it is known how it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracestitch_wire::{document::Document, id::SegmentId};

use super::{outlet::Outlet, tracer::Tracer};

/// Most finished documents that are kept back; later ones are left out, but never the outermost.
const MAX_DOCUMENTS: usize = 200;

/// The same for those that say what went wrong, which most likely comes last.
const MAX_WITH_FAILURES: usize = 2 * MAX_DOCUMENTS;

/// The documents of one invocation or message.
///
/// All of them are opened at the extension, the finished ones, too: when the process dies it sends
/// what was finished and closes what was not. Only what the outermost comes to decides whether
/// they are closed here, or discarded. Finished ones stay here as well, for where there is no
/// extension.
///
/// What is sent is sent under the lock, so that nothing is opened after it was discarded.
#[derive(Debug, Default)]
pub(crate) struct TailSampled {
    outermost: OnceLock<SegmentId>,
    state: Mutex<Verdict>,
    failed: AtomicBool,
}

#[derive(Debug)]
enum Verdict {
    Undecided(Waiting),
    /// It failed: what goes on in it is recorded as in a trace that is sampled.
    Wanted,
    /// It went well: what goes on in it is not recorded.
    Unwanted,
}

#[derive(Debug)]
struct Waiting {
    /// What has begun and is not over.
    begun: Vec<SegmentId>,
    finished: Vec<(SegmentId, Vec<u8>)>,
}

impl Default for Verdict {
    fn default() -> Self {
        // Most invocations have a few: room for them at once.
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
        // Rules for redaction are the user's code: they run without the lock, here and below.
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
        // What is throttled is an error as well.
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
                    // What ends before the outermost begins is opened with it, if that ever
                    // begins.
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
    /// The trace went well: none of it is to be sent, however the process ends from now on.
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
        // What began last is most often over first.
        if let Some(place) = self.begun.iter().rposition(|begun| *begun == id) {
            self.begun.swap_remove(place);
        }
    }
}

#[cfg(test)]
mod tests;
