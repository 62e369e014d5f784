//! Encoding and decoding of messages.

use super::message::{MAX_FRAME, Message};
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

impl<'a> Message<'a> {
    /// Passes the parts of this message's frame to `write`: concatenated, they are the frame,
    /// without a length. The document is not copied.
    ///
    /// ```
    /// use tracestitch_wire::handoff::Message;
    ///
    /// let bytes = Message::End { request_id: "r-1" }.with_frame(|parts| parts.concat());
    /// assert_eq!(bytes, [5, b'r', b'-', b'1']);
    /// ```
    pub fn with_frame<R>(&self, write: impl FnOnce(&[&[u8]]) -> R) -> R {
        match self {
            Self::Hello(hello) => {
                // Strings and numbers written to memory cannot fail.
                let json = serde_json::to_vec(hello).unwrap_or_default();
                write(&[&[HELLO], &json])
            }
            Self::Open { id, document } => write(&[&[OPEN], &id.to_bytes(), document]),
            Self::Close { id, document } => write(&[&[CLOSE], &id.to_bytes(), document]),
            Self::Discard { ids } => {
                let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_bytes()).collect();
                write(&[&[DISCARD], &ids])
            }
            Self::Begin { request_id } => write(&[&[BEGIN], request_id.as_bytes()]),
            Self::End { request_id } => write(&[&[END], request_id.as_bytes()]),
            Self::Drain => write(&[&[DRAIN]]),
            Self::Leave => write(&[&[LEAVE]]),
            Self::Unknown(kind) => write(&[&[*kind]]),
        }
    }

    /// Appends the message to `out` as one frame of the socket, with its length.
    ///
    /// ```
    /// use tracestitch_wire::handoff::Message;
    ///
    /// let mut bytes = Vec::new();
    /// Message::End { request_id: "r-1" }.encode(&mut bytes);
    /// assert_eq!(bytes, [0, 0, 0, 4, 5, b'r', b'-', b'1']);
    /// ```
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.with_frame(|parts| {
            let length: usize = parts.iter().map(|part| part.len()).sum();
            out.reserve(LENGTH + length);
            out.extend((length as u32).to_be_bytes());
            parts.iter().for_each(|part| out.extend_from_slice(part));
        });
    }

    /// Returns the message in a frame without a length.
    ///
    /// ```
    /// use tracestitch_wire::handoff::Message;
    ///
    /// assert_eq!(Message::decode(b"\x05r-1")?, Message::End { request_id: "r-1" });
    /// # Ok::<(), tracestitch_wire::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the frame is empty, or its payload does not match its kind.
    pub fn decode(frame: &'a [u8]) -> Result<Self, Error> {
        let Some((kind, payload)) = frame.split_first() else {
            return Err(Error::expected_bytes("a frame of 1 to 131072 bytes", frame));
        };
        let with_id = || -> Result<(SegmentId, &'a [u8]), Error> {
            payload
                .split_first_chunk::<ID>()
                .map(|(id, rest)| (SegmentId::from_bytes(*id), rest))
                .ok_or_else(|| {
                    Error::expected_bytes("a frame that begins with a segment id", payload)
                })
        };
        let request_id = || {
            std::str::from_utf8(payload)
                .map_err(|_| Error::expected_bytes("a request id in UTF-8", payload))
        };
        Ok(match *kind {
            HELLO => Self::Hello(
                serde_json::from_slice(payload)
                    .map_err(|_| Error::expected_bytes("a hello with a version", payload))?,
            ),
            OPEN => with_id().map(|(id, document)| Self::Open { id, document })?,
            CLOSE => with_id().map(|(id, document)| Self::Close { id, document })?,
            DISCARD => {
                let (ids, []) = payload.as_chunks::<ID>() else {
                    return Err(Error::expected_bytes("segment ids of 8 bytes", payload));
                };
                if ids.is_empty() {
                    return Err(Error::expected_bytes("at least one segment id", payload));
                }
                let ids = ids.iter().map(|id| SegmentId::from_bytes(*id)).collect();
                Self::Discard { ids }
            }
            BEGIN => Self::Begin {
                request_id: request_id()?,
            },
            END => Self::End {
                request_id: request_id()?,
            },
            DRAIN => Self::Drain,
            LEAVE => Self::Leave,
            unknown => Self::Unknown(unknown),
        })
    }
}

/// Reassembles the messages of a socket from bytes in pieces of any size.
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
        Message::decode(frame).map(Some)
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
