//! Files that hold a ring.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::queue::layout::{CAPACITY, HEADER, MIN_CAPACITY, WORD};

#[cfg(target_os = "linux")]
pub(crate) use self::linux::{create_sealed, create_unlinked, is_sealed};
#[cfg(not(target_os = "linux"))]
pub(crate) use self::unsupported::{create_sealed, create_unlinked, is_sealed};

/// Bytes of a file with a ring of `capacity` bytes of data.
pub(crate) const fn size(capacity: usize) -> usize {
    HEADER * WORD + capacity
}

/// True for a `capacity` that a ring may have.
pub(crate) const fn is_valid_capacity(capacity: u64) -> bool {
    capacity.is_power_of_two() && capacity >= MIN_CAPACITY as u64 && capacity <= CAPACITY as u64
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::OpenOptionsExt;
    use std::process;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use rustix::fs::{
        FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals,
        memfd_create,
    };

    use super::{File, Path, io};

    /// Seals of a file whose size cannot change. No seal can be removed.
    const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

    /// Names to try for a file in a folder in which other names may be taken.
    const NAMES: u32 = 16;

    static NEXT_NAME: AtomicU32 = AtomicU32::new(0);

    /// Creates a file of `size` zeros in memory, of which only touched pages exist. Its size is
    /// sealed. An executed program does not inherit it.
    pub(crate) fn create_sealed(size: u64) -> io::Result<File> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(memfd_create("tracestitch", flags)?);
        file.set_len(size)?;
        fcntl_add_seals(&file, FIXED_SIZE | SealFlags::SEAL)?;
        Ok(file)
    }

    /// Creates a file of `size` zeros in `folder`, without a name. An executed program does not
    /// inherit it.
    ///
    /// All its space is reserved: a write to a mapped page for which the disk has no space left
    /// would be a `SIGBUS`.
    pub(crate) fn create_unlinked(size: u64, folder: &Path) -> io::Result<File> {
        let file = create_unlinked_in(folder)?;
        fallocate(&file, FallocateFlags::empty(), 0, size)?;
        Ok(file)
    }

    fn create_unlinked_in(folder: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..NAMES {
            let number = NEXT_NAME.fetch_add(1, Relaxed);
            let path = folder.join(format!("ring-{}-{number}", process::id()));
            match options.open(&path) {
                Ok(file) => return fs::remove_file(&path).map(|()| file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
                Err(error) => return Err(error),
            }
        }
        Err(taken)
    }

    /// True if no process can change the size of `file`, as of one that [`create_sealed`] created.
    /// A file that cannot have seals has none.
    pub(crate) fn is_sealed(file: &File) -> bool {
        fcntl_get_seals(file).is_ok_and(|seals| seals.contains(FIXED_SIZE))
    }
}

/// Functions run in Lambda, which is Linux. Elsewhere they are only compiled.
#[cfg(not(target_os = "linux"))]
mod unsupported {
    use super::{File, Path, io};

    pub(crate) fn create_sealed(_size: u64) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn create_unlinked(_size: u64, _folder: &Path) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn is_sealed(_file: &File) -> bool {
        false
    }
}
