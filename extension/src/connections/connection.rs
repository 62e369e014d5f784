//! One connection of the socket, read without waiting.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::task::Context;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tracestitch_ring::receive_file;
use tracestitch_wire::handoff::Decoder;

/// Most reads at a time: a busy writer must not occupy the process.
const MAX_READS: usize = 64;

/// Bytes of one read. Messages of the socket have fewer than a hundred.
const CHUNK: usize = 4096;

/// A connection on which the process sleeps.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) decoder: Decoder,
}

/// The end of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything was read.
    Empty,
    /// There may be more.
    More,
    /// Nothing more will come.
    Ended,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
        }
    }

    /// Returns true if it has become readable since the last call.
    pub(super) fn is_ready(&self, cx: &mut Context<'_>) -> bool {
        let ready = self.stream.poll_read_ready(cx).is_ready();
        if ready {
            // Cleared before the sweep reads, so that what arrives meanwhile wakes again.
            let nothing_read = || Err::<(), _>(ErrorKind::WouldBlock.into());
            let _ = self.stream.try_io(Interest::READABLE, nothing_read);
        }
        ready
    }

    /// Reads from the socket, also what the event loop has not seen yet. A file that comes fills
    /// `file` if it is empty.
    pub(super) fn receive(&mut self, file: &mut Option<OwnedFd>) -> Outcome {
        let mut chunk = [0; CHUNK];
        for _ in 0..MAX_READS {
            match receive_file(&self.stream, &mut chunk) {
                Ok((0, _)) => return Outcome::Ended,
                Ok((count, received)) => {
                    *file = file.take().or(received);
                    self.decoder.push(&chunk[..count]);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Outcome::Empty,
                    ErrorKind::Interrupted => {}
                    _ => return Outcome::Ended,
                },
            }
        }
        Outcome::More
    }
}
