//! Places of the words, and sizes.
//!
//! The memory is an array of 64-bit words in the machine's byte order: [`HEADER`] words, then the
//! data, whose number of words is a power of two. The crate's documentation has the table.

use std::ops::Deref;

use crate::sync::{AtomicU64, Ordering::Release};

/// Bytes of data of a ring for a function: 4 MiB, about 8,000 documents of 500 bytes.
pub const CAPACITY: usize = 4 * 1024 * 1024;

/// Fewest bytes of data that a ring may have: 4 KiB.
pub const MIN_CAPACITY: usize = 4 * 1024;

/// Most bytes of a frame: 128 KiB.
pub const MAX_FRAME: usize = 128 * 1024;

/// Version of the layout.
pub(crate) const VERSION: u64 = 1;

/// First word of every ring.
pub(crate) const MAGIC: u64 = u64::from_be_bytes(*b"tstitch\n");

/// Bytes of a word.
pub(crate) const WORD: usize = 8;

/// Words between groups that different processes write: 128 bytes, because processors fetch cache
/// lines of 64 bytes in pairs. A model has no cache, and is smaller with fewer words.
const LINE: usize = if cfg!(loom) { 3 } else { 16 };

/// Words before the data: one page of 4 KiB.
pub(crate) const HEADER: usize = if cfg!(loom) { 3 * LINE } else { 512 };

/// Index of [`MAGIC`]. [`VERSION`] and the bytes of data follow it.
pub(crate) const IDENTITY: usize = 0;

/// Index of the position after the last published frame. Its complement follows it.
pub(crate) const PUBLISHED: usize = LINE;

/// Index of the position whose byte is the first of the data.
pub(crate) const BASE: usize = LINE + 2;

/// Index of the position after the last released frame. Its complement follows it.
pub(crate) const CONSUMED: usize = 2 * LINE;

/// Offset from a position's word to the word of its complement (`!position`). A process without a
/// mapping reads and writes positions through the file, and another process can see such a write
/// half done. A position counts only together with its complement.
pub(crate) const COMPLEMENT: usize = 1;

/// Bytes that a frame of `length` bytes occupies: a word with its length, and its bytes, rounded
/// up to words. `length` is at most [`MAX_FRAME`].
pub(crate) const fn footprint(length: usize) -> u64 {
    (WORD + length.next_multiple_of(WORD)) as u64
}

/// Index of the data's word at `position`. `words`, their number, is a power of two.
pub(crate) const fn index(position: u64, base: u64, words: usize) -> usize {
    (position.wrapping_sub(base) / WORD as u64) as usize & (words - 1)
}

/// True for a position, or a distance between two, that frames can have.
pub(crate) const fn is_aligned(bytes: u64) -> bool {
    bytes.is_multiple_of(WORD as u64)
}

/// Memory with a ring in it: a mapping, or the heap in tests.
pub(crate) trait Words: Deref<Target = [AtomicU64]> {
    /// The words after the header.
    fn data(&self) -> &[AtomicU64] {
        &self[HEADER..]
    }

    /// Bytes of data.
    fn capacity(&self) -> u64 {
        (self.data().len() * WORD) as u64
    }

    /// Stores `position` at word `at`, and its complement, after all earlier stores.
    fn store_position(&self, at: usize, position: u64) {
        self[at + COMPLEMENT].store(!position, Release);
        self[at].store(position, Release);
    }
}

impl<M: Deref<Target = [AtomicU64]>> Words for M {}
