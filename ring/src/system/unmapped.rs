//! A ring that is read through its file instead of a mapping.
//!
//! Another process can truncate a file that is not sealed, and access to a mapping beyond its end
//! would end this process with a `SIGBUS`. A read there returns an error. It costs a system call
//! for each value, and is needed only where memory files are not available.
//!
//! The kernel copies between the file's pages and this process. It may copy a word in pieces, so
//! positions are checked with their complements.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{Ordering, fence};

use crate::Error;
use crate::queue::layout::{BASE, COMPLEMENT, CONSUMED, HEADER, PUBLISHED, WORD};
use crate::queue::source::Source;

/// Most reads of a position that changes meanwhile. One suffices unless the writer publishes
/// during it.
const ATTEMPTS: usize = 100;

/// Access to a ring through its file.
#[derive(Debug)]
pub(crate) struct Unmapped(File);

impl Unmapped {
    pub(crate) fn new(file: File) -> Self {
        Self(file)
    }

    /// The file, to be mapped.
    pub(crate) fn into_file(self) -> File {
        self.0
    }

    /// The values of `N` words from word `at` on.
    pub(crate) fn words<const N: usize>(&self, at: usize) -> Result<[u64; N], Error> {
        let mut words = [[0; WORD]; N];
        self.0.read_exact_at(words.as_flattened_mut(), offset(at))?;
        Ok(words.map(u64::from_ne_bytes))
    }

    fn store(&self, at: usize, value: u64) -> Result<(), Error> {
        Ok(self.0.write_all_at(&value.to_ne_bytes(), offset(at))?)
    }

    /// A position that was not being written when it was read.
    fn position(&self, at: usize) -> Result<u64, Error> {
        let mut previous = None;
        for _ in 0..ATTEMPTS {
            let found @ [position, complement] = self.words(at)?;
            // The same twice: a process that died between its two stores left them so.
            if complement == !position || previous == Some(found) {
                // Makes the reads that follow see what was written before the position.
                fence(Ordering::Acquire);
                return Ok(position);
            }
            previous = Some(found);
        }
        let [position, _] = previous.unwrap_or_default();
        Err(Error::invalid("a position with its complement", position))
    }
}

impl Source for Unmapped {
    fn published(&self) -> Result<u64, Error> {
        self.position(PUBLISHED)
    }

    fn base(&self) -> Result<u64, Error> {
        self.words(BASE).map(|[base]| base)
    }

    fn consumed(&self) -> Result<u64, Error> {
        self.words(CONSUMED).map(|[position]| position)
    }

    fn copy(&self, at: usize, out: &mut [u8]) -> Result<(), Error> {
        Ok(self.0.read_exact_at(out, offset(HEADER + at))?)
    }

    fn release(&self, from: u64, to: u64) -> Result<(), Error> {
        let found = self.consumed()?;
        if found != from {
            return Err(Error::moved_by_another(found));
        }
        // Two writes in this order: while the position is half written, its complement is whole
        // and does not match, so the writer does not use it.
        fence(Ordering::Release);
        self.store(CONSUMED + COMPLEMENT, !to)?;
        fence(Ordering::Release);
        self.store(CONSUMED, to)
    }
}

fn offset(word: usize) -> u64 {
    (word * WORD) as u64
}
