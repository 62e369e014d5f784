//! The processes of the function, and the invocations that they announce and end.

use std::collections::VecDeque;

use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::handoff::Hello;
use tracestitch_wire::time::Timestamp;

/// Most invocations of one session that have begun and not ended. More than one at a time occurs
/// when a begin, which is in the ring, overtakes the end before it, which is on the socket.
pub(super) const MAX_BEGUN: usize = 16;

/// Most ends that are remembered until their invocation's event arrives.
pub(super) const EARLY_ENDS: usize = 16;

/// One process of the function.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: u64,
    /// Invocations that it announced and has not ended, oldest first.
    pub(super) begun: VecDeque<Begun>,
    /// A wait for it was in vain, and it has ended no invocation since.
    in_vain: bool,
    /// Address of the daemon that it was given.
    daemon: Option<DaemonAddress>,
    /// Time at which its connection ended. A session is kept while its open documents wait for
    /// the reason.
    ended: Option<Timestamp>,
    /// An invocation's event came after its end, and no reason with it.
    outlived: bool,
}

/// An invocation that a session announced.
#[derive(Debug)]
pub(super) struct Begun {
    request_id: String,
    /// The invocation's event has not come yet.
    early: bool,
}

/// State of an invocation whose event has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// A session works on it.
    By(u64),
    /// A session worked on it, and it is over.
    AndEnded,
    /// No message about it has come.
    NotYet,
}

impl Session {
    fn is_awaitable(&self) -> bool {
        self.ended.is_none() && !self.in_vain
    }

    fn begin(&mut self, request_id: &str, early: bool) {
        // A retry has the id of the attempt before it, which is over even if no end came.
        self.end(request_id);
        if self.begun.len() == MAX_BEGUN {
            self.begun.pop_front();
        }
        let request_id = request_id.to_owned();
        self.begun.push_back(Begun { request_id, early });
    }

    fn end(&mut self, request_id: &str) -> Option<Begun> {
        let is_it = |begun: &Begun| begun.request_id == request_id;
        let index = self.begun.iter().position(is_it)?;
        self.begun.remove(index)
    }
}

/// All processes of the function.
///
/// An invocation's event and its messages come in any order. Events are matched with messages by
/// the request id, each event once, because a retry has the id of the attempt before it.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// A list, because there are few: the code of another map costs more than a search.
    pub(super) list: Vec<Session>,
    /// The last invocation whose event came before any message about it.
    unannounced: Option<String>,
    /// Invocations that were over before their events came, newest first.
    pub(super) early_ends: VecDeque<String>,
}

impl Sessions {
    /// Begins a session.
    pub(super) fn greet(&mut self, session: u64, hello: &Hello) {
        let daemon = hello.daemon.as_ref().and_then(|text| text.parse().ok());
        self.get_or_add(session).daemon = daemon;
    }

    /// Records that the connection of `session` ended.
    pub(super) fn disconnect(&mut self, session: u64, at: Timestamp) {
        self.get_or_add(session).ended.get_or_insert(at);
    }

    /// Records the begin message of an invocation.
    pub(super) fn begin(&mut self, session: u64, request_id: &str) {
        let early = !self.take_unannounced(request_id);
        if let Some(session) = self.get_mut(session) {
            session.begin(request_id, early);
        }
    }

    /// Records the end message of an invocation. `is_held` means that it ends the invocation that
    /// is held now.
    ///
    /// The session is worth a wait again if it ended an invocation that it announced, or one of
    /// which Lambda sent an event. A process that polls a queue reports ends of other work.
    pub(super) fn end(&mut self, session: u64, request_id: &str, is_held: bool) {
        let begun = self
            .get_mut(session)
            .and_then(|session| session.end(request_id));
        let has_event = is_held
            | match &begun {
                Some(begun) => !begun.early,
                None => self.take_unannounced(request_id),
            };
        if let Some(session) = self.get_mut(session)
            && (has_event || begun.is_some())
        {
            session.in_vain = false;
        }
        if !has_event {
            self.early_ends.truncate(EARLY_ENDS - 1);
            self.early_ends.push_front(request_id.to_owned());
        }
    }

    /// Matches an invocation's event with the messages about it.
    pub(super) fn announced(&mut self, request_id: &str) -> Announced {
        self.unannounced = None;
        let mut by = None;
        for session in &mut self.list {
            // An attempt whose event came before this one is over, even if no end came.
            if let Some(begun) = session.end(request_id)
                && begun.early
                && session.ended.is_none()
            {
                session.begin(request_id, false);
                by = by.max(Some(session.id));
            }
        }
        if let Some(session) = by {
            return Announced::By(session);
        }
        if let Some(index) = self.early_ends.iter().position(|id| id == request_id) {
            self.early_ends.remove(index);
            return Announced::AndEnded;
        }
        self.unannounced = Some(request_id.to_owned());
        Announced::NotYet
    }

    /// Records that a wait for some sessions was in vain.
    pub(super) fn awaited_in_vain(&mut self, is_one: impl Fn(u64) -> bool) {
        for session in &mut self.list {
            session.in_vain |= is_one(session.id);
        }
    }

    /// Returns true if an invocation may be held for `session`.
    pub(super) fn is_awaitable(&self, session: u64) -> bool {
        self.get(session).is_some_and(Session::is_awaitable)
    }

    pub(super) fn any_awaitable(&self) -> bool {
        self.list.iter().any(Session::is_awaitable)
    }

    pub(super) fn any_connected(&self) -> bool {
        self.list.iter().any(|session| session.ended.is_none())
    }

    /// Address of the daemon that `session` named.
    pub(super) fn daemon(&self, session: u64) -> Option<&DaemonAddress> {
        self.get(session)?.daemon.as_ref()
    }

    /// All sessions, and the time at which their connection ended.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Option<Timestamp>)> {
        self.list.iter().map(|session| (session.id, session.ended))
    }

    /// Returns the sessions that had ended at the last call, and the times of their ends.
    pub(super) fn take_outlived(&mut self) -> Vec<(u64, Timestamp)> {
        let mut outlived = Vec::new();
        for session in &mut self.list {
            if let Some(at) = session.ended
                && std::mem::replace(&mut session.outlived, true)
            {
                outlived.push((session.id, at));
            }
        }
        outlived
    }

    /// Forgets sessions whose connection has ended and for which `is_done` is true.
    pub(super) fn forget_ended(&mut self, is_done: impl Fn(u64) -> bool) {
        self.list
            .retain(|session| session.ended.is_none() || !is_done(session.id));
    }

    fn get(&self, id: u64) -> Option<&Session> {
        self.list.iter().find(|session| session.id == id)
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Session> {
        self.list.iter_mut().find(|session| session.id == id)
    }

    fn get_or_add(&mut self, id: u64) -> &mut Session {
        let index = self.list.iter().position(|session| session.id == id);
        let index = index.unwrap_or_else(|| {
            self.list.push(Session {
                id,
                ..Session::default()
            });
            self.list.len() - 1
        });
        &mut self.list[index]
    }

    fn take_unannounced(&mut self, request_id: &str) -> bool {
        self.unannounced
            .take_if(|unannounced| unannounced == request_id)
            .is_some()
    }
}
