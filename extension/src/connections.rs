//! Reads the function's messages: documents from the ring, signals from the socket.
//!
//! Waiting and reading are separate. [`Connections::readable`] sleeps on the listener and on the
//! sockets, but never on a ring: a document that is published there wakes no process. A sweep then
//! reads everything that was written before it, without waiting: [`Connections::receive`] reads the
//! sockets, and each [`Connections::step`] delivers a part of a ring. The messages of a socket are
//! delivered after the ring's, so the documents that an end refers to precede it.
//!
//! # Which documents survive this process
//!
//! Frames stay in the ring until their documents were sent ([`Connections::release`]). If this
//! process is killed before that, the function takes them back, or the next extension reads them.
//! - A finished document is sent twice if this process is killed between its datagram and the
//!   release: at most those of one step, 16 KiB and the document that completes them.
//! - The frame of a document in progress is released, too, and this process keeps the document. If
//!   it is killed, the function still delivers the finished document. Only if the function dies as
//!   well, before it has finished the document, is nothing left of it.

mod connection;
mod session;

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::Poll;

use tokio::net::UnixStream;
use tokio::task::yield_now;
use tracestitch_ring::Reader;
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::handoff::{Hello, Message, VERSION};

use self::connection::{Connection, Outcome};
use self::session::{Session, Step, reason};
use crate::log::{Log, Warnings};
use crate::report::Counts;
use crate::socket::Socket;

/// Most connections at once: a function has one, and some may be left from its predecessors.
const MAX_CONNECTIONS: usize = 16;

/// Something that a session did.
#[derive(Debug)]
pub(crate) enum SessionEvent<'a> {
    /// A message. The first is the hello.
    Message(Message<'a>),
    /// End of the connection. Nothing follows.
    Disconnected,
}

/// All connections of the function.
#[derive(Debug)]
pub(crate) struct Connections {
    socket: Option<Socket>,
    /// Connections without a hello, and the file that came with their first byte.
    greeting: Vec<(Connection, Option<OwnedFd>)>,
    /// Some of them were opened after the last call of [`Connections::expects_hello`].
    newcomers: bool,
    /// A hello was expected, and none has come since.
    expected_in_vain: bool,
    /// A list, because there are few: the code of another map costs more than a search.
    sessions: Vec<Session>,
    last_id: u64,
    /// The last sweep stopped before it had read everything.
    unread: bool,
    warnings: Warnings,
    counts: Counts,
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
            last_id: 0,
            unread: false,
            warnings: Warnings::new(log),
            counts: Counts::default(),
        }
    }

    /// Counters of what was lost here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Returns true if there is no connection.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.places() == MAX_CONNECTIONS
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

    /// Waits until there is something for a sweep. What is published in a ring does not end the
    /// wait.
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
            let greeting = self.greeting.iter().map(|(connection, _)| connection);
            let sessions = self.sessions.iter().map(|session| &session.connection);
            for connection in greeting.chain(sessions) {
                woken |= connection.is_ready(cx);
            }
            if woken {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Begins a sweep: reads from all sockets. [`Connections::step`] delivers what was read.
    pub(crate) fn receive(&mut self) {
        self.unread = false;
        self.accept();
        self.greet();
        for session in &mut self.sessions {
            self.unread |= session.receive();
        }
    }

    /// Delivers what a sweep has read, session by session: what was published in the ring, then
    /// the messages of the socket, then its end.
    ///
    /// Returns true if the sweep is not complete, and the caller should send and release what it
    /// has before the next step.
    pub(crate) fn step(&mut self, deliver: &mut dyn FnMut(u64, SessionEvent<'_>)) -> bool {
        for session in &mut self.sessions {
            let id = session.id;
            let step = session.step(&mut |message| deliver(id, SessionEvent::Message(message)));
            match step {
                Step::More => return true,
                Step::Done => {}
                Step::Ended => deliver(id, SessionEvent::Disconnected),
                Step::Invalid(reason) => {
                    self.counts.unreadable += 1;
                    self.warnings.give(format_args!(
                        "a connection of the function cannot be read: {reason}; it is closed"
                    ));
                    // The function lives, and sends to the daemon what it finishes from now on.
                    deliver(id, SessionEvent::Message(Message::Leave));
                    deliver(id, SessionEvent::Disconnected);
                }
            }
        }
        false
    }

    /// Releases what was read from the rings of sessions for which `is_sent` returns true. Their
    /// documents must have been sent. Sessions that are over are closed.
    pub(crate) fn release(&mut self, is_sent: impl Fn(u64) -> bool) {
        self.sessions
            .retain_mut(|session| session.release(&is_sent));
        self.unread |= self.sessions.iter().any(Session::is_invalid);
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
        MAX_CONNECTIONS.saturating_sub(self.sessions.len() + self.greeting.len())
    }

    /// Returns false if the system could not accept; the next sweep tries again.
    fn arrived(&mut self, accepted: io::Result<Option<UnixStream>>) -> bool {
        match accepted {
            Ok(Some(stream)) => self.welcome(stream),
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

    /// Adds a connection, from which a hello is expected.
    pub(crate) fn welcome(&mut self, stream: UnixStream) {
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
        self.greeting.push((Connection::new(stream), None));
    }

    /// Reads the hellos.
    fn greet(&mut self) {
        for (mut connection, mut file) in std::mem::take(&mut self.greeting) {
            let outcome = connection.receive(&mut file);
            match connection.decoder.next() {
                Ok(Some(Message::Hello(hello))) if hello.version == VERSION => {
                    self.establish(hello, connection, file);
                }
                Ok(Some(Message::Hello(hello))) => self.warnings.give(format_args!(
                    "the function speaks handoff version {}, this layer speaks {VERSION}; \
                     its documents go to the daemon directly",
                    hello.version
                )),
                Ok(None) if outcome == Outcome::Ended => {}
                Ok(None) => self.greeting.push((connection, file)),
                Ok(Some(_)) => self.warnings.give("a connection began without a hello; it is closed"),
                Err(error) => self.warnings.give(format_args!(
                    "a connection began with something else than a hello: expected {}; it is closed",
                    error.expectation()
                )),
            }
        }
    }

    fn establish(&mut self, hello: Hello, connection: Connection, file: Option<OwnedFd>) {
        let Some(file) = file else {
            return self.warnings.give(
                "a hello came without the file of its shared memory; the connection is closed, \
                 and the function's documents go to the daemon directly",
            );
        };
        let ring = match Reader::open(file) {
            Ok(ring) => ring,
            Err(error) => {
                return self.warnings.give(format_args!(
                    "the function's shared memory cannot be used: {}; the connection is closed, \
                     and its documents go to the daemon directly",
                    reason(&error)
                ));
            }
        };
        self.expected_in_vain = false;
        if let Some(Err(error)) = hello.daemon.as_deref().map(str::parse::<DaemonAddress>) {
            self.warnings.give(format_args!(
                "the function was given no usable daemon address, expected {}; its documents go \
                 to another daemon of this environment or to the default address",
                error.expectation()
            ));
        }
        self.last_id += 1;
        let session = Session::new(self.last_id, ring, connection, hello);
        self.sessions.push(session);
    }
}

#[cfg(test)]
mod tests;
