//! Straight to the X-Ray daemon over UDP: for functions without the layer.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

use tracestitch_wire::{daemon::DaemonAddress, datagram};

use crate::report::{self, Once};

/// A socket that sends to the daemon.
#[derive(Debug)]
pub(crate) struct Direct {
    socket: Option<UdpSocket>,
    lost: Once,
}

impl Direct {
    /// Resolves the address once, now: later would be in the middle of a handler.
    pub(crate) fn new(address: &DaemonAddress) -> Self {
        let socket = connect(address);
        if let Err(error) = &socket {
            report::warn(format_args!(
                "the X-Ray daemon at {address} cannot be reached ({error}): without the extension, \
                 subsegments of this process are lost"
            ));
        }
        Self {
            socket: socket.ok(),
            lost: Once::new(),
        }
    }

    /// Sends one document that fits a datagram. The daemon never answers: all that can be known
    /// is that the kernel took it.
    pub(crate) fn send(&self, document: &[u8]) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(&datagram::encode(document)) {
            self.lost.warn(format_args!(
                "a document could not be sent to the X-Ray daemon ({error}): it is lost, and so \
                 may others be"
            ));
        }
    }
}

fn connect(address: &DaemonAddress) -> std::io::Result<UdpSocket> {
    let daemon = match address.host().parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, address.port()),
        Err(_) => (address.host(), address.port())
            .to_socket_addrs()?
            .next()
            .ok_or(std::io::ErrorKind::AddrNotAvailable)?,
    };
    let any: IpAddr = match daemon {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0u16; 8].into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(daemon)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
