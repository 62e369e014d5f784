//! Messages from the function to the extension, over Unix stream sockets.
//!
//! The function opens two connections. **Data** carries documents. The extension does not wait on
//! it while the handler runs, because waking a sleeping reader costs the writer more than the write
//! itself. **Signal** carries events that the extension must act on: the end of an invocation, a
//! buffer that fills up, and, by the close of the connection, the death of the function.
//!
//! The extension sends nothing back. A frame has a length (4 bytes, big-endian, of the rest), a
//! kind (1 byte) and a payload:
//!
//! | kind | name | payload | channel |
//! |---|---|---|---|
//! | 1 | hello | JSON object, see [`Hello`] | first frame of both |
//! | 2 | open | segment id (8 bytes), document | data |
//! | 3 | close | segment id (8 bytes), finished document | data |
//! | 4 | discard | segment id (8 bytes) | data, and signal if data is full |
//! | 5 | end | request id of the invocation | signal |
//! | 6 | drain | none | signal |
//! | 7 | leave | none | signal, last frame |
//! | 8 | begin | request id of the invocation | data |
//!
//! A reader skips unknown kinds of frames and unknown JSON members, so that an old layer serves a
//! new function. A change that old readers would misunderstand raises [`VERSION`]. A reader closes
//! a connection of an unknown version, and the function then sends to the daemon directly.

mod frame;
#[cfg(unix)]
mod place;

use serde::{Deserialize, Serialize};

pub use self::frame::Decoder;
#[cfg(unix)]
pub use self::place::{Untrusted, check_folder, check_socket};
use crate::id::SegmentId;

/// Version of this protocol.
pub const VERSION: u16 = 1;

/// Longest frame in bytes, without its length field: a document of
/// [`MAX_DOCUMENT`](crate::datagram::MAX_DOCUMENT) bytes, with room to grow. A longer frame is an
/// error before memory is allocated for it.
pub const MAX_FRAME: usize = 128 * 1024;

/// Default of [`SOCKET`](crate::settings::SOCKET). The extension creates the folder, to which no
/// other user has access.
pub const DEFAULT_SOCKET: &str = "/tmp/.tracestitch/handoff.sock";

/// Longest socket path in bytes: the size of `sun_path` in Linux without the closing zero
/// (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// Purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Documents.
    Data,
    /// Events that the extension must act on.
    Signal,
}

/// First frame of each connection, which identifies the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the writer.
    pub version: u16,
    /// Purpose of this connection.
    pub channel: Channel,
    /// Random number that both connections of a process share.
    pub session: u64,
    /// Address of the X-Ray daemon in the function's environment. Lambda does not give it to
    /// extensions (AWS Lambda developer guide, "Lambda extensions API").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// The function identifies itself.
    Hello(Hello),
    /// Work has begun. If neither a close nor a discard follows, the function died during it.
    /// Replaces an earlier open with the same id.
    Open {
        /// Id of the segment or subsegment.
        id: SegmentId,
        /// Document in progress, as JSON. Or a finished document that is only sent if the work
        /// around it fails: if the function dies, it is sent unchanged.
        document: &'a [u8],
    },
    /// Work has ended. Replaces an earlier open with the same id, if there was one.
    Close {
        /// Id of the segment or subsegment.
        id: SegmentId,
        /// Finished document, as JSON.
        document: &'a [u8],
    },
    /// Withdraws an open document.
    Discard {
        /// Id of the segment or subsegment.
        id: SegmentId,
    },
    /// Work on an invocation begins. Announces one [`Message::End`] with the same id, for which the
    /// extension holds the invocation. Comes before the invocation's documents, and may be written
    /// together with the first of them.
    Begin {
        /// Request id of the invocation.
        request_id: &'a str,
    },
    /// The reply of an invocation has been posted, and its documents are on the data channel.
    End {
        /// Request id of the invocation.
        request_id: &'a str,
    },
    /// The data channel is filling up and must be read now.
    Drain,
    /// The function sends its documents to the daemon from now on, including the ones that it has
    /// opened here. The extension must not close them at the end of this session.
    Leave,
    /// A frame of an unknown kind.
    Unknown(u8),
}

#[cfg(test)]
mod tests;
