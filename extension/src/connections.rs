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
//!   release, of at most [`STEP`] bytes.
//! - The frame of a document in progress is released, too, and this process keeps the document. If
//!   it is killed, the function still delivers the finished document. Only if the function dies as
//!   well, before it has finished the document, is nothing left of it.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::task::yield_now;
use tracestitch_ring::{CAPACITY, Error, Reader, receive_file};
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::handoff::{Decoder, Hello, Message, VERSION};

use crate::log::{Log, Warnings};
use crate::report::Counts;
use crate::socket::Socket;

/// Most connections at once: a function has one, and some may be left from its predecessors.
const MAX_CONNECTIONS: usize = 16;

/// Most reads of one sweep from one socket: a busy writer must not occupy the process.
const MAX_READS: usize = 64;

/// Bytes of one read from a socket, whose messages have fewer than a hundred.
const CHUNK: usize = 4096;

/// Bytes of a ring that are read before their documents are sent and their space is released: some
/// 30 documents of 500 bytes. Small, because these are the documents that may be sent twice.
const STEP: u64 = 16 * 1024;

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

/// A connection on which the process sleeps.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    decoder: Decoder,
}

/// One process of the function.
#[derive(Debug)]
struct Session {
    id: u64,
    /// Declared, and so dropped, before the connection: its close permits the function to take
    /// back the frames that were not released.
    ring: Reader,
    connection: Connection,
    /// The hello, until it is delivered.
    hello: Option<Hello>,
    /// Bytes of the ring that were read and not released.
    unreleased: u64,
    stage: Stage,
}

/// The progress of a session in a sweep.
#[derive(Debug)]
enum Stage {
    /// Everything was delivered.
    Idle,
    /// Something is to be delivered.
    Due {
        /// Bytes of the ring to be read at most. They include all that was published before the
        /// socket was read, because a ring does not hold more.
        allowance: u64,
        /// Nothing more will come on the socket.
        ended: bool,
    },
    /// The session cannot go on, and the function is not informed yet.
    Invalid(String),
    /// The end was delivered. The connection is closed once all frames are released.
    Over,
}

/// The end of a read from a socket.
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
            if let Stage::Idle = session.stage {
                let outcome = session.connection.receive(&mut None);
                self.unread |= outcome == Outcome::More;
                session.stage = Stage::Due {
                    allowance: CAPACITY as u64,
                    ended: outcome == Outcome::Ended,
                };
            }
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
            if let Some(hello) = session.hello.take() {
                deliver(id, SessionEvent::Message(Message::Hello(hello)));
            }
            let mut pass_on = |message: Message<'_>| deliver(id, SessionEvent::Message(message));
            if session.advance(&mut pass_on) {
                return true;
            }
            let is_invalid = matches!(session.stage, Stage::Invalid(_));
            let is_ended = matches!(session.stage, Stage::Due { ended: true, .. });
            if let Stage::Invalid(reason) = &session.stage {
                self.counts.unreadable += 1;
                self.warnings.give(format_args!(
                    "a connection of the function cannot be read: {reason}; it is closed"
                ));
                // The function lives, and sends to the daemon what it finishes from now on.
                deliver(id, SessionEvent::Message(Message::Leave));
            }
            if is_invalid || is_ended {
                deliver(id, SessionEvent::Disconnected);
                session.stage = Stage::Over;
            } else if let Stage::Due { .. } = session.stage {
                session.stage = Stage::Idle;
            }
        }
        false
    }

    /// Releases what was read from the rings of sessions for which `is_sent` returns true. Their
    /// documents must have been sent. Sessions that are over are closed.
    pub(crate) fn release(&mut self, is_sent: impl Fn(u64) -> bool) {
        self.sessions.retain_mut(|session| {
            let is_over = matches!(session.stage, Stage::Over);
            if !is_over && session.unreleased == 0 || !is_sent(session.id) {
                return true;
            }
            session.unreleased = 0;
            if let Err(error) = session.ring.release()
                && !is_over
            {
                session.stage = Stage::Invalid(reason(&error));
                self.unread = true;
            }
            !is_over
        });
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
        let connection = Connection {
            stream,
            decoder: Decoder::default(),
        };
        self.greeting.push((connection, None));
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
        self.sessions.push(Session {
            id: self.last_id,
            ring,
            connection,
            hello: Some(hello),
            unreleased: 0,
            stage: Stage::Idle,
        });
    }
}

impl Connection {
    /// Returns true if it has become readable since the last call.
    fn is_ready(&self, cx: &mut Context<'_>) -> bool {
        let ready = self.stream.poll_read_ready(cx).is_ready();
        if ready {
            // Cleared before the sweep reads, so that what arrives meanwhile wakes again.
            let nothing_read = || Err::<(), _>(ErrorKind::WouldBlock.into());
            let _ = self.stream.try_io(Interest::READABLE, nothing_read);
        }
        ready
    }

    /// Reads from the socket, also what the event loop has not seen yet. A file that comes fills
    /// `file` if it is empty.
    fn receive(&mut self, file: &mut Option<OwnedFd>) -> Outcome {
        let mut chunk = [0; CHUNK];
        for _ in 0..MAX_READS {
            match receive_file(&self.stream, &mut chunk) {
                Ok((0, _)) => return Outcome::Ended,
                Ok((count, received)) => {
                    *file = file.take().or(received);
                    self.decoder.push(&chunk[..count]);
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
}

impl Session {
    /// Delivers a part of what is due. Returns true if more is due, after what was delivered is
    /// sent and released.
    fn advance(&mut self, pass_on: &mut dyn FnMut(Message<'_>)) -> bool {
        let Stage::Due { allowance, .. } = &mut self.stage else {
            return false;
        };
        let most = STEP.saturating_sub(self.unreleased).min(*allowance);
        let mut malformed = None;
        let read = self.ring.read_some(most, |frame| {
            // A frame that is no message does not hide the ones after it.
            match Message::decode(frame) {
                Ok(message) => pass_on(message),
                Err(error) => malformed = Some(error),
            }
        });
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                self.stage = Stage::Invalid(reason(&error));
                return false;
            }
        };
        self.unreleased += read;
        *allowance = allowance.saturating_sub(read);
        if malformed.is_none() && read >= most && *allowance > 0 {
            pass_on(Message::Drain);
            return true;
        }
        while malformed.is_none() {
            match self.connection.decoder.next() {
                Ok(Some(message)) => pass_on(message),
                Ok(None) => break,
                Err(error) => malformed = Some(error),
            }
        }
        if let Some(error) = malformed {
            self.stage = Stage::Invalid(format!("expected {}", error.expectation()));
        }
        false
    }
}

/// Describes an error without the value that was found, which may be part of a document.
fn reason(error: &Error) -> String {
    match error {
        Error::Invalid { expected, .. } => format!("expected {expected}"),
        Error::System(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
