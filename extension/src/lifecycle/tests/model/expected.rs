//! The results that a history must have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tracestitch_wire::time::Timestamp;

use super::history::IDS;
use crate::lifecycle::sessions::EARLY_ENDS;

/// A connected session.
#[derive(Debug, Default)]
pub(super) struct Connected {
    /// Invocations that it announced and has not ended, and whether their events are still to
    /// come.
    pub(super) begun: BTreeMap<u64, bool>,
    /// A wait for it was over without its end, and it has not ended an invocation since.
    pub(super) in_vain: bool,
}

impl Connected {
    pub(super) fn can_be_awaited(&self) -> bool {
        !self.in_vain
    }
}

/// An invocation that is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// The session that announced it.
    pub(super) by: Option<u64>,
    pub(super) newcomers: bool,
    /// Time of the looks for its begin message.
    pub(super) looked: Duration,
}

/// Documents and questions that must have left, kept with sets and numbers only.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) connected: BTreeMap<u64, Connected>,
    /// Names of open documents, and whether they are finished.
    pub(super) open: BTreeMap<(u64, u64), (u64, bool)>,
    /// Names of documents that must be sent unchanged, and as interrupted.
    pub(super) finished: BTreeSet<u64>,
    pub(super) interrupted: BTreeSet<u64>,
    /// Names of documents that were open, but finished, when their session ended.
    pub(super) left: BTreeSet<u64>,
    /// Names of documents that were sent.
    pub(super) sent: BTreeSet<u64>,
    pub(super) sent_finished: usize,
    pub(super) sent_left: usize,
    pub(super) serial: u64,
    /// Invocation events so far, and the number of the last invocation, which a retry keeps.
    pub(super) invokes: u64,
    pub(super) invocation: u64,
    pub(super) held: Option<Held>,
    /// No message about the last invocation came before or after its event.
    pub(super) unannounced: bool,
    /// Invocations that ended before their events, newest first.
    pub(super) early: VecDeque<u64>,
    pub(super) asked: u64,
    pub(super) timer: Option<Timestamp>,
    pub(super) exits: usize,
}

impl Model {
    pub(super) fn name(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn lose(&mut self, session: u64) {
        self.connected.remove(&session);
        for id in 0..IDS {
            if let Some((name, finished)) = self.open.remove(&(session, id)) {
                let ended = match finished {
                    true => &mut self.left,
                    false => &mut self.interrupted,
                };
                ended.insert(name);
            }
        }
    }

    pub(super) fn can_be_awaited(&self, session: u64) -> bool {
        let session = self.connected.get(&session);
        session.is_some_and(Connected::can_be_awaited)
    }

    pub(super) fn anyone_can_be_awaited(&self) -> bool {
        self.connected.values().any(Connected::can_be_awaited)
    }

    /// An event came.
    pub(super) fn invoked(&mut self, newcomers: bool) {
        let id = self.invocation;
        self.held = None;
        self.unannounced = false;
        let mut announced_by = None;
        for (session, connected) in &mut self.connected {
            match connected.begun.get_mut(&id) {
                Some(early) if *early => {
                    *early = false;
                    announced_by = Some(*session);
                }
                _ => drop(connected.begun.remove(&id)),
            }
        }
        let held = Held {
            by: announced_by,
            newcomers,
            looked: Duration::ZERO,
        };
        if let Some(session) = announced_by {
            self.held = self.can_be_awaited(session).then_some(held);
        } else if let Some(index) = self.early.iter().position(|early| *early == id) {
            self.early.remove(index);
        } else {
            self.unannounced = true;
            let may_be_announced = newcomers || self.anyone_can_be_awaited();
            self.held = may_be_announced.then_some(held);
        }
    }

    pub(super) fn begun(&mut self, session: u64, id: u64) {
        let of_event = self.unannounced && id == self.invocation;
        self.unannounced &= !of_event;
        if let Some(connected) = self.connected.get_mut(&session) {
            connected.begun.insert(id, !of_event);
        }
        let can_be_awaited = self.can_be_awaited(session);
        if let Some(held) = &mut self.held
            && held.by.is_none()
            && id == self.invocation
        {
            held.by = Some(session);
            if !can_be_awaited {
                self.held = None;
            }
        }
    }

    pub(super) fn ended(&mut self, session: u64, id: u64) {
        let begun = self
            .connected
            .get_mut(&session)
            .and_then(|connected| connected.begun.remove(&id));
        let of_event = begun.is_none() && self.unannounced && id == self.invocation;
        self.unannounced &= !of_event;
        let releases = id == self.invocation
            && self
                .held
                .is_some_and(|held| held.by.is_none_or(|by| by == session));
        if (releases || of_event || begun.is_some())
            && let Some(connected) = self.connected.get_mut(&session)
        {
            connected.in_vain = false;
        }
        if !releases && !of_event && begun != Some(false) {
            self.early.truncate(EARLY_ENDS - 1);
            self.early.push_front(id);
        }
        if releases {
            self.held = None;
        }
    }

    pub(super) fn disconnected(&mut self, session: u64) {
        self.lose(session);
        let anyone = self.anyone_can_be_awaited();
        self.held = self.held.filter(|held| match held.by {
            Some(by) => by != session,
            None => held.newcomers || anyone,
        });
    }

    /// A timer ran out. `looks_on` is true if the machine set another one for a begin message.
    pub(super) fn timer_ran_out(&mut self, looks_on: bool) {
        let Some(held) = self.held.filter(|held| held.by.is_some() || !looks_on) else {
            return;
        };
        for (session, connected) in &mut self.connected {
            connected.in_vain |= held.by.is_none_or(|by| by == *session);
        }
        self.held = None;
    }
}
