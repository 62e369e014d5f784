//! The way to one daemon: its address and the socket that sends there.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracestitch_wire::daemon::{DaemonAddress, REFRESH_LOOKUP, RETRY_LOOKUP, local_for, preferred};
use tracestitch_wire::datagram::{MAX_DOCUMENT, Pace};

/// Address at which a daemon listens by default (X-Ray developer guide, "Configuring the X-Ray
/// daemon").
pub(super) const DEFAULT_DAEMON: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2000);

/// Longest wait for the daemon's name to resolve.
const RESOLVE: Duration = Duration::from_millis(200);

/// The way to one daemon.
#[derive(Debug)]
pub(super) struct Route {
    /// `None` means [`DEFAULT_DAEMON`].
    pub(super) address: Option<DaemonAddress>,
    state: State,
    looked_up: Instant,
    /// Most bytes of a document that the path to the daemon carries, as far as it is known.
    pub(super) max_document: usize,
    pub(super) pace: Pace,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(UdpSocket),
    Failed { again: Instant },
}

/// Why a route has no socket.
#[derive(Debug)]
pub(super) enum Unreachable {
    /// The address does not resolve, or no socket can be opened.
    Failed(io::Error),
    /// The address failed a short time ago and was not tried again.
    FailedBefore,
}

impl Route {
    pub(super) fn new(address: Option<DaemonAddress>, now: Instant) -> Self {
        Self {
            address,
            state: State::Closed,
            looked_up: now,
            max_document: MAX_DOCUMENT,
            pace: Pace::default(),
        }
    }

    /// Looks the address up again before the next document.
    pub(super) fn reset(&mut self) {
        self.state = State::Closed;
    }

    /// Takes the connected socket out; [`Route::put_back`] returns it after use.
    ///
    /// A name that was looked up long ago is looked up again. Until that succeeds, the old socket
    /// serves.
    pub(super) async fn take_socket(&mut self, now: Instant) -> Result<UdpSocket, Unreachable> {
        let old = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(socket) if !self.may_have_moved(now) => return Ok(socket),
            State::Open(socket) => Some(socket),
            State::Failed { again } if now < again => {
                self.state = State::Failed { again };
                return Err(Unreachable::FailedBefore);
            }
            State::Failed { .. } | State::Closed => None,
        };
        self.looked_up = now;
        let opened = match &self.address {
            Some(address) => open(address).await,
            None => connect(DEFAULT_DAEMON),
        };
        match (opened, old) {
            (Ok(socket), _) => {
                self.max_document = MAX_DOCUMENT;
                Ok(socket)
            }
            (Err(_), Some(old)) => Ok(old),
            (Err(error), None) => {
                self.state = State::Failed {
                    again: now + RETRY_LOOKUP,
                };
                Err(Unreachable::Failed(error))
            }
        }
    }

    pub(super) fn put_back(&mut self, socket: UdpSocket) {
        self.state = State::Open(socket);
    }

    fn may_have_moved(&self, now: Instant) -> bool {
        let is_name = |address: &DaemonAddress| address.numeric().is_none();
        now.duration_since(self.looked_up) >= REFRESH_LOOKUP
            && self.address.as_ref().is_some_and(is_name)
    }
}

async fn open(daemon: &DaemonAddress) -> io::Result<UdpSocket> {
    if let Some(address) = daemon.numeric() {
        return connect(address);
    }
    let name = (daemon.host(), daemon.port());
    let addresses = timeout(RESOLVE, tokio::net::lookup_host(name)).await??;
    preferred(addresses)
        .ok_or_else(|| ErrorKind::NotFound.into())
        .and_then(connect)
}

/// Opens a nonblocking socket that sends to `daemon` and receives from no other address.
pub(super) fn connect(daemon: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(local_for(daemon))?;
    socket.set_nonblocking(true)?;
    socket.connect(daemon)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn port(socket: &UdpSocket) -> u16 {
        socket.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn name_that_does_not_resolve_is_not_looked_up_again_at_once() {
        let now = clock::monotonic();
        let mut route = Route::new("host.invalid:2000".parse().ok(), now);
        let first = route.take_socket(now).await;
        assert!(matches!(first, Err(Unreachable::Failed(_))), "{first:?}");
        let soon = now + RETRY_LOOKUP - Duration::from_secs(1);
        let second = route.take_socket(soon).await;
        assert!(
            matches!(second, Err(Unreachable::FailedBefore)),
            "{second:?}"
        );
        let third = route.take_socket(now + RETRY_LOOKUP).await;
        assert!(matches!(third, Err(Unreachable::Failed(_))), "{third:?}");
    }

    #[tokio::test]
    async fn address_that_the_kernel_refuses_fails() {
        let now = clock::monotonic();
        // A broadcast address.
        let mut route = Route::new("255.255.255.255:2000".parse().ok(), now);
        let taken = route.take_socket(now).await;
        assert!(matches!(taken, Err(Unreachable::Failed(_))), "{taken:?}");
    }

    #[tokio::test]
    async fn name_is_looked_up_again_and_the_old_socket_serves_while_it_does_not_resolve() {
        let mut now = clock::monotonic();
        let mut route = Route::new("127.0.0.1:2000".parse().ok(), now);
        let first = route.take_socket(now).await.unwrap();
        let mut current = port(&first);
        route.put_back(first);
        for (host, later, moves, reason) in [
            ("localhost", Duration::ZERO, false, "it was just looked up"),
            ("localhost", REFRESH_LOOKUP, true, "a name, long ago"),
            ("host.invalid", REFRESH_LOOKUP, false, "it does not resolve"),
            ("127.0.0.1", REFRESH_LOOKUP, false, "no name"),
        ] {
            route.address = format!("{host}:2000").parse().ok();
            let mut attempts = 0;
            let moved = loop {
                now += later;
                let socket = route.take_socket(now).await.unwrap();
                let moved = port(&socket) != current;
                current = port(&socket);
                route.put_back(socket);
                attempts += 1;
                // A busy machine may not resolve the name in time.
                if moved == moves || attempts == 100 {
                    break moved;
                }
            };
            assert_eq!(moved, moves, "{reason}");
        }
    }
}
