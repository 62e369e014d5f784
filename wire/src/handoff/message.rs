//! Messages and their limits.

use serde::{Deserialize, Serialize};

use crate::id::SegmentId;

/// Version of this protocol.
pub const VERSION: u16 = 2;

/// Longest frame in bytes, without its length field: a document of
/// [`MAX_DOCUMENT`](crate::datagram::MAX_DOCUMENT) bytes, with room to grow. A longer frame is an
/// error before memory is allocated for it.
pub const MAX_FRAME: usize = 128 * 1024;

/// First frame of a connection, which identifies the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the writer.
    pub version: u16,
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
    /// Withdraws open documents: all of them, however soon after it the function dies.
    Discard {
        /// Ids of the segments and subsegments, at least one.
        ids: Vec<SegmentId>,
    },
    /// Work on an invocation begins. Announces one [`Message::End`] with the same id, for which the
    /// extension holds the invocation. Precedes the invocation's documents.
    Begin {
        /// Request id of the invocation.
        request_id: &'a str,
    },
    /// The reply of an invocation has been posted, and its documents have been published or sent.
    End {
        /// Request id of the invocation.
        request_id: &'a str,
    },
    /// The ring is filling up and must be read now.
    Drain,
    /// The function sends its documents to the daemon from now on, including the ones that it has
    /// opened here. The extension must not close them at the end of this session.
    Leave,
    /// A frame of an unknown kind.
    Unknown(u8),
}
