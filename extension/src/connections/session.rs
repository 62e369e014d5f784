//! One process of the function: its ring and its connection.

use tracestitch_ring::{CAPACITY, Error, Reader};
use tracestitch_wire::handoff::{Hello, Message};

use super::connection::{Connection, Outcome};

/// Bytes of a ring that are read before their documents are sent and their space is released: some
/// 30 documents of 500 bytes. Small, because these are the documents that may be sent twice.
pub(super) const STEP: u64 = 16 * 1024;

/// One process of the function.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: u64,
    /// Declared, and so dropped, before the connection: its close permits the function to take
    /// back the frames that were not released.
    ring: Reader,
    pub(super) connection: Connection,
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
        /// Most bytes of the ring to be read. They include all that was published before the
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

/// Result of [`Session::step`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More is due, after what was delivered is sent and released.
    More,
    /// Everything that was due is delivered.
    Done,
    /// Everything that was due is delivered, and nothing will follow.
    Ended,
    /// The rest cannot be read, for this reason.
    Invalid(String),
}

impl Session {
    /// Creates the session of a process that sent `hello`, which is delivered first.
    pub(super) fn new(id: u64, ring: Reader, connection: Connection, hello: Hello) -> Self {
        Self {
            id,
            ring,
            connection,
            hello: Some(hello),
            unreleased: 0,
            stage: Stage::Idle,
        }
    }

    /// Reads the socket. [`Session::step`] then delivers. Returns true if there may be more.
    pub(super) fn receive(&mut self) -> bool {
        if !matches!(self.stage, Stage::Idle) {
            return false;
        }
        let outcome = self.connection.receive(&mut None);
        self.stage = Stage::Due {
            allowance: CAPACITY as u64,
            ended: outcome == Outcome::Ended,
        };
        outcome == Outcome::More
    }

    /// Delivers a part of what is due: first the ring's messages, then the socket's.
    pub(super) fn step(&mut self, pass_on: &mut dyn FnMut(Message<'_>)) -> Step {
        if let Some(hello) = self.hello.take() {
            pass_on(Message::Hello(hello));
        }
        match self.read(pass_on) {
            Ok(true) => return Step::More,
            Ok(false) => {}
            Err(reason) => self.stage = Stage::Invalid(reason),
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Due { ended: true, .. } => Step::Ended,
            Stage::Invalid(reason) => Step::Invalid(reason),
            Stage::Over => Step::Done,
            Stage::Due { ended: false, .. } | Stage::Idle => {
                self.stage = Stage::Idle;
                Step::Done
            }
        }
    }

    /// Returns true if there is more to read.
    fn read(&mut self, pass_on: &mut dyn FnMut(Message<'_>)) -> Result<bool, String> {
        let Stage::Due { allowance, .. } = &mut self.stage else {
            return Ok(false);
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
        let read = read.map_err(|error| reason(&error))?;
        self.unreleased += read;
        *allowance = allowance.saturating_sub(read);
        if malformed.is_none() && read >= most && *allowance > 0 {
            pass_on(Message::Drain);
            return Ok(true);
        }
        while malformed.is_none() {
            match self.connection.decoder.next() {
                Ok(Some(message)) => pass_on(message),
                Ok(None) => return Ok(false),
                Err(error) => malformed = Some(error),
            }
        }
        let expected = malformed.map_or("a message", |error| error.expectation());
        Err(format!("expected {expected}"))
    }

    /// Releases what was read from the ring, if `is_sent` returns true. Returns false if the
    /// session is over and can be dropped.
    pub(super) fn release(&mut self, is_sent: impl FnOnce(u64) -> bool) -> bool {
        let is_over = matches!(self.stage, Stage::Over);
        if !is_over && self.unreleased == 0 || !is_sent(self.id) {
            return true;
        }
        self.unreleased = 0;
        if let Err(error) = self.ring.release()
            && !is_over
        {
            self.stage = Stage::Invalid(reason(&error));
        }
        !is_over
    }

    /// Returns true if the session cannot go on, and its next step reports that.
    pub(super) fn is_invalid(&self) -> bool {
        matches!(self.stage, Stage::Invalid(_))
    }
}

/// Describes an error without the value that was found, which may be part of a document.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Invalid { expected, .. } => format!("expected {expected}"),
        Error::System(error) => error.to_string(),
    }
}
