//! Sender to the X-Ray daemon over UDP, for functions without the layer and for an extension that
//! does not read.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracestitch_wire::{
    daemon::{DaemonAddress, preferred},
    datagram::{self, Pace, Refusal},
    delivery::{Delivery, Loss},
};

use super::sink::Flushed;
use crate::support::{clock, diagnostics::Once};

/// Largest number of bytes that wait here: a ring that a dead extension has not read, and as much
/// again. Beyond it, documents are sent faster than a receiver with default buffers may read them.
const MAX_WAITING: usize = 8 * 1024 * 1024;

/// Time after which a name that did not resolve is looked up again.
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// Time after which a resolved name is looked up again, because the daemon may have moved.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A socket that sends to the daemon.
#[derive(Debug)]
pub(crate) struct Direct {
    address: DaemonAddress,
    state: Arc<Mutex<Sender>>,
}

#[derive(Debug)]
struct Sender {
    destination: Destination,
    /// Time of the last lookup.
    looked_up: Instant,
    /// Datagrams for which the receiver may have no room yet.
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    pace: Pace,
    /// The end of the last pause of this process.
    ///
    /// The pace takes the time between two pauses for time in which the receiver reads. Only time
    /// in which this process waited counts as that: while it was busy, or the machine did not let
    /// it run, the receiver may not have run either.
    resumed: Instant,
    /// True if the caller pauses because datagrams wait.
    is_pause: bool,
    counts: Delivery,
    lost: Once,
}

#[derive(Debug)]
enum Destination {
    /// A thread resolves the name, so that the handler does not wait.
    Resolving,
    Open(UdpSocket),
    Failed {
        again: Instant,
    },
}

impl Direct {
    /// Opens the socket. A thread resolves a name, because that may take seconds.
    pub(crate) fn new(address: &DaemonAddress) -> Self {
        let now = clock::monotonic();
        let direct = Self {
            address: address.clone(),
            state: Arc::new(Mutex::new(Sender {
                destination: Destination::Resolving,
                looked_up: now,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                pace: Pace::default(),
                resumed: now,
                is_pause: false,
                counts: Delivery::default(),
                lost: Once::new(),
            })),
        };
        direct.open();
        direct
    }

    /// Returns the counters of sent and lost documents.
    pub(crate) fn counts(&self) -> Delivery {
        self.state().counts
    }

    /// Opens the socket again: the process was restored from a snapshot, perhaps on another
    /// machine.
    pub(crate) fn reopen(&self) {
        self.state().destination = Destination::Resolving;
        self.open();
    }

    /// Begins an invocation: tries again what failed, and looks a name up again. The socket is used
    /// until the new address is known.
    pub(crate) fn begin(&self) {
        let now = clock::monotonic();
        let mut state = self.state();
        // The process waited for the event.
        state.resumed = now;
        match state.destination {
            Destination::Failed { again } if again <= now => {
                state.destination = Destination::Resolving
            }
            Destination::Open(_)
                if now.saturating_duration_since(state.looked_up) >= LOOK_AGAIN
                    && self.address.numeric().is_none() => {}
            Destination::Open(_) | Destination::Failed { .. } | Destination::Resolving => return,
        }
        state.looked_up = now;
        drop(state);
        self.open();
    }

    fn open(&self) {
        if let Some(address) = self.address.numeric() {
            self.state().opened(&self.address, connect(address));
            return;
        }
        let (address, state) = (self.address.clone(), Arc::clone(&self.state));
        let resolve = move || {
            let socket = resolve(&address).and_then(connect);
            lock(&state).opened(&address, socket);
        };
        let thread = std::thread::Builder::new().name("tracestitch-resolve".to_owned());
        if let Err(error) = thread.spawn(resolve) {
            self.state().opened(&self.address, Err(error));
        }
    }

    /// Sends one document that fits a datagram, now or, if the receiver may have no room, with the
    /// next call. The daemon never answers; a document counts as sent if the kernel took it.
    pub(crate) fn send(&self, document: &[u8]) {
        let datagram = datagram::encode(document);
        let mut state = self.state();
        state.waiting_bytes += datagram.len();
        state.waiting.push_back(datagram);
        state.pump(false);
    }

    /// Sends waiting documents as far as the receiver has room. The caller pauses before it calls
    /// again, unless nothing waits.
    pub(crate) fn flush(&self) -> Flushed {
        let mut state = self.state();
        if state.is_pause {
            state.resumed = clock::monotonic();
        }
        state.pump(false);
        state.is_pause = !state.waiting.is_empty();
        match state.destination {
            _ if state.waiting.is_empty() => Flushed::All,
            // The receiver will have room soon.
            Destination::Open(_) => Flushed::Some,
            Destination::Resolving | Destination::Failed { .. } => Flushed::Nothing,
        }
    }

    /// Sends waiting documents even if the receiver may have no room, because no later call may
    /// follow. Only documents for a name that is still being resolved wait.
    pub(crate) fn finish(&self) {
        self.state().pump(true);
    }

    fn state(&self) -> MutexGuard<'_, Sender> {
        lock(&self.state)
    }
}

/// Locks a mutex whose data a panic cannot leave in a state that matters more than the data.
fn lock(state: &Mutex<Sender>) -> MutexGuard<'_, Sender> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    fn opened(&mut self, address: &DaemonAddress, socket: io::Result<UdpSocket>) {
        self.destination = match socket {
            Ok(socket) => Destination::Open(socket),
            Err(_) if matches!(self.destination, Destination::Open(_)) => return,
            Err(error) => {
                self.lost.warn(format_args!(
                    "the X-Ray daemon at {address} cannot be reached ({error}): without the \
                     extension, subsegments of this process are lost and counted"
                ));
                Destination::Failed {
                    again: clock::monotonic() + RESOLVE_AGAIN,
                }
            }
        };
    }

    fn pump(&mut self, all: bool) {
        while let Some(datagram) = self.waiting.front() {
            match &mut self.destination {
                Destination::Resolving if self.waiting_bytes <= MAX_WAITING => return,
                Destination::Resolving | Destination::Failed { .. } => {
                    self.counts.lose(Loss::DaemonUnknown, 1);
                }
                Destination::Open(socket) => {
                    let all = all || self.waiting_bytes > MAX_WAITING;
                    if !self.pace.admits(datagram.len(), self.resumed) && !all {
                        return;
                    }
                    match send(socket, datagram, &mut self.counts) {
                        Ok(()) => self.counts.sent += 1,
                        Err(error) => match Refusal::from(&error) {
                            Refusal::Full if !all => return,
                            Refusal::TooLong => {
                                self.make_smaller();
                                continue;
                            }
                            _ => {
                                self.counts.lose(Loss::NotSent, 1);
                                self.lost.warn(format_args!(
                                    "a document could not be sent to the X-Ray daemon ({error}): \
                                     it is lost and counted, and so may others be"
                                ));
                            }
                        },
                    }
                }
            }
            self.waiting_bytes -= datagram.len();
            self.waiting.pop_front();
        }
    }

    /// Replaces the first datagram by parts of half its size.
    #[cold]
    fn make_smaller(&mut self) {
        let Some(mut datagram) = self.waiting.pop_front() else {
            return;
        };
        self.waiting_bytes -= datagram.len();
        let document = datagram.split_off(datagram::PREAMBLE.len());
        let half = document.len() / 2;
        let fitted = datagram::fit_within(document, half);
        self.counts.record_fit(&fitted);
        for part in fitted.documents.iter().rev() {
            let datagram = datagram::encode(part);
            self.waiting_bytes += datagram.len();
            self.waiting.push_front(datagram);
        }
    }
}

fn send(socket: &mut UdpSocket, datagram: &[u8], counts: &mut Delivery) -> io::Result<()> {
    let (mut refused, mut reopened) = (false, false);
    loop {
        let Err(error) = socket.send(datagram) else {
            return Ok(());
        };
        match Refusal::from(&error) {
            Refusal::Interrupted => {}
            // Reported for an earlier datagram: this one was not sent.
            Refusal::NoListener if !refused => {
                refused = true;
                counts.record_refusal();
            }
            Refusal::Broken if !reopened => {
                reopened = true;
                // The process may be in another network than the one in which the socket was
                // opened.
                *socket = connect(socket.peer_addr()?)?;
            }
            // The receiver or the datagram is the cause: another socket would not help.
            Refusal::Full | Refusal::NoListener | Refusal::TooLong | Refusal::Broken => {
                return Err(error);
            }
        }
    }
}

fn resolve(address: &DaemonAddress) -> io::Result<SocketAddr> {
    let addresses = (address.host(), address.port()).to_socket_addrs()?;
    preferred(addresses).ok_or_else(|| ErrorKind::AddrNotAvailable.into())
}

fn connect(daemon: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match daemon {
        SocketAddr::V4(_) => [0; 4].into(),
        SocketAddr::V6(_) => [0u16; 8].into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(daemon)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
