//! The memory that is shared with the extension.

use std::io;
use std::path::Path;

use tracestitch_ring::{CAPACITY, Writer};

use crate::{support::diagnostics, transport::counts::Counts};

/// Ways to create the ring, the better one first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// In a file in memory.
    pub(super) sealed: fn(usize) -> io::Result<Writer>,
    /// In a file without a name in this folder.
    pub(super) unlinked: fn(usize, &Path) -> io::Result<Writer>,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            sealed: Writer::sealed,
            unlinked: Writer::unlinked,
        }
    }
}

impl Ways {
    /// Creates the ring. Returns `None` if every way is refused. Each refusal is counted and
    /// reported; the caller does not try again.
    pub(super) fn create(self, folder: &Path, counts: &mut Counts) -> Option<Writer> {
        let refused = match (self.sealed)(CAPACITY) {
            Ok(ring) => return Some(ring),
            Err(error) => error,
        };
        counts.no_memory_file += 1;
        match (self.unlinked)(CAPACITY, folder) {
            Ok(ring) => {
                diagnostics::warn(format_args!(
                    "no file in memory ({refused}): documents reach the extension through a file \
                     in {}, which takes 4 MiB of its disk",
                    folder.display()
                ));
                Some(ring)
            }
            Err(error) => {
                counts.no_ring += 1;
                diagnostics::warn(format_args!(
                    "no memory can be shared with the extension (a file in memory: {refused}; a \
                     file in {}: {error}): documents go to the X-Ray daemon directly, and \
                     documents in progress are lost if the function is killed",
                    folder.display()
                ));
                None
            }
        }
    }
}
