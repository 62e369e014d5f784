//! A bounded queue between the thread that receives datagrams and the thread that stores them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Largest sum of the waiting datagrams in bytes.
const CAPACITY: usize = 64 * 1024 * 1024;

#[derive(Debug, Default)]
struct State {
    datagrams: Vec<Box<[u8]>>,
    bytes: usize,
    closed: bool,
}

/// Datagrams that wait for the store.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// Appends a copy of `datagram`; returns false if the queue is full.
    pub(super) fn push(&self, datagram: &[u8]) -> bool {
        let mut state = self.lock();
        if state.bytes + datagram.len() > CAPACITY {
            return false;
        }
        state.bytes += datagram.len();
        state.datagrams.push(datagram.into());
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Waits for datagrams and returns all of them; `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Box<[u8]>>> {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| {
                state.datagrams.is_empty() && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        let datagrams = std::mem::take(&mut state.datagrams);
        (!datagrams.is_empty()).then_some(datagrams)
    }

    /// Ends [`take`](Self::take) after the present datagrams.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
