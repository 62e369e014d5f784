//! To the extension, over two connections of a Unix stream socket (`tracestitch_wire::handoff`).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use socket2::{Domain, SockAddr, Socket, Type};
use tracestitch_wire::{
    handoff::{Channel, Decoder, Hello, Message, VERSION},
    id::SegmentId,
};

use crate::{
    config::{Config, Route},
    report::{self, Once},
};

/// Unread bytes after which the extension is asked to read. Linux lets about 208 KiB wait in a
/// Unix socket (`net.core.wmem_default`), bookkeeping of each write included.
const DRAIN_AFTER: usize = 96 * 1024;

/// What Linux books for a write on top of its bytes, rounded up.
const WRITE_OVERHEAD: usize = 768;

/// Most bytes that wait in this process when the socket takes no more.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// The two connections, and what waits for room in them.
#[derive(Debug)]
pub(crate) struct Handoff {
    path: PathBuf,
    daemon: Option<String>,
    required: bool,
    connection: Option<Connection>,
    refused: Once,
}

#[derive(Debug)]
struct Connection {
    data: Socket,
    signal: Socket,
    /// Frames that the data socket did not take, the first one perhaps in part.
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// Bytes of the first waiting frame that were written.
    written: usize,
    /// Estimated bytes in the kernel since the extension was last asked to read.
    unread: usize,
}

impl Handoff {
    pub(crate) fn new(config: &Config) -> Self {
        let mut handoff = Self {
            path: config.socket.clone(),
            daemon: config.daemon.as_ref().map(ToString::to_string),
            required: config.route == Route::Extension,
            connection: None,
            refused: Once::new(),
        };
        handoff.connect();
        handoff
    }

    /// Connects unless connected. Without an extension this is one system call that fails.
    pub(crate) fn connect(&mut self) {
        if self.connection.is_some() {
            return;
        }
        match self.try_connect() {
            Ok(connection) => self.connection = Some(connection),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.required => {}
            Err(error) => self.refused.warn(format_args!(
                "no extension at {} ({error}): {}",
                self.path.display(),
                if self.required {
                    "documents of this process are lost, because TRACESTITCH_TRANSPORT is extension"
                } else {
                    "documents go to the X-Ray daemon directly"
                }
            )),
        }
    }

    fn try_connect(&self) -> io::Result<Connection> {
        let found = std::fs::symlink_metadata(&self.path)?;
        if !found.file_type().is_socket() {
            return Err(io::Error::other(
                "expected a socket, found another kind of file",
            ));
        }
        // The extension runs as the same user. A socket of someone else would get our documents.
        if found.uid() != std::fs::metadata("/proc/self")?.uid() {
            return Err(io::Error::other("expected a socket of this process's user"));
        }
        let session = fastrand::u64(..);
        let address = SockAddr::unix(&self.path)?;
        let open = |channel| -> io::Result<Socket> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            socket.connect(&address)?;
            let hello = Hello {
                version: VERSION,
                channel,
                session,
                daemon: self.daemon.clone(),
            };
            let mut frame = Vec::new();
            Message::Hello(hello).encode(&mut frame);
            // A fresh socket has room for a frame of this size.
            (&socket).write_all(&frame)?;
            Ok(socket)
        };
        Ok(Connection {
            data: open(Channel::Data)?,
            signal: open(Channel::Signal)?,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            written: 0,
            unread: 0,
        })
    }

    pub(crate) fn open(&mut self, id: SegmentId, document: &[u8]) -> Vec<Vec<u8>> {
        self.write(&Message::Open { id, document })
    }

    pub(crate) fn close(&mut self, id: SegmentId, document: Vec<u8>) -> Vec<Vec<u8>> {
        if self.connection.is_none() {
            return vec![document];
        }
        self.write(&Message::Close {
            id,
            document: &document,
        })
    }

    pub(crate) fn discard(&mut self, id: SegmentId) -> Vec<Vec<u8>> {
        self.write(&Message::Discard { id })
    }

    /// Gives back the finished documents that cannot go this way.
    fn write(&mut self, message: &Message<'_>) -> Vec<Vec<u8>> {
        let Some(connection) = &mut self.connection else {
            return Vec::new();
        };
        match connection.write(message) {
            Ok(()) => Vec::new(),
            Err(error) => self.give_up(&error),
        }
    }

    /// True when the socket has taken everything.
    pub(crate) fn flush(&mut self) -> (bool, Vec<Vec<u8>>) {
        let Some(connection) = &mut self.connection else {
            return (true, Vec::new());
        };
        match connection.flush() {
            Ok(()) => (connection.waiting.is_empty(), Vec::new()),
            Err(error) => (true, self.give_up(&error)),
        }
    }

    /// Tells the extension that the invocation is over.
    pub(crate) fn end(&mut self, request_id: &str) -> Vec<Vec<u8>> {
        let Some(connection) = &mut self.connection else {
            return Vec::new();
        };
        match connection.end(request_id) {
            Ok(()) => Vec::new(),
            Err(error) => self.give_up(&error),
        }
    }

    /// The extension is gone, and with it what the kernel holds; the rest is given back.
    #[cold]
    fn give_up(&mut self, error: &io::Error) -> Vec<Vec<u8>> {
        report::debug(format_args!(
            "the extension does not listen any more ({error})"
        ));
        self.connection
            .take()
            .map_or_else(Vec::new, |connection| documents(&connection.waiting))
    }
}

impl Connection {
    fn write(&mut self, message: &Message<'_>) -> io::Result<()> {
        let mut frame = Vec::with_capacity(1024);
        message.encode(&mut frame);
        self.unread += frame.len() + WRITE_OVERHEAD;
        self.waiting_bytes += frame.len();
        self.waiting.push_back(frame);
        self.flush()?;
        if self.waiting_bytes > MAX_WAITING {
            return Err(io::Error::other("it has not read for 4 MiB"));
        }
        if self.unread >= DRAIN_AFTER {
            self.unread = 0;
            self.signal(&Message::Drain)?;
        }
        Ok(())
    }

    /// Writes what waits, as far as there is room. An extension that was told to read once, and
    /// has made room, is told again: it sleeps when it has read what there was.
    fn flush(&mut self) -> io::Result<()> {
        let mut taken = 0;
        while let Some(frame) = self.waiting.front() {
            let sent = send(&self.data, &frame[self.written..])?;
            taken += sent;
            self.written += sent;
            if self.written < frame.len() {
                return if taken > 0 {
                    self.signal(&Message::Drain)
                } else {
                    Ok(())
                };
            }
            self.waiting_bytes -= frame.len();
            self.written = 0;
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn end(&mut self, request_id: &str) -> io::Result<()> {
        self.flush()?;
        self.unread = 0;
        self.signal(&Message::End { request_id })
    }

    fn signal(&self, message: &Message<'_>) -> io::Result<()> {
        let mut frame = Vec::with_capacity(64);
        message.encode(&mut frame);
        if send(&self.signal, &frame)? == frame.len() {
            Ok(())
        } else {
            Err(io::Error::other("it does not read its signals"))
        }
    }
}

/// The finished documents among `frames`.
fn documents(frames: &VecDeque<Vec<u8>>) -> Vec<Vec<u8>> {
    frames
        .iter()
        .filter_map(|frame| finished_document(frame))
        .collect()
}

fn finished_document(frame: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = Decoder::default();
    decoder.push(frame);
    match decoder.next() {
        Ok(Some(Message::Close { document, .. })) => Some(document.to_vec()),
        _ => None,
    }
}

/// Bytes that the socket took; none when it is full.
fn send(mut socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

#[cfg(test)]
mod tests;
