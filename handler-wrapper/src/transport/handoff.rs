//! Hand-off to the extension: documents in a ring in shared memory, messages on a Unix stream
//! socket (`tracestitch_wire::handoff`).

mod connection;
mod memory;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tracestitch_ring::{Pushed, Refused, Writer};
use tracestitch_wire::{
    handoff::{Hello, Message, VERSION},
    id::SegmentId,
};

use self::{
    connection::{Connection, Listener, Sent},
    memory::Ways,
};
use super::counts::Counts;
use crate::{
    settings::config::{Config, Route},
    support::diagnostics::{self, Once},
};

/// The extension's session with this process. Nothing here waits.
///
/// Methods return the finished documents that cannot go this way.
#[derive(Debug)]
pub(crate) struct Handoff {
    path: PathBuf,
    daemon: Option<String>,
    required: bool,
    ways: Ways,
    /// Created when an extension is found: a process without one does not pay for it. Every
    /// session uses the same.
    ring: Option<Writer>,
    link: Link,
    absent: Once,
    counts: Counts,
}

#[derive(Debug)]
enum Link {
    /// There is no session.
    Down {
        /// The listener that closed the last session, because it has another version or died. No
        /// other session is offered to it, but to a listener that takes its place.
        closed_by: Option<Listener>,
    },
    /// The extension reads the ring.
    Up {
        connection: Connection,
        /// True once the extension was there at the end of an invocation.
        is_confirmed: bool,
    },
    /// The extension did not read its socket and was given up. Published documents remain its own.
    /// Once it has closed this old connection it reads again, and is offered another session.
    Left(Connection),
    /// No session for the rest of the process: it has no ring, or is a fork of the process that
    /// has one.
    Off,
}

impl Handoff {
    pub(crate) fn new(config: &Config) -> Self {
        Self::with(config, Ways::default())
    }

    fn with(config: &Config, ways: Ways) -> Self {
        let mut handoff = Self {
            path: config.socket.clone(),
            daemon: config.daemon.as_ref().map(ToString::to_string),
            required: config.route == Route::Extension,
            ways,
            ring: None,
            link: Link::Down { closed_by: None },
            absent: Once::new(),
            counts: Counts::default(),
        };
        handoff.connect(None);
        handoff
    }

    /// Returns the counters of handed-over documents, and of everything that prevented one.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Begins an invocation: connects unless connected. Makes no system call in a session that was
    /// confirmed.
    pub(crate) fn begin(&mut self) -> Vec<Vec<u8>> {
        self.leave_to_parent();
        let returned = match &self.link {
            // Closed at once by an extension of another version, for example.
            Link::Up {
                connection,
                is_confirmed: false,
            }
            | Link::Left(connection)
                if connection.is_closed() =>
            {
                self.take_back()
            }
            _ => Vec::new(),
        };
        if let Link::Down { closed_by } = self.link {
            self.connect(closed_by);
        }
        returned
    }

    /// Connects to the extension. Without one this costs one failed system call.
    fn connect(&mut self, closed_by: Option<Listener>) {
        match self.try_connect(closed_by) {
            Ok(link) => self.link = link,
            Err(error) if error.kind() == ErrorKind::NotFound && !self.required => {}
            Err(error) => self.absent.warn(format_args!(
                "no extension at {} ({error}): {}",
                self.path.display(),
                if self.required {
                    "documents of this process are lost, because TRACESTITCH_TRANSPORT is extension"
                } else {
                    "documents go to the X-Ray daemon directly"
                }
            )),
        }
    }

    fn try_connect(&mut self, closed_by: Option<Listener>) -> io::Result<Link> {
        if Listener::find(&self.path).map(Some)? == closed_by {
            return Ok(Link::Down { closed_by });
        }
        let connection = Connection::open(&self.path)?;
        if self.ring.is_none() {
            let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
            self.ring = self.ways.create(folder, &mut self.counts);
        }
        let Some(ring) = &self.ring else {
            return Ok(Link::Off);
        };
        let hello = Message::Hello(Hello {
            version: VERSION,
            daemon: self.daemon.clone(),
        });
        connection.send_hello(&hello, ring)?;
        Ok(Link::Up {
            connection,
            is_confirmed: false,
        })
    }

    /// Returns true if the extension takes documents, as far as is known.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// Announces an invocation: the extension waits for its end.
    pub(crate) fn announce(&mut self, request_id: &str) -> Vec<Vec<u8>> {
        // Refused, its documents arrive nevertheless, at the latest in the next invocation.
        self.push(&Message::Begin { request_id })
            .unwrap_or_default()
    }

    /// Publishes a document in progress.
    pub(crate) fn open(&mut self, id: SegmentId, document: &[u8]) -> Vec<Vec<u8>> {
        match self.push(&Message::Open { id, document }) {
            Ok(returned) => returned,
            Err(refused) => {
                self.counts.untracked += 1;
                self.react(refused);
                Vec::new()
            }
        }
    }

    /// Publishes a finished document.
    pub(crate) fn close(&mut self, id: SegmentId, document: &[u8]) -> Vec<Vec<u8>> {
        if !self.is_up() {
            return vec![document.to_vec()];
        }
        match self.push(&Message::Close { id, document }) {
            Ok(returned) => {
                self.counts.handed += 1;
                returned
            }
            Err(refused) => {
                self.counts.ring_full += 1;
                self.react(refused);
                // The extension must not close it as interrupted later.
                let mut returned = self.discard(&[id]);
                returned.push(document.to_vec());
                returned
            }
        }
    }

    /// Withdraws documents in progress.
    pub(crate) fn discard(&mut self, ids: &[SegmentId]) -> Vec<Vec<u8>> {
        if ids.is_empty() {
            return Vec::new();
        }
        let message = Message::Discard { ids: ids.to_vec() };
        match self.push(&message) {
            Ok(returned) => returned,
            Err(Refused::Full) => self.send(&message),
            Err(refused) => {
                self.react(refused);
                Vec::new()
            }
        }
    }

    /// Reports the end of the invocation.
    pub(crate) fn end(&mut self, request_id: &str) -> Vec<Vec<u8>> {
        self.leave_to_parent();
        let returned = self.send(&Message::End { request_id });
        if let Link::Up { is_confirmed, .. } = &mut self.link {
            *is_confirmed = true;
        }
        returned
    }

    /// Publishes a message in the ring, if the extension reads it. Wakes the extension when the
    /// ring is half full.
    fn push(&mut self, message: &Message<'_>) -> Result<Vec<Vec<u8>>, Refused> {
        let (Link::Up { .. }, Some(ring)) = (&self.link, &self.ring) else {
            return Ok(Vec::new());
        };
        let Pushed { half_full } = message.with_frame(|parts| ring.push(parts))?;
        Ok(if half_full {
            self.send(&Message::Drain)
        } else {
            Vec::new()
        })
    }

    /// Sends a message on the socket, if the extension reads it.
    fn send(&mut self, message: &Message<'_>) -> Vec<Vec<u8>> {
        let Link::Up { connection, .. } = &self.link else {
            return Vec::new();
        };
        match connection.send(message) {
            Sent::Yes => Vec::new(),
            Sent::Full => {
                self.leave("it does not read its socket");
                Vec::new()
            }
            Sent::Closed => self.take_back(),
        }
    }

    /// Ends a session whose ring takes no frames any more.
    #[cold]
    fn react(&mut self, refused: Refused) {
        match refused {
            Refused::Full | Refused::Empty | Refused::TooLong => {}
            Refused::InvalidReader => self.leave("it wrote an invalid position"),
            Refused::Forked => self.leave_to_parent(),
        }
    }

    /// Gives the extension up. Documents that were published remain its own, open ones are
    /// withdrawn.
    #[cold]
    fn leave(&mut self, reason: &str) {
        let link = std::mem::replace(&mut self.link, Link::Off);
        let Link::Up { connection, .. } = link else {
            self.link = link;
            return;
        };
        diagnostics::debug(format_args!(
            "the extension was given up ({reason}): documents go another way"
        ));
        self.counts.gave_up += 1;
        connection.leave();
        self.link = Link::Left(connection);
    }

    /// Ends the session that the extension has closed. Nothing reads the ring any more, so what is
    /// in it was not sent. Returns its finished documents.
    #[cold]
    fn take_back(&mut self) -> Vec<Vec<u8>> {
        let closed_by = match &self.link {
            Link::Up { connection, .. } => Some(connection.listener()),
            // It reads again, and closed a session that was over.
            Link::Left(_) | Link::Down { .. } | Link::Off => None,
        };
        if closed_by.is_some() {
            diagnostics::debug(format_args!(
                "the extension has closed the session: documents go another way"
            ));
            self.counts.gave_up += 1;
        }
        self.link = Link::Down { closed_by };
        let frames = self.ring.as_ref().map(Writer::reclaim);
        let returned: Vec<_> = frames
            .unwrap_or_default()
            .into_iter()
            .filter_map(finished)
            .collect();
        self.counts.taken_back += returned.len() as u64;
        returned
    }

    /// Leaves session and ring to the process that this one was forked from.
    fn leave_to_parent(&mut self) {
        if self.ring.as_ref().is_some_and(Writer::is_forked) {
            // The parent's socket stays open, because the parent has it, too.
            self.link = Link::Off;
        }
    }
}

/// Returns the finished document in a frame of the ring.
fn finished(mut frame: Vec<u8>) -> Option<Vec<u8>> {
    let length = match Message::decode(&frame) {
        Ok(Message::Close { document, .. }) => document.len(),
        _ => return None,
    };
    Some(frame.split_off(frame.len() - length))
}

#[cfg(test)]
mod tests;
