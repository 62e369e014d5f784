//! Spans that other code holds longer than the handler works in them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tracestitch_wire::time::Timestamp;

use crate::{
    support::clock,
    trace::{followers::Follower, open::Open},
};

/// The subsegment of a span, and the time at which the handler's own code last left it.
///
/// A span closes when its last holder drops it. The task of a connection holds the span in which it
/// was spawned, and the spans around it, for the life of the process. A span that the handler has
/// left therefore ends with the handler, at the time it was left. A span in which only another task
/// works continues.
/// task works goes on.
#[derive(Debug)]
pub(super) struct OpenSpan {
    open: Arc<Open>,
    /// Microseconds since the epoch; 0 if the handler never entered the span or is still inside.
    left: AtomicU64,
}

impl OpenSpan {
    pub(super) fn begin(open: &Arc<Open>) -> Arc<Self> {
        let span = Arc::new(Self {
            open: open.clone(),
            left: AtomicU64::new(0),
        });
        let follower: Weak<Self> = Arc::downgrade(&span);
        open.trace().followers.add(follower);
        span
    }

    pub(super) fn enter(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.left.store(clock::now().as_micros(), Ordering::Relaxed);
    }
}

impl Follower for OpenSpan {
    fn end(&self) {
        match self.left.load(Ordering::Relaxed) {
            0 => {}
            left => self.open.finish_at(Timestamp::from_micros(left)),
        }
    }
}
