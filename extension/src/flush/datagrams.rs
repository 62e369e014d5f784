//! Several datagrams in one system call.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;

use tracestitch_wire::datagram::PREAMBLE;

/// Most datagrams of one call: about as many documents of 500 bytes as one step of a ring has.
pub(super) const MOST: usize = 32;

/// Sends the first of `documents`, of which there are 1 to [`MOST`], and as many after it as the
/// kernel takes. Each leaves in its own datagram. Returns their number.
///
/// # Errors
///
/// If the kernel does not send the first one. An error of a later one ends the call early, and the
/// kernel does not return it (sendmmsg(2)): an error that lasts is returned by the next call, which
/// begins with that document.
pub(super) fn send<'d>(
    socket: &UdpSocket,
    documents: impl ExactSizeIterator<Item = &'d [u8]> + Clone,
) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    match send_several(socket, documents.clone()) {
        // A sandbox may know `send` alone.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) => {}
        result => return result,
    }
    send_one(socket, documents)
}

#[cfg(target_os = "linux")]
fn send_several<'d>(
    socket: &UdpSocket,
    mut documents: impl ExactSizeIterator<Item = &'d [u8]>,
) -> io::Result<usize> {
    use std::array;
    use std::io::IoSlice;

    use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

    let count = documents.len().min(MOST);
    // No document is copied to put the header line before it.
    let mut parts: [_; MOST] = array::from_fn(|_| {
        let document = documents.next().unwrap_or_default();
        let parts = [IoSlice::new(PREAMBLE), IoSlice::new(document)];
        (parts, SendAncillaryBuffer::default())
    });
    let mut datagrams = parts
        .each_mut()
        .map(|(parts, control)| MMsgHdr::new(parts, control));
    Ok(sendmmsg(
        socket,
        &mut datagrams[..count],
        SendFlags::NOSIGNAL,
    )?)
}

/// Sends the first of `documents`, of which there is at least one. Returns 1.
///
/// # Errors
///
/// If the kernel does not send it.
fn send_one<'d>(
    socket: &UdpSocket,
    mut documents: impl Iterator<Item = &'d [u8]>,
) -> io::Result<usize> {
    let document = documents.next().unwrap_or_default();
    socket.send(&[PREAMBLE, document].concat())?;
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_the_same_one_at_a_time() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let documents: [&[u8]; 2] = [b"{\"a\":1}", b"{\"b\":2}"];
        let received = || {
            let mut buffer = [0; 256];
            let length = receiver.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        };
        assert_eq!(send(&sender, documents.into_iter()).unwrap(), 2);
        let together = [received(), received()];
        for (document, datagram) in documents.into_iter().zip(together) {
            assert_eq!(datagram, [PREAMBLE, document].concat());
            assert_eq!(send_one(&sender, [document].into_iter()).unwrap(), 1);
            assert_eq!(received(), datagram);
        }
    }
}
