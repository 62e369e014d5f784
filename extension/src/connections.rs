//! What the function has said, over all of its connections.
//!
//! Waiting and reading are apart. [`Connections::readable`] sleeps on the listener, on
//! connections that have not said hello, and on signal connections, but never on data
//! connections: a writer who wakes a sleeping reader pays for it. [`Connections::sweep`] then
//! reads everything that lies there, without waiting.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::task::yield_now;
use tracestitch_wire::Error;
use tracestitch_wire::handoff::{Channel, Decoder, Hello, Message, VERSION};

use crate::Log;
use crate::log::Warnings;
use crate::report::Counts;
use crate::socket::{Peer, Socket};

/// Most connections at once: a function has two, and a few may be left from its predecessors.
const MAX_CONNECTIONS: usize = 16;

/// Most reads of one sweep from one connection: a busy writer must not hold the process.
const MAX_READS: usize = 64;

/// Bytes of one read.
const CHUNK: usize = 64 * 1024;

/// What a session has to tell.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// A message. The first of each connection is its hello.
    Message(Message<'a>),
    /// Its connections have ended. Nothing follows.
    Gone,
}

/// All connections of the function.
#[derive(Debug)]
pub(crate) struct Connections {
    socket: Option<Socket>,
    greeting: Vec<Woken>,
    /// Some of them have come since their hellos were waited for.
    newcomers: bool,
    sessions: BTreeMap<u64, Session>,
    chunk: Vec<u8>,
    /// The last sweep stopped before it had read everything.
    unread: bool,
    warnings: Warnings,
    counts: Counts,
}

/// The two connections of one process. When one ends, so does the session: half a session could
/// neither be waited for nor be trusted to tell everything.
#[derive(Debug, Default)]
struct Session {
    data: Option<Connection>,
    signal: Option<Woken>,
    /// The function has said that it sends its documents another way.
    left: bool,
}

/// A connection that is read when something else says so.
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

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Nothing more lies there now.
    Empty,
    /// More may lie there.
    More,
    /// Nothing more will come.
    Ended,
}

impl Connections {
    /// Connections to come over `socket`; without one, none ever come.
    pub(crate) fn new(socket: Option<Socket>, log: Log) -> Self {
        Self {
            socket,
            greeting: Vec::new(),
            newcomers: false,
            sessions: BTreeMap::new(),
            chunk: vec![0; CHUNK],
            unread: false,
            warnings: Warnings::new(log),
            counts: Counts::default(),
        }
    }

    /// What was lost here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// True when a connection has not said hello yet. Once for each: one that stays silent must
    /// not cost every invocation.
    pub(crate) fn expects_hello(&mut self) -> bool {
        std::mem::take(&mut self.newcomers) && !self.greeting.is_empty()
    }

    /// Waits until a sweep is worth while. Data connections do not end the wait.
    pub(crate) async fn readable(&mut self) {
        if self.unread {
            // Somebody who never stops writing or connecting must not keep everything else out.
            return yield_now().await;
        }
        poll_fn(|cx| {
            // All are asked, so that all are waited on.
            let mut woken = false;
            if let Some(Poll::Ready(accepted)) = self.socket.as_ref().map(|s| s.poll_accept(cx)) {
                // A failure to accept does not count: it would end every wait at once.
                woken = self.arrived(accepted);
            }
            let signals = self.sessions.values().filter_map(|s| s.signal.as_ref());
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

    /// Reads all that lies on all connections and delivers it, session by session.
    ///
    /// Signals are read before data and delivered after it: what an end or a death on the signal
    /// connection speaks about was written to the data connection before.
    pub(crate) fn sweep(&mut self, deliver: &mut dyn FnMut(u64, News<'_>)) {
        self.unread = false;
        self.accept();
        self.greet(deliver);
        let chunk = &mut self.chunk;
        let sessions = self.sessions.values_mut();
        let signals: Vec<_> = sessions.map(|s| s.read_signals(chunk)).collect();
        let mut ended = Vec::new();
        for ((id, session), signals) in self.sessions.iter_mut().zip(signals) {
            let mut left = false;
            let mut say = |message: Message<'_>| {
                left |= matches!(message, Message::Leave);
                deliver(*id, News::Message(message));
            };
            let outcome = session.tell(signals, chunk, &mut say);
            session.left |= left;
            match outcome {
                Ok(Outcome::Empty) => {}
                Ok(Outcome::More) => self.unread = true,
                Ok(Outcome::Ended) => ended.push((*id, None)),
                Err(fault) => ended.push((*id, Some(fault))),
            }
        }
        for (id, fault) in ended {
            if fault.is_some() {
                // The function lives, and sends to the daemon what it finishes from now on.
                deliver(id, News::Message(Message::Leave));
            }
            self.end(id, fault);
            deliver(id, News::Gone);
        }
    }

    fn end(&mut self, id: u64, fault: Option<Error>) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
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

    /// Accepts what waits, also what the event loop has not been told of yet: as many as there are
    /// places for. The next sweep accepts the rest, when these have been heard and those that have
    /// hung up are gone.
    fn accept(&mut self) {
        for _ in 0..self.places().max(1) {
            let accepted = self.socket.as_ref().and_then(Socket::accept);
            if !accepted.is_some_and(|accepted| self.arrived(accepted)) {
                return;
            }
        }
        self.unread = true;
    }

    /// How many more connections there may be.
    fn places(&self) -> usize {
        let of_session = |session: &Session| {
            usize::from(session.data.is_some()) + usize::from(session.signal.is_some())
        };
        let established: usize = self.sessions.values().map(of_session).sum();
        MAX_CONNECTIONS.saturating_sub(established + self.greeting.len())
    }

    /// False when the system could not accept: the next sweep tries again.
    fn arrived(&mut self, accepted: io::Result<Option<Peer>>) -> bool {
        match accepted {
            Ok(Some(peer)) => self.welcome(peer),
            Ok(None) => self
                .warnings
                .give("a connection of another user was closed; nothing of it was read"),
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
            // A peer that connects and says nothing must not keep out one that has to speak.
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
    /// so when its signal's hello is here, its data's is found afterwards.
    fn greet(&mut self, deliver: &mut dyn FnMut(u64, News<'_>)) {
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

    fn establish(&mut self, hello: Hello, peer: Woken, deliver: &mut dyn FnMut(u64, News<'_>)) {
        let id = hello.session;
        let session = self.sessions.entry(id).or_default();
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
            deliver(id, News::Message(Message::Hello(hello)));
        } else {
            self.warnings
                .give("a session opened the same channel twice; the second is closed");
        }
    }
}

impl Woken {
    /// True when it has become readable since it was last asked.
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
    /// Takes in what lies on the signal connection; [`Session::tell`] delivers it.
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
    fn tell(
        &mut self,
        mut signals: Outcome,
        chunk: &mut [u8],
        say: &mut dyn FnMut(Message<'_>),
    ) -> Result<Outcome, Error> {
        let mut data = Outcome::Empty;
        if let Some(Connection { stream, decoder }) = &mut self.data {
            // What came in one piece with the hello.
            let mut understood = decode(decoder, say);
            if understood.is_ok() {
                data = read(stream, chunk, &mut |bytes| {
                    decoder.push(bytes);
                    understood = decode(decoder, say);
                    understood.is_ok()
                });
            }
            understood?;
        }
        if data == Outcome::More {
            // The signals wait for the data that was written before them.
            return Ok(data);
        }
        if data == Outcome::Ended {
            // A function that leaves says so before it closes the data connection.
            signals = self.read_signals(chunk);
        }
        if let Some(signal) = &mut self.signal {
            decode(&mut signal.connection.decoder, say)?;
        }
        Ok(if data == Outcome::Ended {
            data
        } else {
            signals
        })
    }
}

fn decode(decoder: &mut Decoder, say: &mut dyn FnMut(Message<'_>)) -> Result<(), Error> {
    while let Some(message) = decoder.next()? {
        say(message);
    }
    Ok(())
}

/// Gives what lies on `stream` to `take`, until that says stop.
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
