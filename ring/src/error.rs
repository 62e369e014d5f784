//! Reasons why memory is not read, or a frame is not written.

use std::fmt;
use std::io;

/// Reason why a [`Reader`](crate::Reader) cannot be opened or cannot continue. Nothing more can be
/// read from the memory: the session that it belongs to should be closed.
#[derive(Debug)]
pub enum Error {
    /// The system refused to examine, map, read or write the memory.
    System(io::Error),
    /// The memory contains something that a [`Writer`](crate::Writer) does not write.
    Invalid {
        /// Description of the valid content.
        expected: &'static str,
        /// Value that was found instead.
        found: u64,
    },
}

impl Error {
    pub(crate) fn invalid(expected: &'static str, found: u64) -> Self {
        Self::Invalid { expected, found }
    }

    /// The consumed position is not where this reader left it, but at `found`.
    pub(crate) fn moved_by_another(found: u64) -> Self {
        Self::invalid("the consumed position where this reader left it", found)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "shared memory cannot be used: {error}"),
            Self::Invalid { expected, found } => {
                write!(
                    f,
                    "shared memory is invalid: expected {expected}, found {found}"
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(error) => Some(error),
            Self::Invalid { .. } => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Reason why [`Writer::push`](crate::Writer::push) did not write a frame. The ring is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// The reader has not released enough space.
    Full,
    /// The frame has no bytes.
    Empty,
    /// The frame is longer than [`MAX_FRAME`](crate::MAX_FRAME).
    TooLong,
    /// The reader wrote an invalid position. The ring takes no frames until
    /// [`Writer::reclaim`](crate::Writer::reclaim).
    InvalidReader,
    /// The process is a fork of the one that created the ring.
    Forked,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the ring has no room for the frame",
            Self::Empty => "expected a frame of at least one byte",
            Self::TooLong => "expected a frame of at most 131072 bytes",
            Self::InvalidReader => "the reader wrote an invalid position",
            Self::Forked => "the ring belongs to the parent process",
        })
    }
}

impl std::error::Error for Refused {}
