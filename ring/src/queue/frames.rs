//! The way through published frames that are not released.

use super::layout::{MAX_FRAME, WORD, footprint, index, is_aligned};
use super::source::Source;
use crate::Error;

/// Frames from one position to another.
#[derive(Debug)]
pub(super) struct Frames {
    position: u64,
    end: u64,
    base: u64,
    words: usize,
}

impl Frames {
    /// Frames between `position` and `end`, at most `capacity` bytes apart, both aligned.
    pub(super) fn new(position: u64, end: u64, base: u64, capacity: u64) -> Result<Self, Error> {
        if !is_aligned(position.wrapping_sub(base)) {
            return Err(Error::invalid("an aligned base position", base));
        }
        Ok(Self {
            position,
            end,
            base,
            words: capacity as usize / WORD,
        })
    }

    /// Position after the frame that was copied last.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Copies the next frame to `frame`, replacing its content. Returns false if there are no
    /// more.
    ///
    /// The length is read once and checked before it is used: the memory may change meanwhile.
    pub(super) fn next(&mut self, source: &dyn Source, frame: &mut Vec<u8>) -> Result<bool, Error> {
        if self.position == self.end {
            return Ok(false);
        }
        let mut length = [0; WORD];
        source.copy(self.index(self.position), &mut length)?;
        let length = u64::from_ne_bytes(length);
        if length == 0 || length > MAX_FRAME as u64 {
            return Err(Error::invalid("a frame of 1 to 131072 bytes", length));
        }
        let length = length as usize;
        if footprint(length) > self.end.wrapping_sub(self.position) {
            return Err(Error::invalid(
                "a frame that ends where the published bytes end, or before",
                length as u64,
            ));
        }
        frame.resize(length, 0);
        let start = self.index(self.position.wrapping_add(WORD as u64));
        // After the last word of the data, a frame continues at the first.
        let (head, tail) = frame.split_at_mut(length.min((self.words - start) * WORD));
        source.copy(start, head)?;
        if !tail.is_empty() {
            source.copy(0, tail)?;
        }
        self.position = self.position.wrapping_add(footprint(length));
        Ok(true)
    }

    fn index(&self, position: u64) -> usize {
        index(position, self.base, self.words)
    }
}
