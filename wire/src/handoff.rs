//! What the function tells the extension, over a Unix stream socket.
//!
//! The function opens two connections. **Data** carries documents; the extension does not sleep
//! on it while the handler runs, because waking a sleeping reader costs the writer more than the
//! write does. **Signal** carries what the extension has to act upon: the end of an invocation,
//! a buffer that fills up, and by its own end, the death of the function.
//!
//! Nothing goes back. A frame is a length (4 bytes, big-endian, of what follows), a kind (1 byte)
//! and a payload:
//!
//! | kind | name | payload | channel |
//! |---|---|---|---|
//! | 1 | hello | JSON object, see [`Hello`] | first frame of both |
//! | 2 | open | segment id (8 bytes), document in progress, or finished but not yet wanted | data |
//! | 3 | close | segment id (8 bytes), finished document | data |
//! | 4 | discard | segment id (8 bytes) | data, and signal when data is full |
//! | 5 | end | request id of the invocation that is over | signal |
//! | 6 | drain | nothing | signal |
//! | 7 | leave | nothing | signal, last frame |
//! | 8 | begin | request id of the invocation that begins | data |
//!
//! A reader skips frames of a kind that it does not know and JSON members that it does not know,
//! so that an old layer serves a new function; a change that old readers would get wrong raises
//! [`VERSION`], and a reader closes a connection whose version it cannot read. The function then
//! sends to the daemon by itself.

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

/// Most bytes of a frame after its length: a document of [`crate::datagram::MAX_DOCUMENT`] bytes
/// and room to grow. Longer ones are refused before memory is set aside for them.
pub const MAX_FRAME: usize = 128 * 1024;

/// Where the two processes meet unless `TRACESTITCH_SOCKET` says otherwise. The folder belongs
/// to the extension's user and is closed to others.
pub const DEFAULT_SOCKET: &str = "/tmp/.tracestitch/handoff.sock";

/// Most bytes of a socket path: what Linux keeps in `sockaddr_un`, less the closing zero
/// (unix(7)).
pub const MAX_SOCKET_PATH: usize = 107;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Documents.
    Data,
    /// What the extension must act upon.
    Signal,
}

/// First frame of each connection: who is talking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the writer.
    pub version: u16,
    /// What this connection is for.
    pub channel: Channel,
    /// Random number that the data and signal connections of one process share.
    pub session: u64,
    /// Daemon address that the function was given (`AWS_XRAY_DAEMON_ADDRESS` does not reach
    /// extensions; AWS Lambda developer guide, "Lambda extensions API").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message<'a> {
    /// Who is talking.
    Hello(Hello),
    /// Work has begun: if no close or discard follows, the function died in the middle of it.
    /// Replaces an earlier open of the same id.
    Open {
        /// Id of the segment or subsegment.
        id: SegmentId,
        /// Its document in progress, as JSON. Or a finished one of work that only counts if what
        /// it is a part of fails: a function that dies has failed, and the document stays as it
        /// is.
        document: &'a [u8],
    },
    /// Work is over. Stands alone or replaces an earlier open of the same id.
    Close {
        /// Id of the segment or subsegment.
        id: SegmentId,
        /// Its finished document, as JSON.
        document: &'a [u8],
    },
    /// Work that was opened turned out to be none: forget it.
    Discard {
        /// Id of the segment or subsegment.
        id: SegmentId,
    },
    /// The function works on this invocation from now on. Announces one [`Message::End`] with the
    /// same id, for which the extension holds the invocation. Comes before the invocation's
    /// documents; it needs no write of its own if it is written together with the first of them.
    Begin {
        /// The invocation's request id.
        request_id: &'a str,
    },
    /// The reply of this invocation has been posted and its documents are on the data channel.
    End {
        /// The invocation's request id.
        request_id: &'a str,
    },
    /// The data channel fills up: read it now.
    Drain,
    /// The function lives on but sends its documents to the daemon from now on, also those that
    /// it has opened here: they are not to be closed when this session ends.
    Leave,
    /// A frame of a kind that this version does not know.
    Unknown(u8),
}

#[cfg(test)]
mod tests;
