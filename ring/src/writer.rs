//! The function's end of a ring.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use crate::Refused;
use crate::queue::sender::{Pushed, Sender};
use crate::system::file::{self, create_sealed, create_unlinked, is_valid_capacity};
use crate::system::mapping::Mapping;
use crate::system::owner::Owner;

/// Writes frames into memory that it shares with a [`Reader`](crate::Reader) in another process.
///
/// All threads of the process may use one writer. A frame costs a lock that is held while the bytes
/// are copied, and no system call unless another thread holds the lock. A writer never waits for
/// the reader.
///
/// A process that is forked and goes on without `exec` cannot write: [`Refused::Forked`]. A signal
/// handler must not use a writer, because the thread that it interrupts may hold the lock.
#[derive(Debug)]
pub struct Writer {
    sender: Sender<Mapping>,
    owner: Owner,
    file: File,
    is_sealed: bool,
}

impl Writer {
    /// Creates a ring of `capacity` bytes of data, normally [`CAPACITY`](crate::CAPACITY), in a
    /// file in memory (`memfd_create`) whose size is sealed. Only touched pages use memory.
    ///
    /// # Errors
    ///
    /// If the system has no memory files or refuses the file or its mapping, or if `capacity` is
    /// not a power of two from 4 KiB to 4 MiB.
    pub fn sealed(capacity: usize) -> io::Result<Self> {
        Self::new(capacity, true, create_sealed)
    }

    /// Creates a ring of `capacity` bytes of data in a file in `folder`, whose name is removed at
    /// once. It serves where [`Writer::sealed`] fails.
    ///
    /// Its space on disk is reserved, so that a full disk cannot harm the process later. Its size
    /// cannot be sealed, so a reader reads it by system calls instead of a mapping. Pass it only to
    /// a process that could also kill this one: a process that truncates it ends this one with a
    /// `SIGBUS`.
    ///
    /// # Errors
    ///
    /// If the file cannot be created or mapped, if its space cannot be reserved, or if `capacity`
    /// is not a power of two from 4 KiB to 4 MiB.
    pub fn unlinked(capacity: usize, folder: &Path) -> io::Result<Self> {
        Self::new(capacity, false, |size| create_unlinked(size, folder))
    }

    fn new(
        capacity: usize,
        is_sealed: bool,
        create: impl FnOnce(u64) -> io::Result<File>,
    ) -> io::Result<Self> {
        if !is_valid_capacity(capacity as u64) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "expected a capacity that is a power of two from 4 KiB to 4 MiB",
            ));
        }
        let size = file::size(capacity);
        let file = create(size as u64)?;
        let sender = Sender::new(Mapping::shared(&file, size)?);
        Ok(Self {
            sender,
            owner: Owner::this_process(),
            file,
            is_sealed,
        })
    }

    /// True if the size of the memory file is sealed, and the reader can map it.
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// True in a process that was forked from the one that created the ring, where every frame is
    /// refused with [`Refused::Forked`]. Makes no system call.
    pub fn is_forked(&self) -> bool {
        !self.owner.is_this_process()
    }

    /// Copies `parts`, one after the other, into the ring as one frame and publishes it. From then
    /// on the frame reaches the reader even if this process dies.
    ///
    /// # Errors
    ///
    /// If there is no room, or the frame is empty or too long, see [`Refused`]. The ring is
    /// unchanged, and nothing waits.
    pub fn push(&self, parts: &[&[u8]]) -> Result<Pushed, Refused> {
        if self.is_forked() {
            return Err(Refused::Forked);
        }
        self.sender.push(parts)
    }

    /// Takes back all frames that are published and not released, in order, and empties the ring.
    /// This includes frames that the last reader read but did not release.
    ///
    /// The ring can then be passed to another reader, and takes frames again after
    /// [`Refused::InvalidReader`]. If a reader has changed the memory, the frames before the change
    /// are returned.
    ///
    /// There must be no reader, or it and the caller deliver the same frames. The end of the
    /// reader's socket proves it: a reader drops its [`Reader`](crate::Reader) before it closes
    /// the socket, and the kernel closes the sockets of a process that dies after its last thread
    /// has stopped.
    pub fn reclaim(&self) -> Vec<Vec<u8>> {
        if self.is_forked() {
            return Vec::new();
        }
        self.sender.reclaim()
    }
}

/// The file to pass to the reader over a Unix socket (`SCM_RIGHTS`), more than once if the reader
/// is replaced.
impl AsFd for Writer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
