//! Access of a reader to the memory. Nothing that it returns is trusted.

use std::fmt;

use super::copy::copy_out;
use super::layout::{BASE, COMPLEMENT, CONSUMED, PUBLISHED, Words};
use crate::Error;
use crate::sync::Ordering::{Acquire, Relaxed, Release};

/// Memory that a reader reads, mapped or through its file.
pub(crate) trait Source: fmt::Debug {
    /// Position after the last published frame. Later calls see all bytes before it.
    fn published(&self) -> Result<u64, Error>;

    /// Position whose byte is the first of the data. It does not change while a published frame
    /// is not released.
    fn base(&self) -> Result<u64, Error>;

    /// Position after the last released frame.
    fn consumed(&self) -> Result<u64, Error>;

    /// Copies to `out` from word `at` of the data on, at most up to its end.
    fn copy(&self, at: usize, out: &mut [u8]) -> Result<(), Error>;

    /// Moves the consumed position from `from` to `to`, after all earlier copies.
    ///
    /// # Errors
    ///
    /// If it is not at `from`: another reader moved it, or the writer reclaimed the frames.
    fn release(&self, from: u64, to: u64) -> Result<(), Error>;
}

impl<M: Words + fmt::Debug> Source for M {
    fn published(&self) -> Result<u64, Error> {
        Ok(self[PUBLISHED].load(Acquire))
    }

    fn base(&self) -> Result<u64, Error> {
        Ok(self[BASE].load(Relaxed))
    }

    fn consumed(&self) -> Result<u64, Error> {
        Ok(self[CONSUMED].load(Acquire))
    }

    fn copy(&self, at: usize, out: &mut [u8]) -> Result<(), Error> {
        copy_out(&self.data()[at..], out);
        Ok(())
    }

    fn release(&self, from: u64, to: u64) -> Result<(), Error> {
        // The release store after it makes it visible no later than the position.
        self[CONSUMED + COMPLEMENT].store(!to, Relaxed);
        self[CONSUMED]
            .compare_exchange(from, to, Release, Relaxed)
            .map_err(Error::moved_by_another)?;
        Ok(())
    }
}
