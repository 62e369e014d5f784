//! The extension's end of a ring.

use std::fs::File;
use std::os::fd::OwnedFd;

use crate::Error;
use crate::queue::layout::{IDENTITY, MAGIC, VERSION};
use crate::queue::receiver::Receiver;
use crate::queue::source::Source;
use crate::system::file::{self, is_sealed, is_valid_capacity};
use crate::system::mapping::Mapping;
use crate::system::unmapped::Unmapped;

/// Reads the frames of a [`Writer`](crate::Writer) in another process.
///
/// It trusts nothing in the memory: whatever another process writes there, and whenever, a reader
/// returns bytes or an error, reads nothing outside of the ring, and works a bounded time.
///
/// Reading and releasing are separate. A frame that was read but not released is read again by the
/// next reader, or reclaimed by the writer: release what has been passed on.
#[derive(Debug)]
pub struct Reader {
    receiver: Receiver,
    is_mapped: bool,
}

impl Reader {
    /// Opens the ring in `memory`, at the first frame that no reader has released.
    ///
    /// A file whose size is sealed is mapped. Any other is read by system calls, because the other
    /// process can truncate it, and a mapping would then end this one with a `SIGBUS`.
    ///
    /// # Errors
    ///
    /// If `memory` is no ring of this version, its size or positions are invalid, or the system
    /// refuses access.
    pub fn open(memory: OwnedFd) -> Result<Self, Error> {
        let file = File::from(memory);
        // First of all: what is checked below cannot change afterwards in a sealed file.
        let is_sealed = is_sealed(&file);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Error::invalid("a regular file", 0));
        }
        let unmapped = Unmapped::new(file);
        let [magic, version, capacity] = unmapped.words(IDENTITY)?;
        if magic != MAGIC {
            return Err(Error::invalid("a ring", magic));
        }
        if version != VERSION {
            return Err(Error::invalid("a ring of version 1", version));
        }
        if !is_valid_capacity(capacity) {
            return Err(Error::invalid(
                "a capacity that is a power of two from 4 KiB to 4 MiB",
                capacity,
            ));
        }
        let size = file::size(capacity as usize);
        if metadata.len() != size as u64 {
            return Err(Error::invalid(
                "a file as large as its ring",
                metadata.len(),
            ));
        }
        let memory: Box<dyn Source + Send> = if is_sealed {
            Box::new(Mapping::shared(unmapped.into_file(), size)?)
        } else {
            Box::new(unmapped)
        };
        Ok(Self {
            receiver: Receiver::new(memory, capacity)?,
            is_mapped: is_sealed,
        })
    }

    /// True if the memory is mapped, false if it is read by system calls.
    pub fn is_mapped(&self) -> bool {
        self.is_mapped
    }

    /// Passes every frame that was published before the call to `deliver`, as a private copy, and
    /// returns their number. That is at most one ring of bytes; frames that are published during
    /// the call wait for the next.
    ///
    /// Frames that a thread pushed before it wrote to a socket are published for a process that has
    /// received what was written.
    ///
    /// # Errors
    ///
    /// If the memory is invalid. Frames before the invalid place have been delivered. Nothing more
    /// can be read: close the session.
    pub fn read(&mut self, deliver: impl FnMut(&[u8])) -> Result<usize, Error> {
        self.receiver.read(deliver)
    }

    /// Like [`Reader::read`], but stops after the frame that completes `bytes` bytes of the ring,
    /// in which a frame takes up to 15 bytes more than its length. Returns the number of these
    /// bytes that were read. Less than `bytes` means that everything was.
    ///
    /// A reader that passes on and releases what it has read before it reads more keeps little in
    /// memory, and frees space while it works.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub fn read_some(&mut self, bytes: u64, deliver: impl FnMut(&[u8])) -> Result<u64, Error> {
        self.receiver.read_some(bytes, deliver)
    }

    /// Releases the space of all frames that were read, so that the writer uses it again. Neither
    /// another reader nor [`Writer::reclaim`](crate::Writer::reclaim) returns them from now on.
    ///
    /// # Errors
    ///
    /// If another process released or reclaimed frames of this reader, or the memory is invalid.
    /// Close the session.
    pub fn release(&mut self) -> Result<(), Error> {
        self.receiver.release()
    }
}
