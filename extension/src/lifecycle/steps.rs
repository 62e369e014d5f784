//! Inputs and actions of the state machine.

use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::handoff::Message;
use tracestitch_wire::time::Timestamp;

use crate::documents::Documents;
use crate::interrupted::Interruption;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The extension is registered.
    Registered,
    /// A session sent a message. A hello begins a session.
    Message {
        /// The session.
        session: u64,
        /// The message.
        message: Message<'a>,
    },
    /// The connection of a session has ended.
    Disconnected {
        /// The session.
        session: u64,
    },
    /// An invocation has begun.
    Invoke {
        /// Its id.
        request_id: String,
        /// Milliseconds since the epoch.
        deadline_ms: u64,
        /// Connections were opened whose hello has not come yet.
        newcomers: bool,
    },
    /// The environment ends.
    Shutdown(Interruption),
    /// The timer that was set last has run out.
    Timer,
}

/// Something to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send documents to a daemon.
    Send {
        /// The daemon that the session of these documents named.
        daemon: Option<DaemonAddress>,
        /// Finished documents, oldest first.
        documents: Documents,
    },
    /// Ask for the next event, which lets Lambda freeze the environment.
    AskNext,
    /// Pass in [`Input::Timer`] at this time; replaces the timer that was set before.
    SetTimer(Timestamp),
    /// Forget the timer.
    ClearTimer,
    /// Report and end the process.
    Exit,
}
