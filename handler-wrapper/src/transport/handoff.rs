//! Hand-off to the extension, over two connections of a Unix stream socket
//! (`tracestitch_wire::handoff`).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::{SockAddr, Socket};
use tracestitch_wire::{
    handoff::{Channel, Hello, Message, VERSION},
    id::SegmentId,
};

use super::{counts::Counts, sink::Flushed};
use crate::{
    settings::config::{Config, Route},
    support::{
        diagnostics::{self, Once},
        memory::emptied,
    },
};

/// Unread bytes after which the extension is signalled to read. Linux buffers about 208 KiB in a
/// Unix socket (`net.core.wmem_default`), including its bookkeeping for each write.
const DRAIN_AFTER: usize = 96 * 1024;

/// Linux's bookkeeping for one write, in bytes, rounded up.
const WRITE_OVERHEAD: usize = 768;

/// Largest number of bytes that wait in this process while the socket is full.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Buffer size that leaves room for the last signal, however many are unread. Linux takes twice
/// this number, and 208 KiB by default without doubling it.
const LAST_ROOM: usize = 208 * 1024;

/// Connection to the extension, and the frames that wait for room in it.
#[derive(Debug)]
pub(crate) struct Handoff {
    path: PathBuf,
    daemon: Option<String>,
    required: bool,
    /// True if documents that the extension does not take in time can go to the daemon.
    has_other_way: bool,
    link: Link,
    refused: Once,
    counts: Counts,
}

#[derive(Debug)]
enum Link {
    /// No process listened at the last attempt.
    Down,
    Up(Connection),
    /// The extension did not read and was given up. It is tried again once it has closed this old
    /// signal connection, because it then reads again.
    Left(Socket),
    /// The extension closed the connection: it speaks another version, or it died, and Lambda
    /// replaces the whole environment. Another connection would lose documents again.
    Refused,
}

#[derive(Debug)]
struct Connection {
    data: Socket,
    signal: Socket,
    /// Frames that the data socket did not take, the first perhaps in part.
    waiting: VecDeque<Frames>,
    waiting_bytes: usize,
    /// Buffer of the last written frames, reused for the next.
    spare: Vec<u8>,
    /// Bytes of the first waiting frames that are written.
    written: usize,
    /// Estimated bytes in the kernel since the extension was last signalled to read.
    unread: usize,
    /// Number of finished documents that the kernel has taken.
    handed: u64,
}

/// Frames of one write: a write costs more than its bytes.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    /// Start of the finished document in the last frame, if it carries one.
    finished: Option<usize>,
}

impl Handoff {
    pub(crate) fn new(config: &Config, has_other_way: bool) -> Self {
        let mut handoff = Self {
            path: config.socket.clone(),
            daemon: config.daemon.as_ref().map(ToString::to_string),
            required: config.route == Route::Extension,
            has_other_way,
            link: Link::Down,
            refused: Once::new(),
            counts: Counts::default(),
        };
        handoff.connect();
        handoff
    }

    /// Returns the counters of handed-over documents and of given-up connections.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.counts;
        if let Link::Up(connection) = &self.link {
            counts.handed += connection.handed;
        }
        counts
    }

    /// Begins an invocation: connects unless connected, and checks that the extension is still
    /// there. Returns the finished documents that cannot go this way.
    pub(crate) fn begin(&mut self) -> Vec<Vec<u8>> {
        match &self.link {
            Link::Up(connection) if is_closed(&connection.signal) => {
                return self.leave(&ErrorKind::ConnectionAborted.into());
            }
            Link::Left(signal) if is_closed(signal) => self.connect(),
            Link::Down => self.connect(),
            Link::Up(_) | Link::Left(_) | Link::Refused => {}
        }
        Vec::new()
    }

    /// Announces an invocation: the extension waits for its end. Returns the finished documents
    /// that cannot go this way.
    pub(crate) fn announce(&mut self, request_id: &str) -> Vec<Vec<u8>> {
        self.write([Message::Begin { request_id }])
    }

    /// Connects to the extension. Without one this costs one failed system call.
    fn connect(&mut self) {
        self.link = Link::Down;
        match self.try_connect() {
            Ok(connection) => self.link = Link::Up(connection),
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
        let user = std::fs::metadata("/proc/self")?.uid();
        check_place(&self.path, user)?;
        let session = fastrand::u64(..);
        let address = SockAddr::unix(&self.path)?;
        let open = |channel| -> io::Result<Socket> {
            let (socket, peer) = connected(&address)?;
            if peer != user {
                return Err(io::Error::other("another user listens there"));
            }
            let hello = Hello {
                version: VERSION,
                channel,
                session,
                daemon: self.daemon.clone(),
            };
            let mut frame = Vec::new();
            Message::Hello(hello).encode(&mut frame);
            // A new socket has room for a frame of this size.
            (&socket).write_all(&frame)?;
            Ok(socket)
        };
        Ok(Connection {
            data: open(Channel::Data)?,
            signal: open(Channel::Signal)?,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            spare: Vec::new(),
            written: 0,
            unread: 0,
            handed: 0,
        })
    }

    pub(crate) fn open(&mut self, id: SegmentId, document: &[u8]) -> Vec<Vec<u8>> {
        self.write([Message::Open { id, document }])
    }

    /// Returns true if the extension takes documents, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    pub(crate) fn close(&mut self, id: SegmentId, document: &[u8]) -> Vec<Vec<u8>> {
        if self.is_up() {
            self.write([Message::Close { id, document }])
        } else {
            vec![document.to_vec()]
        }
    }

    pub(crate) fn discard(&mut self, ids: &[SegmentId]) -> Vec<Vec<u8>> {
        self.with(|connection| connection.discard(ids))
    }

    fn write<'a>(&mut self, messages: impl IntoIterator<Item = Message<'a>>) -> Vec<Vec<u8>> {
        self.with(|connection| connection.write(messages))
    }

    /// Calls `tell` with the connection. Returns the finished documents that cannot go this way.
    fn with(&mut self, tell: impl FnOnce(&mut Connection) -> io::Result<()>) -> Vec<Vec<u8>> {
        let Link::Up(connection) = &mut self.link else {
            return Vec::new();
        };
        match tell(connection) {
            Ok(()) => Vec::new(),
            Err(error) => self.leave(&error),
        }
    }

    /// Writes waiting frames as far as there is room.
    pub(crate) fn flush(&mut self) -> (Flushed, Vec<Vec<u8>>) {
        let Link::Up(connection) = &mut self.link else {
            return (Flushed::All, Vec::new());
        };
        match connection.flush() {
            Ok(_) if connection.waiting.is_empty() => (Flushed::All, Vec::new()),
            Ok(0) => (Flushed::Nothing, Vec::new()),
            Ok(_) => (Flushed::Some, Vec::new()),
            Err(error) => (Flushed::All, self.leave(&error)),
        }
    }

    /// Signals the end of the invocation. Documents that the extension has not taken go to the
    /// daemon, if there is one, because no further invocation may follow.
    pub(crate) fn end(&mut self, request_id: &str) -> Vec<Vec<u8>> {
        let Link::Up(connection) = &mut self.link else {
            return Vec::new();
        };
        match connection.end(request_id) {
            Ok(()) if connection.waiting.is_empty() || !self.has_other_way => Vec::new(),
            Ok(()) => self.leave(&io::Error::other("it does not read")),
            Err(error) => self.leave(&error),
        }
    }

    /// Gives the extension up. It still reads what the kernel has taken. Returns the other finished
    /// documents, and withdraws the open ones.
    #[cold]
    fn leave(&mut self, error: &io::Error) -> Vec<Vec<u8>> {
        let Link::Up(connection) = std::mem::replace(&mut self.link, Link::Refused) else {
            return Vec::new();
        };
        diagnostics::debug(format_args!(
            "the extension does not listen any more ({error}): documents go another way"
        ));
        self.counts.handed += connection.handed;
        self.counts.gave_up += 1;
        let signal = connection.signal;
        // If this fails, the extension is gone, and with it all documents that could be sent twice.
        let told = signal
            .set_send_buffer_size(LAST_ROOM)
            .and_then(|()| say(&signal, &Message::Leave))
            .and_then(|()| signal.shutdown(Shutdown::Write));
        if told.is_ok() && !is_closed(&signal) {
            self.link = Link::Left(signal);
        }
        connection
            .waiting
            .into_iter()
            .filter_map(Frames::into_finished)
            .collect()
    }
}

/// Returns a nonblocking socket, and the user id of the process that listens.
#[cfg(target_os = "linux")]
fn connected(address: &SockAddr) -> io::Result<(Socket, u32)> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    use socket2::{Domain, Type};

    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(address)?;
    let user = getsockopt(&socket, PeerCredentials)?.uid();
    Ok((socket, user))
}

/// Fails on other systems: extensions run in Lambda, which is Linux.
#[cfg(not(target_os = "linux"))]
fn connected(_address: &SockAddr) -> io::Result<(Socket, u32)> {
    Err(ErrorKind::NotFound.into())
}

/// Rejects a socket that another user could have created. The extension runs as the same user.
fn check_place(path: &Path, user: u32) -> io::Result<()> {
    // Links are not followed: neither is one of ours.
    let found = std::fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        return Err(io::Error::other(
            "expected a socket, found another kind of file",
        ));
    }
    if found.uid() != user {
        return Err(io::Error::other("expected a socket of this process's user"));
    }
    let folder = std::fs::symlink_metadata(path.parent().unwrap_or(path))?;
    if !folder.is_dir() || folder.uid() != user || folder.mode() & 0o022 != 0 {
        return Err(io::Error::other(
            "expected it in a folder of this process's user to which nobody else may write",
        ));
    }
    Ok(())
}

/// Returns true if the extension has closed this connection. It never writes.
fn is_closed(mut signal: &Socket) -> bool {
    match signal.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

impl Frames {
    /// Encodes `messages` into `bytes`, an empty buffer.
    fn new<'a>(messages: impl IntoIterator<Item = Message<'a>>, mut bytes: Vec<u8>) -> Self {
        let mut finished = None;
        for message in messages {
            message.encode(&mut bytes);
            if let Message::Close { document, .. } = message {
                finished = Some(bytes.len() - document.len());
            }
        }
        Self { bytes, finished }
    }

    fn into_finished(mut self) -> Option<Vec<u8>> {
        self.finished.map(|start| self.bytes.split_off(start))
    }
}

impl Connection {
    fn write<'a>(&mut self, messages: impl IntoIterator<Item = Message<'a>>) -> io::Result<()> {
        let frames = Frames::new(messages, std::mem::take(&mut self.spare));
        self.unread += frames.bytes.len() + WRITE_OVERHEAD;
        self.waiting_bytes += frames.bytes.len();
        self.waiting.push_back(frames);
        self.flush()?;
        if self.waiting_bytes > MAX_WAITING {
            return Err(io::Error::other("it has not read for 4 MiB"));
        }
        if self.unread >= DRAIN_AFTER {
            self.unread = 0;
            say(&self.signal, &Message::Drain)?;
        }
        Ok(())
    }

    fn discard(&mut self, ids: &[SegmentId]) -> io::Result<()> {
        let discards = || ids.iter().map(|id| Message::Discard { id: *id });
        self.write(discards())?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        // Some discarded documents are already in the kernel's buffer but this discard is not. Also
        // send it on the signal channel, or the extension would close them as interrupted if the
        // process dies now.
        say_all(&self.signal, &Frames::new(discards(), Vec::new()).bytes)
    }

    /// Writes waiting frames as far as there is room. Returns the number of bytes taken. Signals an
    /// extension that has made room again, because it sleeps once it has read everything.
    fn flush(&mut self) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(frames) = self.waiting.front() {
            let sent = send(&self.data, &frames.bytes[self.written..])?;
            taken += sent;
            self.written += sent;
            if self.written < frames.bytes.len() {
                if taken > 0 {
                    say(&self.signal, &Message::Drain)?;
                }
                break;
            }
            self.waiting_bytes -= frames.bytes.len();
            self.handed += u64::from(frames.finished.is_some());
            self.written = 0;
            if let Some(written) = self.waiting.pop_front() {
                self.spare = emptied(written.bytes);
            }
        }
        Ok(taken)
    }

    fn end(&mut self, request_id: &str) -> io::Result<()> {
        self.flush()?;
        self.unread = 0;
        say(&self.signal, &Message::End { request_id })
    }
}

fn say(signal: &Socket, message: &Message<'_>) -> io::Result<()> {
    let mut frame = Vec::with_capacity(64);
    message.encode(&mut frame);
    say_all(signal, &frame)
}

fn say_all(signal: &Socket, frames: &[u8]) -> io::Result<()> {
    if send(signal, frames)? == frames.len() {
        Ok(())
    } else {
        Err(io::Error::other("it does not read its signals"))
    }
}

/// Sends bytes. Returns how many the socket took; 0 if it is full.
fn send(mut socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

#[cfg(test)]
mod tests;
