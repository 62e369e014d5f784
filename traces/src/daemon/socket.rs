//! The UDP socket: a large receive buffer, and the number of datagrams that did not fit into it.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

/// Size of the receive buffer in bytes: room for 10,000 documents of 500 bytes, each of which the
/// kernel counts with its own administration (about 1,280 bytes).
const RECEIVE_BUFFER: usize = 16 * 1024 * 1024;

/// Binds `address`. A process without the right to `SO_RCVBUFFORCE` (socket(7)) gets a receive
/// buffer of at most the kernel's limit (`net.core.rmem_max`).
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER))?;
    setsockopt(&socket, sockopt::RxqOvfl, &1)?;
    Ok(socket)
}

/// Receives one datagram. Returns its length, and how many datagrams the kernel has dropped since
/// the socket was bound if it reports that (`SO_RXQ_OVFL`, socket(7)).
pub(super) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, Option<u32>)> {
    let mut control = nix::cmsg_space!(u32);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let dropped = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::RxqOvfl(dropped) => Some(dropped),
        _ => None,
    });
    Ok((message.bytes, dropped))
}
