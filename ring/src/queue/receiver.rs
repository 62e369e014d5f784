//! The reading end.

use super::frames::Frames;
use super::layout::is_aligned;
use super::source::Source;
use crate::Error;

/// Reads frames from `source`, and releases their space.
///
/// It takes three values from the memory: the published position, the base position and the
/// length of each frame. Each is loaded once into a private variable and checked there.
#[derive(Debug)]
pub(crate) struct Receiver {
    source: Box<dyn Source + Send>,
    capacity: u64,
    /// The consumed position, as this reader left it.
    released: u64,
    /// Position after the frame that was read last.
    position: u64,
    frame: Vec<u8>,
}

impl Receiver {
    /// Continues where the previous reader released, or at the start. `capacity` is a power of
    /// two.
    pub(crate) fn new(source: Box<dyn Source + Send>, capacity: u64) -> Result<Self, Error> {
        let released = source.consumed()?;
        let receiver = Self {
            source,
            capacity,
            released,
            position: released,
            frame: Vec::new(),
        };
        receiver.published()?;
        Ok(receiver)
    }

    /// The published position, if it can follow the positions of this reader.
    fn published(&self) -> Result<u64, Error> {
        let published = self.source.published()?;
        let unreleased = published.wrapping_sub(self.released);
        let read = self.position.wrapping_sub(self.released);
        if unreleased > self.capacity || unreleased < read || !is_aligned(unreleased) {
            return Err(Error::invalid(
                "a published position after the last one, by no more than the ring holds",
                published,
            ));
        }
        Ok(published)
    }

    /// See [`Reader::read`](crate::Reader::read).
    pub(crate) fn read(&mut self, mut deliver: impl FnMut(&[u8])) -> Result<usize, Error> {
        let mut count = 0;
        self.read_some(self.capacity, |frame| {
            count += 1;
            deliver(frame);
        })?;
        Ok(count)
    }

    /// See [`Reader::read_some`](crate::Reader::read_some).
    pub(crate) fn read_some(
        &mut self,
        bytes: u64,
        mut deliver: impl FnMut(&[u8]),
    ) -> Result<u64, Error> {
        let published = self.published()?;
        if published == self.position {
            return Ok(0);
        }
        // Loaded after a published position that this reader has not released: until it does, the
        // writer does not change the base.
        let base = self.source.base()?;
        let start = self.position;
        let mut frames = Frames::new(start, published, base, self.capacity)?;
        while self.position.wrapping_sub(start) < bytes
            && frames.next(&*self.source, &mut self.frame)?
        {
            self.position = frames.position();
            deliver(&self.frame);
        }
        Ok(self.position.wrapping_sub(start))
    }

    /// See [`Reader::release`](crate::Reader::release).
    pub(crate) fn release(&mut self) -> Result<(), Error> {
        if self.released != self.position {
            self.source.release(self.released, self.position)?;
            self.released = self.position;
        }
        Ok(())
    }
}
