//! To the extension, over two connections of a Unix stream socket (`tracestitch_wire::handoff`).

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

/// Unread bytes after which the extension is asked to read. Linux lets about 208 KiB wait in a
/// Unix socket (`net.core.wmem_default`), bookkeeping of each write included.
const DRAIN_AFTER: usize = 96 * 1024;

/// What Linux books for a write on top of its bytes, rounded up.
const WRITE_OVERHEAD: usize = 768;

/// Most bytes that wait in this process when the socket takes no more.
const MAX_WAITING: usize = 4 * 1024 * 1024;

/// Room for the last signal, however many signals lie unread before it: Linux takes twice this
/// number, and by default 208 KiB without doubling it.
const LAST_ROOM: usize = 208 * 1024;

/// The way to the extension, and what waits for room in it.
#[derive(Debug)]
pub(crate) struct Handoff {
    path: PathBuf,
    daemon: Option<String>,
    required: bool,
    /// What the extension does not take in time can go to the daemon.
    has_other_way: bool,
    link: Link,
    refused: Once,
    counts: Counts,
}

#[derive(Debug)]
enum Link {
    /// Nobody was there the last time.
    Down,
    Up(Connection),
    /// The extension did not read and was left. It is tried again when it has closed this old
    /// signal connection: then it reads again.
    Left(Socket),
    /// The extension closed the connection: it speaks another version, or has died, and Lambda
    /// replaces the whole environment. Connecting again would lose documents again.
    Refused,
}

#[derive(Debug)]
struct Connection {
    data: Socket,
    signal: Socket,
    /// Frames that the data socket did not take, the first ones perhaps in part.
    waiting: VecDeque<Frames>,
    waiting_bytes: usize,
    /// Memory of the frames that were written last, for the next ones.
    spare: Vec<u8>,
    /// Bytes of the first waiting frames that were written.
    written: usize,
    /// Estimated bytes in the kernel since the extension was last asked to read.
    unread: usize,
    /// Finished documents that the kernel has taken.
    handed: u64,
}

/// What is written at once: a write costs more than the bytes in it.
#[derive(Debug)]
struct Frames {
    bytes: Vec<u8>,
    /// The last one carries a document that is over, from this byte on.
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

    /// What was handed over, and how often the extension was given up.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = self.counts;
        if let Link::Up(connection) = &self.link {
            counts.handed += connection.handed;
        }
        counts
    }

    /// An invocation begins: connects unless connected, and looks whether the extension is still
    /// there. Gives back the finished documents that cannot go this way.
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

    /// Without an extension this is one system call that fails.
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
            // A fresh socket has room for a frame of this size.
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

    /// True when the extension takes documents, as far as is known.
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

    /// Gives back the finished documents that cannot go this way.
    fn with(&mut self, tell: impl FnOnce(&mut Connection) -> io::Result<()>) -> Vec<Vec<u8>> {
        let Link::Up(connection) = &mut self.link else {
            return Vec::new();
        };
        match tell(connection) {
            Ok(()) => Vec::new(),
            Err(error) => self.leave(&error),
        }
    }

    /// Writes what waits, as far as there is room.
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

    /// Tells the extension that the invocation is over. If it has not taken all documents by now,
    /// they go another way, if there is one: perhaps no invocation follows.
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

    /// Gives the extension up. What the kernel has taken is still read when the extension reads
    /// again; the rest is given back, and what is open is taken back.
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
        // When this fails, the extension is gone, and with it all that could come twice.
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

/// A socket that never waits, and the user who listens at its other end.
#[cfg(target_os = "linux")]
fn connected(address: &SockAddr) -> io::Result<(Socket, u32)> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    use socket2::{Domain, Type};

    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(address)?;
    let user = getsockopt(&socket, PeerCredentials)?.uid();
    Ok((socket, user))
}

/// Extensions run in Lambda, which is Linux: on the laptop where a function is written is none.
#[cfg(not(target_os = "linux"))]
fn connected(_address: &SockAddr) -> io::Result<(Socket, u32)> {
    Err(ErrorKind::NotFound.into())
}

/// Refuses what somebody else could have put there. The extension runs as the same user.
fn check_place(path: &Path, user: u32) -> io::Result<()> {
    // Not following links: neither is one of ours.
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

/// True when the extension has closed this connection. It never writes.
fn is_closed(mut signal: &Socket) -> bool {
    match signal.read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

impl Frames {
    /// `bytes` is empty memory to write them to.
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
        // The kernel has some of what is discarded, and not yet this. If the process dies before
        // it has, the extension must not take that for what the death left open: the signals are
        // heard after all that was written to it.
        say_all(&self.signal, &Frames::new(discards(), Vec::new()).bytes)
    }

    /// Writes what waits, as far as there is room. Gives back how many bytes were taken. An
    /// extension that was told to read once, and has made room, is told again: it sleeps when it
    /// has read what there was.
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

/// Bytes that the socket took; none when it is full.
fn send(mut socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

#[cfg(test)]
mod tests;
