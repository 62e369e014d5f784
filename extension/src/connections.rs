//! Reads the function's messages from all of its connections.
//!
//! Waiting and reading are separate. [`Connections::readable`] sleeps on the listener, on
//! connections without a hello, and on signal connections, but never on data connections: a
//! writer that wakes a sleeping reader pays for it. [`Connections::sweep`] then reads everything
//! that was written, without waiting.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::task::yield_now;
use tracestitch_wire::Error;
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::handoff::{Channel, Decoder, Hello, Message, VERSION};

use crate::log::{Log, Warnings};
use crate::report::Counts;
use crate::socket::{Peer, Socket};

/// Most connections at once: a function has two, and a few may be left from its predecessors.
const MAX_CONNECTIONS: usize = 16;

/// Most reads of one sweep from one connection: a busy writer must not occupy the process.
const MAX_READS: usize = 64;

/// Bytes of one read.
const CHUNK: usize = 64 * 1024;

/// Something that a session did.
#[derive(Debug)]
pub(crate) enum SessionEvent<'a> {
    /// A message. The first of each connection is its hello.
    Message(Message<'a>),
    /// End of its connections. Nothing follows.
    Disconnected,
}

/// All connections of the function.
#[derive(Debug)]
pub(crate) struct Connections {
    socket: Option<Socket>,
    /// Connections without a hello.
    greeting: Vec<Woken>,
    /// Some of them were opened after the last call of [`Connections::expects_hello`].
    newcomers: bool,
    /// A hello was expected, and none has come since.
    expected_in_vain: bool,
    /// A list, because there are few: the code of another map costs more than a search.
    sessions: Vec<Session>,
    chunk: Vec<u8>,
    /// The last sweep stopped before it had read everything.
    unread: bool,
    warnings: Warnings,
    counts: Counts,
}

/// The two connections of one process. When one ends, so does the session: half a session can
/// neither be waited for nor be relied on to report everything.
#[derive(Debug, Default)]
struct Session {
    id: u64,
    data: Option<Connection>,
    signal: Option<Woken>,
    /// The function reported that it sends its documents another way.
    left: bool,
}

/// A connection that does not wake the process.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    decoder: Decoder,
}

/// A connection on which the process sleeps.
#[derive(Debug)]
struct Woken {
    wake: tokio::net::UnixStream,
    connection: Connection,
}

/// The end of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Everything was read.
    Empty,
    /// There may be more.
    More,
    /// Nothing more will come.
    Ended,
}

impl Connections {
    /// Creates an empty set whose connections come over `socket`; without one, none come.
    pub(crate) fn new(socket: Option<Socket>, log: Log) -> Self {
        Self {
            socket,
            greeting: Vec::new(),
            newcomers: false,
            expected_in_vain: false,
            sessions: Vec::new(),
            chunk: vec![0; CHUNK],
            unread: false,
            warnings: Warnings::new(log),
            counts: Counts::default(),
        }
    }

    /// Counters of what was lost here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns true if a hello may follow on a connection that was opened since the last call.
    ///
    /// A function sends it right after it connects. A connection that stays silent costs one
    /// invocation a wait, and the ones after it cost none until a hello comes: otherwise a process
    /// that connects again and again would hold every invocation.
    pub(crate) fn expects_hello(&mut self) -> bool {
        let newcomers = std::mem::take(&mut self.newcomers) && !self.greeting.is_empty();
        newcomers && !std::mem::replace(&mut self.expected_in_vain, true)
    }

    /// Waits until there is something for a sweep. Data connections do not end the wait.
    pub(crate) async fn readable(&mut self) {
        if self.unread {
            // A peer that never stops writing or connecting must not starve the rest.
            return yield_now().await;
        }
        poll_fn(|cx| {
            // All are polled, so that each can wake.
            let mut woken = false;
            if let Some(Poll::Ready(accepted)) = self.socket.as_ref().map(|s| s.poll_accept(cx)) {
                // A failure to accept is no reason to wake: it would end every wait at once.
                woken = self.arrived(accepted);
            }
            let signals = self.sessions.iter().filter_map(|s| s.signal.as_ref());
            for peer in self.greeting.iter().chain(signals) {
                woken |= peer.is_ready(cx);
            }
            if woken {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Reads everything from all connections and delivers it, session by session.
    ///
    /// Signals are read before data and delivered after it: the documents that an end or a
    /// disconnect on the signal connection refers to were written to the data connection before.
    pub(crate) fn sweep(&mut self, deliver: &mut dyn FnMut(u64, SessionEvent<'_>)) {
        self.unread = false;
        self.accept();
        self.greet(deliver);
        let chunk = &mut self.chunk;
        let sessions = self.sessions.iter_mut();
        let signals: Vec<_> = sessions.map(|s| s.read_signals(chunk)).collect();
        let mut ended = Vec::new();
        for (session, signals) in self.sessions.iter_mut().zip(signals) {
            let (id, mut left) = (session.id, false);
            let mut pass_on = |message: Message<'_>| {
                left |= matches!(message, Message::Leave);
                deliver(id, SessionEvent::Message(message));
            };
            let outcome = session.read(signals, chunk, &mut pass_on);
            session.left |= left;
            match outcome {
                Ok(Outcome::Empty) => {}
                Ok(Outcome::More) => self.unread = true,
                Ok(Outcome::Ended) => ended.push((id, None)),
                Err(fault) => ended.push((id, Some(fault))),
            }
        }
        for (id, fault) in ended {
            if fault.is_some() {
                // The function lives, and sends to the daemon what it finishes from now on.
                deliver(id, SessionEvent::Message(Message::Leave));
            }
            self.end(id, fault);
            deliver(id, SessionEvent::Disconnected);
        }
    }

    fn end(&mut self, id: u64, fault: Option<Error>) {
        let Some(index) = self.sessions.iter().position(|session| session.id == id) else {
            return;
        };
        let session = self.sessions.remove(index);
        if let Some(error) = fault {
            self.counts.unreadable += 1;
            self.warnings.give(format_args!(
                "a connection of the function cannot be read: expected {}; it is closed",
                error.expectation()
            ));
        } else if !session.left
            && session
                .data
                .is_some_and(|data| data.decoder.unfinished() > 0)
        {
            self.counts.cut_off += 1;
        }
    }

    /// Accepts waiting connections, as many as there are places for, also ones that the event loop
    /// has not seen yet. The next sweep accepts the rest, after these were read and the ones
    /// that hung up are gone.
    fn accept(&mut self) {
        for _ in 0..self.places().max(1) {
            let accepted = self.socket.as_ref().and_then(Socket::accept);
            if !accepted.is_some_and(|accepted| self.arrived(accepted)) {
                return;
            }
        }
        self.unread = true;
    }

    /// Returns how many more connections there may be.
    fn places(&self) -> usize {
        let of_session = |session: &Session| {
            usize::from(session.data.is_some()) + usize::from(session.signal.is_some())
        };
        let established: usize = self.sessions.iter().map(of_session).sum();
        MAX_CONNECTIONS.saturating_sub(established + self.greeting.len())
    }

    /// Returns false if the system could not accept; the next sweep tries again.
    fn arrived(&mut self, accepted: io::Result<Option<Peer>>) -> bool {
        match accepted {
            Ok(Some(peer)) => self.welcome(peer),
            Ok(None) => self
                .warnings
                .give("a connection of another user was closed; nothing was read from it"),
            Err(error) => {
                self.warnings.give(format_args!(
                    "cannot accept the function's connection: {error}; \
                     its documents go to the daemon directly"
                ));
                return false;
            }
        }
        true
    }

    fn welcome(&mut self, peer: Peer) {
        if self.places() == 0 {
            self.warnings.give(format_args!(
                "more than {MAX_CONNECTIONS} connections at once; one is closed"
            ));
            if self.greeting.is_empty() {
                return;
            }
            // A silent peer must not keep out one that has something to send.
            self.greeting.remove(0);
        }
        self.newcomers = true;
        self.greeting.push(Woken {
            wake: peer.wake,
            connection: Connection {
                stream: peer.stream,
                decoder: Decoder::default(),
            },
        });
    }

    /// Reads the hellos. The newest connection comes first: a function opens data before signal,
    /// so once the hello of its signal connection is here, the one of its data connection is, too.
    fn greet(&mut self, deliver: &mut dyn FnMut(u64, SessionEvent<'_>)) {
        for mut peer in std::mem::take(&mut self.greeting).into_iter().rev() {
            let Connection { stream, decoder } = &mut peer.connection;
            let outcome = read(stream, &mut self.chunk, &mut |bytes| {
                decoder.push(bytes);
                true
            });
            match decoder.next() {
                Ok(Some(Message::Hello(hello))) if hello.version == VERSION => {
                    self.establish(hello, peer, deliver);
                }
                Ok(Some(Message::Hello(hello))) => self.warnings.give(format_args!(
                    "the function speaks handoff version {}, this layer speaks {VERSION}; \
                     its documents go to the daemon directly",
                    hello.version
                )),
                Ok(None) if outcome == Outcome::Ended => {}
                Ok(None) => self.greeting.push(peer),
                Ok(Some(_)) => self.warnings.give("a connection began without a hello; it is closed"),
                Err(error) => self.warnings.give(format_args!(
                    "a connection began with something else than a hello: expected {}; it is closed",
                    error.expectation()
                )),
            }
        }
        self.greeting.reverse();
    }

    fn establish(
        &mut self,
        hello: Hello,
        peer: Woken,
        deliver: &mut dyn FnMut(u64, SessionEvent<'_>),
    ) {
        self.expected_in_vain = false;
        if let Some(Err(error)) = hello.daemon.as_deref().map(str::parse::<DaemonAddress>) {
            self.warnings.give(format_args!(
                "the function was given no usable daemon address, expected {}; its documents go \
                 to another daemon of this environment or to the default address",
                error.expectation()
            ));
        }
        let id = hello.session;
        let index = self.sessions.iter().position(|session| session.id == id);
        let index = index.unwrap_or_else(|| {
            self.sessions.push(Session {
                id,
                ..Session::default()
            });
            self.sessions.len() - 1
        });
        let session = &mut self.sessions[index];
        let free = match hello.channel {
            Channel::Data if session.data.is_none() => {
                session.data = Some(peer.connection);
                true
            }
            Channel::Signal if session.signal.is_none() => {
                session.signal = Some(peer);
                true
            }
            _ => false,
        };
        if free {
            deliver(id, SessionEvent::Message(Message::Hello(hello)));
        } else {
            self.warnings
                .give("a session opened the same channel twice; the second is closed");
        }
    }
}

impl Woken {
    /// Returns true if it has become readable since the last call.
    fn is_ready(&self, cx: &mut Context<'_>) -> bool {
        let ready = self.wake.poll_read_ready(cx).is_ready();
        if ready {
            // Cleared before the sweep reads, so that what arrives meanwhile wakes again.
            let nothing_read = || Err::<(), _>(ErrorKind::WouldBlock.into());
            let _ = self.wake.try_io(Interest::READABLE, nothing_read);
        }
        ready
    }
}

impl Session {
    /// Reads the signal connection; [`Session::read`] delivers the messages.
    fn read_signals(&mut self, chunk: &mut [u8]) -> Outcome {
        self.signal.as_mut().map_or(Outcome::Empty, |signal| {
            let Connection { stream, decoder } = &mut signal.connection;
            read(stream, chunk, &mut |bytes| {
                decoder.push(bytes);
                true
            })
        })
    }

    /// Reads and delivers the data, then delivers the `signals` that were read before.
    fn read(
        &mut self,
        mut signals: Outcome,
        chunk: &mut [u8],
        pass_on: &mut dyn FnMut(Message<'_>),
    ) -> Result<Outcome, Error> {
        let mut data = Outcome::Empty;
        if let Some(Connection { stream, decoder }) = &mut self.data {
            // Messages that were read together with the hello.
            let mut decoded = decode(decoder, pass_on);
            if decoded.is_ok() {
                data = read(stream, chunk, &mut |bytes| {
                    decoder.push(bytes);
                    decoded = decode(decoder, pass_on);
                    decoded.is_ok()
                });
            }
            decoded?;
        }
        if data == Outcome::More {
            // The signals wait for the data that was written before them.
            return Ok(data);
        }
        if data == Outcome::Ended {
            // A function that leaves reports it before it closes the data connection.
            signals = self.read_signals(chunk);
        }
        if let Some(signal) = &mut self.signal {
            decode(&mut signal.connection.decoder, pass_on)?;
        }
        Ok(if data == Outcome::Ended {
            data
        } else {
            signals
        })
    }
}

fn decode(decoder: &mut Decoder, pass_on: &mut dyn FnMut(Message<'_>)) -> Result<(), Error> {
    while let Some(message) = decoder.next()? {
        pass_on(message);
    }
    Ok(())
}

/// Reads from `stream` into `take` until that returns false.
fn read(mut stream: &UnixStream, chunk: &mut [u8], take: &mut dyn FnMut(&[u8]) -> bool) -> Outcome {
    for _ in 0..MAX_READS {
        match stream.read(chunk) {
            Ok(0) => return Outcome::Ended,
            Ok(count) => {
                if !take(&chunk[..count]) {
                    return Outcome::Ended;
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Outcome::Empty,
                ErrorKind::Interrupted => {}
                _ => return Outcome::Ended,
            },
        }
    }
    Outcome::More
}

#[cfg(test)]
mod tests;
