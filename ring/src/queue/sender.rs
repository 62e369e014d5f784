//! The writing end.

use std::fmt;
use std::sync::PoisonError;

use super::copy::Fill;
use super::frames::Frames;
use super::layout::{
    BASE, COMPLEMENT, CONSUMED, IDENTITY, MAGIC, MAX_FRAME, PUBLISHED, VERSION, Words, footprint,
    index, is_aligned,
};
use crate::Refused;
use crate::sync::Ordering::{Acquire, Relaxed};
use crate::sync::{Mutex, MutexGuard};

/// Result of a successful [`Writer::push`](crate::Writer::push).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Pushed {
    /// At least half of the ring is occupied, and the caller was not asked since the reader last
    /// released space: the reader should be woken.
    pub half_full: bool,
}

/// Writes frames to `memory`, one thread at a time.
pub(crate) struct Sender<M> {
    memory: M,
    state: Mutex<State>,
}

/// Positions as the writer knows them. What it published itself is never read back, and the
/// reader's position is checked before it is used: a faulty reader cannot misplace a copy.
#[derive(Debug, Default)]
struct State {
    published: u64,
    consumed: u64,
    base: u64,
    /// The consumed position when the caller was last asked to wake the reader.
    asked_at: Option<u64>,
    /// The reader's position was invalid.
    is_invalid: bool,
}

impl<M: Words> Sender<M> {
    /// Makes a ring of `memory`, whose words are zero.
    pub(crate) fn new(memory: M) -> Self {
        for (word, value) in [MAGIC, VERSION, memory.capacity()].into_iter().enumerate() {
            memory[IDENTITY + word].store(value, Relaxed);
        }
        memory[PUBLISHED + COMPLEMENT].store(!0, Relaxed);
        memory[CONSUMED + COMPLEMENT].store(!0, Relaxed);
        Self {
            memory,
            state: Mutex::default(),
        }
    }

    /// Locks the positions. They change last, so a panic of another thread under the lock leaves no
    /// half of a change behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Writer::push`](crate::Writer::push).
    pub(crate) fn push(&self, parts: &[&[u8]]) -> Result<Pushed, Refused> {
        let length = parts
            .iter()
            .fold(0, |sum: usize, part| sum.saturating_add(part.len()));
        if length == 0 {
            return Err(Refused::Empty);
        }
        if length > MAX_FRAME {
            return Err(Refused::TooLong);
        }
        let data = self.memory.data();
        let capacity = self.memory.capacity();
        let mut state = self.lock();
        state.observe(&self.memory)?;
        if state.consumed == state.published && state.base != state.published {
            // The reader has released everything, so it does not use the base until a later frame
            // is published, and sees this one then. Back at the start, a few pages serve for ever.
            state.base = state.published;
            self.memory[BASE].store(state.base, Relaxed);
        }
        let published = state.published + footprint(length);
        let used = published - state.consumed;
        if used > capacity {
            return Err(Refused::Full);
        }
        let at = index(state.published, state.base, data.len());
        let mut fill = Fill::new(data, at, length);
        parts.iter().for_each(|part| fill.put(part));
        fill.finish();
        state.published = published;
        self.memory.store_position(PUBLISHED, published);
        let half_full = used >= capacity / 2 && state.asked_at != Some(state.consumed);
        if half_full {
            state.asked_at = Some(state.consumed);
        }
        Ok(Pushed { half_full })
    }

    /// See [`Writer::reclaim`](crate::Writer::reclaim).
    pub(crate) fn reclaim(&self) -> Vec<Vec<u8>> {
        let mut state = self.lock();
        // If the position is invalid, the last valid one counts.
        let _ = state.observe(&self.memory);
        let mut reclaimed = Vec::new();
        let mut frame = Vec::new();
        let frames = Frames::new(
            state.consumed,
            state.published,
            state.base,
            self.memory.capacity(),
        );
        if let Ok(mut frames) = frames {
            while let Ok(true) = frames.next(&&*self.memory, &mut frame) {
                reclaimed.push(std::mem::take(&mut frame));
            }
        }
        let published = state.published;
        *state = State {
            published,
            consumed: published,
            base: published,
            ..State::default()
        };
        self.memory[BASE].store(published, Relaxed);
        self.memory.store_position(CONSUMED, published);
        reclaimed
    }
}

impl State {
    /// Takes over the reader's position. One that is half written counts the next time.
    fn observe(&mut self, memory: &impl Words) -> Result<(), Refused> {
        if self.is_invalid {
            return Err(Refused::InvalidReader);
        }
        let consumed = memory[CONSUMED].load(Acquire);
        if consumed == self.consumed || memory[CONSUMED + COMPLEMENT].load(Relaxed) != !consumed {
            return Ok(());
        }
        let released = consumed.wrapping_sub(self.consumed);
        if released > self.published - self.consumed || !is_aligned(released) {
            self.is_invalid = true;
            return Err(Refused::InvalidReader);
        }
        self.consumed = consumed;
        Ok(())
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}
