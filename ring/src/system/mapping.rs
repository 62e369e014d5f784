//! Mapped memory as a slice of atomic words. The only file with `unsafe`, but
//! for one line that a model needs.
//!
//! Why this is sound although another process, even a hostile one, can write the memory at any
//! time:
//!
//! - All access is through `&[AtomicU64]`: loads and stores of whole, aligned words. An atomic has
//!   interior mutability, so the compiler assumes nothing about its value between two loads, and
//!   conflicting atomic accesses are not a data race. Every bit pattern is a valid `u64`.
//! - References live no longer than the mapping, because they borrow it.
//! - Access beyond the end of the file would be a `SIGBUS`. A reader maps only a file whose size is
//!   sealed (`file::is_sealed`), and at most that size. A writer maps only a file that it created
//!   with that size; one without seals could be truncated by the reader that it passes it to, which
//!   runs as the same user and could as well kill it.

#![expect(unsafe_code, reason = "mmap and munmap are unsafe by nature")]

use std::io;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::ptr::{NonNull, null_mut};
use std::slice;
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::queue::layout::WORD;

/// Memory that is unmapped when the value is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

impl Mapping {
    /// Maps the first `bytes` of `file`, shared with all processes that map it. `bytes` is a
    /// multiple of 8 and not more than the file's size, which no process may reduce.
    pub(crate) fn shared(file: impl AsFd, bytes: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: without MAP_FIXED and with a null hint, the kernel chooses addresses that nothing
        // uses. `new` takes them over.
        let start = unsafe { mmap(null_mut(), bytes, access, MapFlags::SHARED, file, 0) }?;
        Self::new(start.cast(), bytes)
    }

    /// Maps one word, zero, that is zero again in a process that is forked from this one.
    #[cfg(target_os = "linux")]
    pub(crate) fn wiped_on_fork() -> io::Result<Self> {
        use rustix::mm::{Advice, madvise, mmap_anonymous};

        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as in `shared`.
        let start = unsafe { mmap_anonymous(null_mut(), WORD, access, MapFlags::PRIVATE) }?;
        let mapping = Self::new(start.cast(), WORD)?;
        // SAFETY: the range is the mapping. The advice changes what a forked process finds in it:
        // zeros, which are valid words.
        unsafe { madvise(start, WORD, Advice::LinuxWipeOnFork) }?;
        Ok(mapping)
    }

    /// Takes over a mapping of `bytes` bytes at `start`.
    fn new(start: *mut AtomicU64, bytes: usize) -> io::Result<Self> {
        let start = NonNull::new(start).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let words = bytes / WORD;
        Ok(Self { start, words })
    }
}

impl Deref for Mapping {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `words` words from `start` on are mapped, readable and writable, until `drop`,
        // which the returned reference cannot outlive. A mapping begins at a page, so the words
        // are aligned. All references to them are to atomics. The file has all of these bytes (see
        // the head of this file).
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one that was mapped, and no reference to it is left. If the
        // call fails, the memory stays mapped, which harms nothing.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * WORD) };
    }
}

// SAFETY: the mapping belongs to the process, not to a thread, and is not moved or changed before
// it is dropped.
unsafe impl Send for Mapping {}

// SAFETY: a shared reference gives access to atomics alone.
unsafe impl Sync for Mapping {}
