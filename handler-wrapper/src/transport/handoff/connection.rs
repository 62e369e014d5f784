//! The socket to the extension.

use std::fs::{Metadata, symlink_metadata};
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use socket2::{SockAddr, Socket};
use tracestitch_ring::{Writer, send_file};
use tracestitch_wire::handoff::{Message, check_folder, check_socket};

/// Send buffer in bytes that leaves room for the last message, however many are unread. Linux takes
/// twice this number, and 208 KiB by default without doubling it.
const LAST_ROOM: usize = 208 * 1024;

/// Makes a failed send an error alone: no `SIGPIPE`, whose default action ends the process.
#[cfg(target_os = "linux")]
const NO_SIGNAL: i32 = nix::libc::MSG_NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const NO_SIGNAL: i32 = 0;

/// Identity of a listening socket. Every process that listens creates a file of its own, because an
/// address cannot be bound twice (unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listener {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Listener {
    /// Looks for a socket at `path`.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(super) fn find(path: &Path) -> io::Result<Self> {
        symlink_metadata(path).map(|file| Self::of(&file))
    }

    fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Result of sending a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The extension will read it.
    Yes,
    /// The extension does not read: the socket has no room.
    Full,
    /// The extension has closed the connection.
    Closed,
}

/// A connection to the extension. Dropping it ends the session.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    listener: Listener,
}

impl Connection {
    /// Connects to the socket at `path`, without waiting.
    ///
    /// # Errors
    ///
    /// If no process listens there, or another user could have created the socket: the extension
    /// runs as the same user.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Not from the owner of `/proc/self`, which is root in a process that cannot be dumped
        // (proc(5)).
        let user = nix::unistd::geteuid().as_raw();
        let file = symlink_metadata(path)?;
        check_socket(&file, user).map_err(io::Error::other)?;
        let folder = symlink_metadata(path.parent().unwrap_or(path))?;
        check_folder(&folder, user).map_err(io::Error::other)?;
        let (socket, peer) = connect(&SockAddr::unix(path)?)?;
        if peer != user {
            return Err(io::Error::other("another user listens there"));
        }
        Ok(Self {
            socket,
            listener: Listener::of(&file),
        })
    }

    /// The socket that this connection was made to.
    pub(super) fn listener(&self) -> Listener {
        self.listener
    }

    /// Sends the hello and passes the ring's file with it.
    ///
    /// # Errors
    ///
    /// If the extension has closed the connection, or the system refuses to pass the file.
    pub(super) fn send_hello(&self, hello: &Message<'_>, ring: &Writer) -> io::Result<()> {
        let frame = encode(hello);
        if send_file(&self.socket, &frame, ring)? == frame.len() {
            Ok(())
        } else {
            Err(io::Error::other("the socket did not take the hello"))
        }
    }

    /// Sends a message. The socket takes one of this size as a whole or not at all.
    pub(super) fn send(&self, message: &Message<'_>) -> Sent {
        let frame = encode(message);
        match self.socket.send_with_flags(&frame, NO_SIGNAL) {
            Ok(count) if count == frame.len() => Sent::Yes,
            Ok(_) => Sent::Full,
            Err(_) if self.is_closed() => Sent::Closed,
            Err(_) => Sent::Full,
        }
    }

    /// Reports that no more documents come this way, and keeps the socket open until the extension
    /// closes it.
    pub(super) fn leave(&self) {
        // If the buffer cannot grow, it may have room nevertheless.
        let _ = self.socket.set_send_buffer_size(LAST_ROOM);
        if self.send(&Message::Leave) == Sent::Yes {
            // The end of the stream without a leave would mean that the function died.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
    }

    /// Returns true if the extension has closed the connection. It never writes.
    pub(super) fn is_closed(&self) -> bool {
        match (&self.socket).read(&mut [0; 1]) {
            Ok(count) => count == 0,
            // The kernel reports this once if the extension left messages unread.
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(64);
    message.encode(&mut frame);
    frame
}

/// Returns a nonblocking socket, and the user id of the process that listens.
#[cfg(target_os = "linux")]
fn connect(address: &SockAddr) -> io::Result<(Socket, u32)> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    use socket2::{Domain, Type};

    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(address)?;
    let user = getsockopt(&socket, PeerCredentials)?.uid();
    Ok((socket, user))
}

/// Fails on other systems: extensions run in Lambda, which is Linux.
#[cfg(not(target_os = "linux"))]
fn connect(_address: &SockAddr) -> io::Result<(Socket, u32)> {
    Err(ErrorKind::NotFound.into())
}
