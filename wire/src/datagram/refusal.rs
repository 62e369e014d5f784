//! Meaning of the errors that sending a datagram returns.

use std::io::{self, ErrorKind};

/// `EMSGSIZE`: the path carries no datagram of this size. `std::io::ErrorKind` has no name for it.
///
/// Source: errno(3) of Linux and of the BSDs, macOS among them.
const MESSAGE_TOO_LONG: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    90
} else {
    40
};

/// Meaning of an error of `UdpSocket::send` for a connected, nonblocking socket, and the right
/// reaction.
///
/// ```
/// use std::io::ErrorKind;
/// use tracestitch_wire::datagram::Refusal;
///
/// assert_eq!(Refusal::from(&ErrorKind::WouldBlock.into()), Refusal::Full);
/// assert_eq!(Refusal::from(&ErrorKind::NetworkUnreachable.into()), Refusal::Broken);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A signal interrupted the call. Send again at once.
    Interrupted,
    /// The send buffer has no room. Send again after a pause.
    Full,
    /// No process listens at the address. Linux reports this on the next call for an *earlier*
    /// datagram and does not send the current one (udp(7)): count the earlier one as lost and send
    /// again. A second report in a row means that the address has no listener.
    NoListener,
    /// The path carries no datagram of this size. Split or trim the document.
    TooLong,
    /// Any other error. Open the socket again, once for each datagram: the process may have been
    /// resumed in another network.
    Broken,
}

impl From<&io::Error> for Refusal {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::Interrupted => Self::Interrupted,
            ErrorKind::WouldBlock => Self::Full,
            ErrorKind::ConnectionRefused => Self::NoListener,
            _ if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => Self::TooLong,
            _ => Self::Broken,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn kinds_of_errors() {
        for (kind, expected) in [
            (ErrorKind::Interrupted, Refusal::Interrupted),
            (ErrorKind::WouldBlock, Refusal::Full),
            (ErrorKind::ConnectionRefused, Refusal::NoListener),
            (ErrorKind::BrokenPipe, Refusal::Broken),
            (ErrorKind::NetworkUnreachable, Refusal::Broken),
            (ErrorKind::PermissionDenied, Refusal::Broken),
        ] {
            assert_eq!(Refusal::from(&kind.into()), expected, "{kind}");
        }
    }

    /// The kernel decides about both sends on loopback, without a network.
    #[test]
    fn errors_of_a_real_socket() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = closed.local_addr().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        // IPv4 carries at most 65,507 bytes.
        let error = socket.send(&vec![0; 70_000]).unwrap_err();
        assert_eq!(Refusal::from(&error), Refusal::TooLong, "{error}");

        drop(closed);
        socket.send(b"reaches no listener").unwrap();
        let error = socket.send(b"reports the first").unwrap_err();
        assert_eq!(Refusal::from(&error), Refusal::NoListener, "{error}");
    }
}
