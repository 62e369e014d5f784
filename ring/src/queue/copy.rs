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
    /// The bytes after the last whole word, the first one lowest. They wait here, not in memory:
    /// a load of a word that was just stored byte by byte would wait for the stores.
    rest: u64,
    /// Number of bytes in `rest`, less than a word.
    rest_length: usize,
}

impl<'a> Fill<'a> {
    /// Starts a frame of `length` bytes at word `at`. The number of words in `data` is a power of
    /// two, and greater than `at`.
    pub(super) fn new(data: &'a [AtomicU64], at: usize, length: usize) -> Self {
        let mut fill = Self {
            data,
            at,
            rest: 0,
            rest_length: 0,
        };
        fill.store_word(length as u64);
        fill
    }

    /// Appends `bytes`.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let mut tail = bytes;
        if self.rest_length > 0 {
            let taken = bytes.len().min(WORD - self.rest_length);
            self.rest |= first(bytes, taken) << (8 * self.rest_length);
            self.rest_length += taken;
            if self.rest_length < WORD {
                return;
            }
            self.store_word(self.rest.to_le());
            tail = &bytes[taken..];
        }
        let (words, rest) = tail.as_chunks();
        self.store_words(words);
        self.rest = last(bytes, rest.len());
        self.rest_length = rest.len();
    }

    /// Stores the last bytes, with zeros up to a whole word.
    pub(super) fn finish(mut self) {
        if self.rest_length > 0 {
            self.store_word(self.rest.to_le());
        }
    }

    fn store_word(&mut self, word: u64) {
        store(&self.data[self.at], word);
        self.advance(1);
    }

    fn store_words(&mut self, mut words: &[[u8; WORD]]) {
        while !words.is_empty() {
            let slots = &self.data[self.at..];
            let (now, later) = words.split_at(words.len().min(slots.len()));
            store_each(&slots[..now.len()], now);
            self.advance(now.len());
            words = later;
        }
    }

    fn advance(&mut self, words: usize) {
        self.at = (self.at + words) & (self.data.len() - 1);
    }
}

/// The first `count` of `bytes`, less than 8, as a number whose lowest byte is the first of them.
/// `count` is 0 only if there are no bytes.
fn first(bytes: &[u8], count: usize) -> u64 {
    match bytes.first_chunk() {
        Some(word) => u64::from_le_bytes(*word) & (u64::MAX >> (8 * (WORD - count))),
        None => join(&bytes[..count]),
    }
}

/// The last `count` of `bytes`, less than 8, as a number whose lowest byte is the first of them.
fn last(bytes: &[u8], count: usize) -> u64 {
    match bytes.last_chunk() {
        Some(word) if count > 0 => u64::from_le_bytes(*word) >> (8 * (WORD - count)),
        Some(_) => 0,
        None => join(&bytes[bytes.len() - count..]),
    }
}

/// The number whose lowest byte is the first of `bytes`, of which there are less than 8.
fn join(bytes: &[u8]) -> u64 {
    let from_the_last = bytes.iter().rev();
    from_the_last.fold(0, |number, byte| number << 8 | u64::from(*byte))
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
