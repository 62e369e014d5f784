//! What is to be done now: a state machine without I/O and without a clock.
//!
//! The owner gives it the time and what happened, and does what it answers, in order. Before it
//! gives it an event of the Extensions API or a timer, it gives it all that the function has
//! written so far: so when an [`Input::Invoke`] is handled, or an end, the documents before it
//! are already here.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tracestitch_wire::handoff::{Channel, Message};
use tracestitch_wire::time::Timestamp;

use crate::interrupted::Interruption;
use crate::pending::Pending;
use crate::report::Counts;

/// How long before its deadline an invocation is let go: time to ask for the next event, so that
/// Lambda finds the extension ready when it stops the function.
const MARGIN: Duration = Duration::from_millis(50);

/// How long the end of an invocation is waited for when its deadline makes no sense.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(5);

/// Longest time that Lambda lets an invocation run (AWS Lambda developer guide, "Quotas").
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// How long the function's connections may outlive the shutdown event. Lambda stops the function
/// first; emulators may be slower.
const LAST_WORDS: Duration = Duration::from_millis(150);

/// How often documents are sent where no invocation events come.
const MANAGED_INTERVAL: Duration = Duration::from_secs(1);

/// Ends that are remembered until their invocation's event arrives.
const EARLY_ENDS: usize = 16;

/// What happened.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The extension is registered.
    Registered,
    /// The function said something. A hello begins or completes a session.
    Said {
        /// Session of the connection.
        session: u64,
        /// What it said.
        message: Message<'a>,
    },
    /// A session's connections have ended.
    Gone {
        /// The session.
        session: u64,
    },
    /// An invocation has begun.
    Invoke {
        /// Its id.
        request_id: String,
        /// Milliseconds since the epoch.
        deadline_ms: u64,
    },
    /// The environment ends.
    Shutdown(Interruption),
    /// The timer that was set last has run out.
    Timer,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send these documents to the daemon.
    Send(Vec<Vec<u8>>),
    /// Ask for the next event, which lets Lambda freeze the environment.
    AskNext,
    /// Give [`Input::Timer`] at this time; replaces the timer that was set before.
    SetTimer(Timestamp),
    /// Forget the timer.
    ClearTimer,
    /// Report and end the process.
    Exit,
}

/// Where we are in the cycle of events.
#[derive(Debug)]
enum Turn {
    /// The next event has been asked for, or nothing has begun yet.
    Idle,
    /// This invocation's end is awaited.
    Invocation(String),
    /// The environment ends; the function's last words are awaited.
    Stopping(Interruption),
    /// All is done.
    Over,
}

/// What is known of one process of the function.
#[derive(Debug, Default)]
struct Session {
    /// It can tell the end of an invocation.
    signals: bool,
    /// When its connections ended. It is kept while its open documents wait for the reason.
    ended: Option<Timestamp>,
    /// It had ended before an invocation's event, and that was not the reason.
    outlived: bool,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// No invocation events will come (Lambda Managed Instances).
    managed: bool,
    turn: Turn,
    sessions: BTreeMap<u64, Session>,
    early_ends: VecDeque<String>,
    pending: Pending,
}

impl Lifecycle {
    /// A machine with nothing in it. `managed` says that only a shutdown event will come.
    pub(crate) fn new(managed: bool, pending: Pending) -> Self {
        Self {
            managed,
            turn: Turn::Idle,
            sessions: BTreeMap::new(),
            early_ends: VecDeque::new(),
            pending,
        }
    }

    /// What was received, closed and lost here.
    pub(crate) fn counts(&self) -> &Counts {
        self.pending.counts()
    }

    /// Takes in what happened at `now`; what is to be done is added to `actions`.
    pub(crate) fn handle(&mut self, now: Timestamp, input: Input<'_>, actions: &mut Vec<Action>) {
        if matches!(self.turn, Turn::Over) {
            return;
        }
        match input {
            Input::Registered => actions.push(Action::AskNext),
            Input::Said { session, message } => self.said(now, session, message, actions),
            Input::Gone { session } => self.gone(now, session, actions),
            Input::Invoke {
                request_id,
                deadline_ms,
            } => self.invoked(now, request_id, deadline_ms, actions),
            Input::Shutdown(why) => {
                self.turn = Turn::Stopping(why);
                if self.connected() {
                    actions.push(Action::SetTimer(now.after(LAST_WORDS)));
                } else {
                    self.finish(now, actions);
                }
            }
            Input::Timer => match self.turn {
                Turn::Invocation(_) => self.release(actions),
                Turn::Stopping(_) => self.finish(now, actions),
                Turn::Idle | Turn::Over => {
                    if self.managed {
                        self.interrupt_outlived();
                    }
                    self.send(actions);
                    if self.managed && self.connected() {
                        actions.push(Action::SetTimer(now.after(MANAGED_INTERVAL)));
                    }
                }
            },
        }
    }

    fn said(
        &mut self,
        now: Timestamp,
        session: u64,
        message: Message<'_>,
        actions: &mut Vec<Action>,
    ) {
        match message {
            Message::Open { id, document } => self.pending.open(session, id, document),
            Message::Close { id, document } => self.pending.close(session, id, document),
            Message::Discard { id } => self.pending.forget(session, id),
            Message::Drain => self.send(actions),
            Message::Leave => self.pending.forget_all(session),
            Message::End { request_id } => match &self.turn {
                Turn::Invocation(current) if current == request_id => self.release(actions),
                _ => {
                    self.send(actions);
                    self.early_ends.truncate(EARLY_ENDS - 1);
                    self.early_ends.push_front(request_id.to_owned());
                }
            },
            Message::Hello(hello) => {
                // A new process, while an earlier one left work open: nobody will tell why.
                self.interrupt_ended(|_| true);
                self.send(actions);
                if self.managed && matches!(self.turn, Turn::Idle) && !self.connected() {
                    actions.push(Action::SetTimer(now.after(MANAGED_INTERVAL)));
                }
                let session = self.sessions.entry(session).or_default();
                session.signals |= hello.channel == Channel::Signal;
            }
            _ => {}
        }
    }

    fn gone(&mut self, now: Timestamp, session: u64, actions: &mut Vec<Action>) {
        if self.pending.has_open(session) {
            let session = self.sessions.entry(session).or_default();
            session.ended.get_or_insert(now);
        } else {
            self.sessions.remove(&session);
        }
        self.send(actions);
        match self.turn {
            Turn::Invocation(_) if !self.can_signal() => self.release(actions),
            Turn::Stopping(_) if !self.connected() => self.finish(now, actions),
            _ => {}
        }
    }

    fn invoked(
        &mut self,
        now: Timestamp,
        request_id: String,
        deadline_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        self.interrupt_outlived();
        self.send(actions);
        let early = self.early_ends.iter().position(|id| *id == request_id);
        if let Some(index) = early {
            self.early_ends.remove(index);
        }
        if early.is_some() || !self.can_signal() {
            actions.push(Action::AskNext);
            return;
        }
        self.turn = Turn::Invocation(request_id);
        actions.push(Action::SetTimer(let_go_at(now, deadline_ms)));
    }

    /// Lets the invocation go: what is finished leaves first, because Lambda may freeze the
    /// process as soon as the next event has been asked for.
    fn release(&mut self, actions: &mut Vec<Action>) {
        self.turn = Turn::Idle;
        actions.push(Action::ClearTimer);
        self.send(actions);
        actions.push(Action::AskNext);
    }

    fn finish(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Turn::Stopping(why) = std::mem::replace(&mut self.turn, Turn::Over) else {
            return;
        };
        for (session, state) in std::mem::take(&mut self.sessions) {
            let at = state.ended.unwrap_or(now);
            self.pending.interrupt(session, at, &why);
        }
        self.send(actions);
        actions.push(Action::Exit);
    }

    /// Closes what sessions left open that had already ended at the former invocation, or the
    /// former interval where invocations are not told. One is let pass: a function that dies at
    /// once may be gone before the extension hears of the invocation in which it died, and the
    /// shutdown that tells the reason comes after it.
    fn interrupt_outlived(&mut self) {
        self.interrupt_ended(|state| state.outlived);
        for state in self.sessions.values_mut() {
            state.outlived = state.ended.is_some();
        }
    }

    fn interrupt_ended(&mut self, which: impl Fn(&Session) -> bool) {
        let pending = &mut self.pending;
        self.sessions.retain(|session, state| match state.ended {
            Some(at) if which(state) => {
                pending.interrupt(*session, at, &Interruption::Unknown);
                false
            }
            _ => true,
        });
    }

    fn send(&mut self, actions: &mut Vec<Action>) {
        let documents = self.pending.take_finished();
        if !documents.is_empty() {
            actions.push(Action::Send(documents));
        }
    }

    fn connected(&self) -> bool {
        self.sessions.values().any(|state| state.ended.is_none())
    }

    fn can_signal(&self) -> bool {
        self.sessions
            .values()
            .any(|state| state.ended.is_none() && state.signals)
    }
}

/// When an invocation is let go at the latest.
///
/// Emulators give deadlines of 0, in the past or far away: then a fixed time holds.
fn let_go_at(now: Timestamp, deadline_ms: u64) -> Timestamp {
    let margin = MARGIN.as_micros() as u64;
    let at = deadline_ms.saturating_mul(1000).saturating_sub(margin);
    if at > now.as_micros() {
        Timestamp::from_micros(at).min(now.after(LONGEST_INVOCATION))
    } else {
        now.after(WITHOUT_DEADLINE)
    }
}

#[cfg(test)]
mod tests;
