//! Messages from the function to the extension: a ring of frames in shared memory, and a Unix
//! stream socket.
//!
//! The function copies each document into the **ring** as it happens, which needs no system call
//! and survives the function's death. The crate `tracestitch-ring` defines its memory. The
//! **socket** carries what the extension must act on: the ring's file, the end of an invocation, a
//! ring that fills up, and, by its close, the death of the function. Before the extension handles
//! a message from the socket, it reads everything that was published in the ring before it.
//!
//! The extension sends nothing back. A frame has a kind (1 byte) and a payload. On the socket, the
//! length of both (4 bytes, big-endian) precedes it; the ring has lengths already.
//!
//! | kind | name | payload | where |
//! |---|---|---|---|
//! | 1 | hello | JSON object, see [`Hello`] | socket, first frame, with the ring's file |
//! | 2 | open | segment id (8 bytes), document | ring |
//! | 3 | close | segment id (8 bytes), finished document | ring |
//! | 4 | discard | segment id (8 bytes) | ring; socket if the ring is full |
//! | 5 | end | request id of the invocation | socket |
//! | 6 | drain | none | socket |
//! | 7 | leave | none | socket, last frame |
//! | 8 | begin | request id of the invocation | ring |
//!
//! The ring's file descriptor accompanies the first byte of the hello (`SCM_RIGHTS`, unix(7)). A
//! reader closes a connection whose hello comes without one.
//!
//! A reader skips unknown kinds of frames and unknown JSON members, so that an old layer serves a
//! new function. A change that old readers would misunderstand raises [`VERSION`]. A reader closes
//! a connection of an unknown version, and the function then sends to the daemon directly.

mod frame;
mod message;
#[cfg(unix)]
mod place;

pub use self::frame::Decoder;
pub use self::message::{Hello, MAX_FRAME, Message, VERSION};
#[cfg(unix)]
pub use self::place::{Untrusted, check_folder, check_socket};

/// Default of [`SOCKET`](crate::settings::SOCKET). The extension creates the folder, to which no
/// other user has access.
pub const DEFAULT_SOCKET: &str = "/tmp/.tracestitch/handoff.sock";

/// Longest socket path in bytes: the size of `sun_path` in Linux without the closing zero
/// (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

#[cfg(test)]
mod tests;
