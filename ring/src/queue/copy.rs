//! Copies between private bytes and shared words.
//!
//! Another process may write the words at any time, so each access is a relaxed atomic load or
//! store of a whole word: the result may be any bytes, but there is no data race. On x86-64 and
//! aarch64 these compile to ordinary moves of 8 bytes.

use super::layout::WORD;
use crate::sync::{AtomicU64, load, store};

/// A frame that is copied to the data. After the data's end it continues at the start.
pub(super) struct Fill<'a> {
    data: &'a [AtomicU64],
    at: usize,
    partial: [u8; WORD],
    filled: usize,
}

impl<'a> Fill<'a> {
    /// Starts a frame of `length` bytes at word `at`. The number of words in `data` is a power of
    /// two, and greater than `at`.
    pub(super) fn new(data: &'a [AtomicU64], at: usize, length: usize) -> Self {
        store(&data[at], length as u64);
        Self {
            data,
            at: (at + 1) & (data.len() - 1),
            partial: [0; WORD],
            filled: 0,
        }
    }

    /// Appends `bytes`. Bytes after the last whole word wait for the next call.
    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        if self.filled > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(WORD - self.filled));
            self.partial[self.filled..][..head.len()].copy_from_slice(head);
            self.filled += head.len();
            if self.filled < WORD {
                return;
            }
            self.store(&[self.partial]);
            bytes = rest;
        }
        let (words, rest) = bytes.as_chunks();
        self.store(words);
        if !rest.is_empty() {
            self.partial[..rest.len()].copy_from_slice(rest);
        }
        self.filled = rest.len();
    }

    /// Stores the last bytes, with zeros up to a whole word.
    pub(super) fn finish(mut self) {
        if self.filled > 0 {
            self.partial[self.filled..].fill(0);
            self.store(&[self.partial]);
        }
    }

    fn store(&mut self, mut words: &[[u8; WORD]]) {
        while !words.is_empty() {
            let slots = &self.data[self.at..];
            let (now, later) = words.split_at(words.len().min(slots.len()));
            store_each(&slots[..now.len()], now);
            self.at = (self.at + now.len()) & (self.data.len() - 1);
            words = later;
        }
    }
}

/// Stores `words`, of the same number as `slots`. Groups of 8 halve the number of instructions.
fn store_each(slots: &[AtomicU64], words: &[[u8; WORD]]) {
    let (slot_groups, last_slots) = slots.as_chunks::<8>();
    let (word_groups, last_words) = words.as_chunks::<8>();
    for (slots, words) in slot_groups.iter().zip(word_groups) {
        for (slot, word) in slots.iter().zip(words) {
            store(slot, u64::from_ne_bytes(*word));
        }
    }
    for (slot, word) in last_slots.iter().zip(last_words) {
        store(slot, u64::from_ne_bytes(*word));
    }
}

/// Copies the first bytes of `words` to `out`. `words` has at least as many bytes.
pub(super) fn copy_out(words: &[AtomicU64], out: &mut [u8]) {
    let (whole, rest) = out.as_chunks_mut();
    let (slots, last) = words.split_at(whole.len());
    for (word, slot) in whole.iter_mut().zip(slots) {
        *word = load(slot).to_ne_bytes();
    }
    if !rest.is_empty() {
        let word = load(&last[0]).to_ne_bytes();
        rest.copy_from_slice(&word[..rest.len()]);
    }
}
