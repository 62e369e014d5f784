//! A ring of frames in memory that a Lambda function shares with its tracestitch extension.
//!
//! The function copies each frame into the ring and publishes it with an atomic store. No system
//! call is needed, and what was published survives the death of the function. The extension reads
//! the frames whenever it wakes up. A frame is any sequence of 1 to [`MAX_FRAME`] bytes;
//! `tracestitch-wire` defines the messages in them.
//!
//! ```
//! # #[cfg(target_os = "linux")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::os::unix::net::UnixStream;
//!
//! use tracestitch_ring::{CAPACITY, Reader, Writer, receive_file, send_file};
//!
//! // The function creates the ring, and passes the file over a Unix socket.
//! let writer = Writer::sealed(CAPACITY)?;
//! let (function, extension) = UnixStream::pair()?;
//! send_file(&function, b"hello", &writer)?;
//! let pushed = writer.push(&[b"a frame ", b"in two parts"])?;
//! assert!(!pushed.half_full);
//!
//! // The extension reads it, passes its content on, and releases the space.
//! let (_, file) = receive_file(&extension, &mut [0; 5])?;
//! let mut reader = Reader::open(file.ok_or("no file")?)?;
//! reader.read(|frame| assert_eq!(frame, b"a frame in two parts"))?;
//! reader.release()?;
//! # Ok(())
//! # }
//! # #[cfg(not(target_os = "linux"))]
//! # fn main() {}
//! ```
//!
//! # Guarantees
//!
//! - A published frame arrives whole, in order, and in no other form, also if the writer is killed.
//!   A frame that is being copied at that moment is not published.
//! - [`Writer::push`] never waits for the reader. If there is no room, it returns
//!   [`Refused::Full`].
//! - A frame that was not released is not lost with its reader. The next reader reads it again, or
//!   [`Writer::reclaim`] returns it to the function.
//! - Neither end trusts the other. Whatever another process writes into the memory, and whenever, a
//!   reader returns bytes or an error, in bounded time, and a writer copies to the data of the ring
//!   alone. Neither panics. The reader maps only memory whose size is sealed.
//! - A forked process cannot disturb its parent's ring, and an executed program inherits nothing.
//!
//! # Memory
//!
//! The file is sparse: it uses a page of 4 KiB for the header, and the pages of the data that were
//! touched. The writer returns to the start of the data whenever the reader has released
//! everything. So a function whose invocations hand over 12 documents of 500 bytes each touches 2
//! pages of data, 12 KiB in all, for its whole life. After a burst of 1,000 such documents it keeps
//! 126 pages. The most is [`CAPACITY`], 4 MiB. The memory counts once, although both processes map
//! it. [`Writer::unlinked`] reserves its whole size on disk instead.
//!
//! # Layout, version 1
//!
//! All values are unsigned 64-bit words in the machine's byte order. Positions are bytes since the
//! ring was created, a multiple of 8.
//!
//! | offset | written by | word |
//! |---|---|---|
//! | 0 | writer, once | magic number: the bytes `tstitch\n` as a big-endian number |
//! | 8 | writer, once | version: 1 |
//! | 16 | writer, once | capacity: bytes of data, a power of two from 4 KiB to 4 MiB |
//! | 128 | writer | published: position after the last published frame |
//! | 136 | writer | complement of published |
//! | 144 | writer | base: position whose byte is the first of the data |
//! | 256 | reader | consumed: position after the last released frame |
//! | 264 | reader | complement of consumed |
//! | 4096 | writer | data |
//!
//! The byte at a position is the data's byte `(position - base) % capacity`. A frame is a word with
//! its length, and its bytes, with zeros up to a whole word. A frame that reaches the end of the
//! data continues at its start.
//!
//! - The writer stores the bytes of a frame, then `published` (release). The reader loads
//!   `published` (acquire), copies the frames before it, then stores `consumed` (release). The
//!   writer loads `consumed` (acquire) before it uses the space again.
//! - The writer changes `base` only while `consumed` is `published`. The reader uses it only while
//!   they differ.
//! - A reader without a mapping reads and writes the words through the file. Another process can
//!   then see a position half written, and ignores it until its complement matches.
//!
//! The queue is model-checked with loom, compared with a plain queue by properties, run under Miri,
//! and fuzzed with hostile memory.

mod error;
mod queue;
mod sync;

#[cfg(all(
    any(test, feature = "fuzzing"),
    target_os = "linux",
    not(loom),
    not(miri)
))]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(not(loom))]
mod pass;
// loom's atomics are no words of memory: the model has the queue alone.
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod system;
#[cfg(not(loom))]
mod writer;

pub use error::{Error, Refused};
#[cfg(not(loom))]
pub use pass::{receive_file, send_file};
pub use queue::layout::{CAPACITY, MAX_FRAME, MIN_CAPACITY};
pub use queue::sender::Pushed;
#[cfg(not(loom))]
pub use reader::Reader;
#[cfg(not(loom))]
pub use writer::Writer;
