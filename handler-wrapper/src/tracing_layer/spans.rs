//! Spans that are kept longer than they are worked in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tracestitch_wire::time::Timestamp;

use crate::{clock, open::Open};

/// Those of one trace.
///
/// A span is closed when nobody has it any more. A connection's task that has the span in which it
/// was spawned keeps it, and those around it, for the life of the process. What the handler worked
/// in is over with the handler, so it ends then, as of the moment in which it was left; what a task
/// of its own works in goes on.
#[derive(Debug, Default)]
pub(crate) struct Spans(Mutex<Vec<Weak<Worked>>>);

/// The subsegment of a span, and when the handler's own code left it.
#[derive(Debug)]
pub(super) struct Worked {
    open: Arc<Open>,
    /// In microseconds; 0 when it was not in it, or is.
    left: AtomicU64,
}

impl Worked {
    pub(super) fn begin(open: &Arc<Open>) -> Arc<Self> {
        let worked = Arc::new(Self {
            open: open.clone(),
            left: AtomicU64::new(0),
        });
        open.trace().spans.lock().push(Arc::downgrade(&worked));
        worked
    }

    pub(super) fn enter(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.left.store(clock::now().as_micros(), Ordering::Relaxed);
    }
}

impl Spans {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Worked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends those that the handler has left.
    pub(crate) fn end(&self) {
        let spans = std::mem::take(&mut *self.lock());
        // Inner ones first, as they would have been closed.
        for worked in spans.iter().rev().filter_map(Weak::upgrade) {
            match worked.left.load(Ordering::Relaxed) {
                0 => {}
                left => worked.open.finish_at(Timestamp::from_micros(left)),
            }
        }
    }
}
