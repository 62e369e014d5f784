//! Encoding and decoding of messages.

use super::{MAX_FRAME, Message};
use crate::{Error, id::SegmentId};

const LENGTH: usize = 4;
const ID: usize = 8;

const HELLO: u8 = 1;
const OPEN: u8 = 2;
const CLOSE: u8 = 3;
const DISCARD: u8 = 4;
const END: u8 = 5;
const DRAIN: u8 = 6;
const LEAVE: u8 = 7;
const BEGIN: u8 = 8;

impl Message<'_> {
    /// Appends the message to `out`, as one frame.
    ///
    /// ```
    /// use tracestitch_wire::handoff::Message;
    ///
    /// let mut bytes = Vec::new();
    /// Message::End { request_id: "r-1" }.encode(&mut bytes);
    /// assert_eq!(bytes, [0, 0, 0, 4, 5, b'r', b'-', b'1']);
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if let Self::Open { document, .. } | Self::Close { document, .. } = self {
            out.reserve(LENGTH + 1 + ID + document.len());
        }
        out.extend([0; LENGTH]);
        match self {
            Self::Hello(hello) => {
                out.push(HELLO);
                // Strings and numbers written to memory cannot fail.
                let _ = serde_json::to_writer(&mut *out, hello);
            }
            Self::Open { id, document } => {
                out.push(OPEN);
                out.extend(id.to_bytes());
                out.extend_from_slice(document);
            }
            Self::Close { id, document } => {
                out.push(CLOSE);
                out.extend(id.to_bytes());
                out.extend_from_slice(document);
            }
            Self::Discard { id } => {
                out.push(DISCARD);
                out.extend(id.to_bytes());
            }
            Self::Begin { request_id } => {
                out.push(BEGIN);
                out.extend_from_slice(request_id.as_bytes());
            }
            Self::End { request_id } => {
                out.push(END);
                out.extend_from_slice(request_id.as_bytes());
            }
            Self::Drain => out.push(DRAIN),
            Self::Leave => out.push(LEAVE),
            Self::Unknown(kind) => out.push(*kind),
        }
        let length = (out.len() - start - LENGTH) as u32;
        out[start..start + LENGTH].copy_from_slice(&length.to_be_bytes());
    }
}

fn parse(kind: u8, payload: &[u8]) -> Result<Message<'_>, Error> {
    let with_id = || -> Result<(SegmentId, &[u8]), Error> {
        payload
            .split_first_chunk::<ID>()
            .map(|(id, rest)| (SegmentId::from_bytes(*id), rest))
            .ok_or_else(|| Error::expected_bytes("a frame that begins with a segment id", payload))
    };
    let request_id = || {
        std::str::from_utf8(payload)
            .map_err(|_| Error::expected_bytes("a request id in UTF-8", payload))
    };
    Ok(match kind {
        HELLO => Message::Hello(serde_json::from_slice(payload).map_err(|_| {
            Error::expected_bytes("a hello with version, channel and session", payload)
        })?),
        OPEN => with_id().map(|(id, document)| Message::Open { id, document })?,
        CLOSE => with_id().map(|(id, document)| Message::Close { id, document })?,
        DISCARD => with_id().map(|(id, _)| Message::Discard { id })?,
        BEGIN => Message::Begin {
            request_id: request_id()?,
        },
        END => Message::End {
            request_id: request_id()?,
        },
        DRAIN => Message::Drain,
        LEAVE => Message::Leave,
        unknown => Message::Unknown(unknown),
    })
}

/// Reassembles messages from a stream of bytes in pieces of any size.
///
/// ```
/// use tracestitch_wire::handoff::{Decoder, Message};
///
/// let mut bytes = Vec::new();
/// Message::Drain.encode(&mut bytes);
/// let (first, second) = bytes.split_at(2);
///
/// let mut decoder = Decoder::default();
/// decoder.push(first);
/// assert_eq!(decoder.next()?, None);
/// decoder.push(second);
/// assert_eq!(decoder.next()?, Some(Message::Drain));
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    read: usize,
}

impl Decoder {
    /// Appends the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next complete message, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// Returns an error if a length is zero or exceeds [`MAX_FRAME`], or a payload does not match
    /// its kind. The position in the stream is then lost, and the connection must be closed.
    #[expect(
        clippy::should_implement_trait,
        reason = "items of an iterator cannot borrow from it"
    )]
    pub fn next(&mut self) -> Result<Option<Message<'_>>, Error> {
        let unread = &self.buffer[self.read..];
        let Some((length, rest)) = unread.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length == 0 || length > MAX_FRAME {
            return Err(Error::expected_bytes(
                "a frame of 1 to 131072 bytes",
                unread,
            ));
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        self.read += LENGTH + length;
        parse(frame[0], &frame[1..]).map(Some)
    }

    /// Number of bytes that wait for the rest of their message.
    pub fn unfinished(&self) -> usize {
        self.buffer.len() - self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_field_alone_allocates_no_memory() {
        for (length, readable, reason) in [
            (u32::MAX, false, "4 GiB"),
            (MAX_FRAME as u32 + 1, false, "one byte too many"),
            (MAX_FRAME as u32, true, "the longest"),
        ] {
            let mut decoder = Decoder::default();
            decoder.push(&length.to_be_bytes());
            assert_eq!(decoder.next().is_ok(), readable, "{reason}");
            assert!(decoder.buffer.capacity() < 64, "{reason}");
        }
    }
}
