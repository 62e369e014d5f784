//! Passing the ring's file to the reader over a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Writes `bytes` to `socket` and passes `file` with the first of them. Returns the number of bytes
/// written. No `SIGPIPE` is raised if the peer is gone.
///
/// # Errors
///
/// If the system refuses, for example because the socket is full ([`io::ErrorKind::WouldBlock`]) or
/// its peer is gone.
pub fn send_file(socket: impl AsFd, bytes: &[u8], file: impl AsFd) -> io::Result<usize> {
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        no_signal(),
    )?)
}

/// Reads bytes from `socket` into `buffer`, and the file that was passed with them. Returns the
/// number of bytes, 0 at the end of the stream. The file is closed on `exec`. Further files are
/// closed at once.
///
/// # Errors
///
/// If the system refuses, for example because there is nothing to read
/// ([`io::ErrorKind::WouldBlock`]). If there is no free file descriptor, the bytes arrive without
/// the file.
pub fn receive_file(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(buffer)],
        &mut control,
        close_on_exec(),
    )?;
    let mut first = None;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            for file in files {
                first.get_or_insert(file);
            }
        }
    }
    Ok((received.bytes, first))
}

#[cfg(target_os = "linux")]
fn no_signal() -> SendFlags {
    SendFlags::NOSIGNAL
}

#[cfg(not(target_os = "linux"))]
fn no_signal() -> SendFlags {
    SendFlags::empty()
}

#[cfg(target_os = "linux")]
fn close_on_exec() -> RecvFlags {
    RecvFlags::CMSG_CLOEXEC
}

#[cfg(not(target_os = "linux"))]
fn close_on_exec() -> RecvFlags {
    RecvFlags::empty()
}

#[cfg(all(test, target_os = "linux", not(loom), not(miri)))]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{Reader, Writer};

    fn pair() -> (UnixStream, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        (one, other)
    }

    #[test]
    fn passed_ring_is_read_by_the_receiver() {
        let (function, extension) = pair();
        let writer = Writer::sealed(crate::CAPACITY).unwrap();
        let _ = writer.push(&[b"before"]).unwrap();
        assert_eq!(send_file(&function, b"hello", &writer).unwrap(), 5);
        let _ = writer.push(&[b"after"]).unwrap();

        let mut buffer = [0; 64];
        let (count, file) = receive_file(&extension, &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"hello");
        let mut reader = Reader::open(file.unwrap()).unwrap();
        let mut frames = Vec::new();
        reader.read(|frame| frames.push(frame.to_vec())).unwrap();
        assert_eq!(frames, [&b"before"[..], b"after"]);
    }

    #[test]
    fn received_file_is_closed_on_exec() {
        let (function, extension) = pair();
        send_file(&function, b"x", tempfile::tempfile().unwrap()).unwrap();
        let (_, file) = receive_file(&extension, &mut [0; 8]).unwrap();
        let flags = rustix::io::fcntl_getfd(file.unwrap()).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn bytes_without_a_file_and_the_end_of_the_stream_are_received() {
        let (function, extension) = pair();
        let mut buffer = [0; 8];
        let empty = receive_file(&extension, &mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        io::Write::write_all(&mut &function, b"y").unwrap();
        let (count, file) = receive_file(&extension, &mut buffer).unwrap();
        assert_eq!((count, file.is_none()), (1, true));
        drop(function);
        assert_eq!(receive_file(&extension, &mut buffer).unwrap().0, 0);
    }

    #[test]
    fn peer_that_is_gone_is_an_error_without_a_signal() {
        let (function, extension) = pair();
        drop(extension);
        let error = send_file(&function, b"x", tempfile::tempfile().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
