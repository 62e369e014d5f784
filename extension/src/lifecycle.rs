//! Decides what to do next: a state machine without I/O and without a clock.
//!
//! The owner passes in the time and what happened, and carries out the actions that come back, in
//! order. Before it passes in an event of the Extensions API or a timer, it passes in everything
//! that the function has written so far. So when an [`Input::Invoke`] or an end is handled, the
//! documents written before it are already here.
//!
//! # Which session holds an invocation
//!
//! Lambda keeps an invocation open until the extension asks for the next event. The extension
//! delays that question only for a session that announced this very invocation with a begin
//! message, and only until the session reports its end, disconnects, or the deadline is near.
//!
//! The begin message is in the ring, which does not wake the extension. So after an
//! INVOKE event, and if a session is connected that may announce it, the extension looks for the
//! message several times within 20 ms ([`LOOKS`]). A session that was waited for in vain, in a look
//! or until the deadline, is not waited for again before it reports the end of an invocation. So
//! an unwrapped function costs nothing; a process that only polls a queue, a handler that is never
//! called and a stranger cost at most 20 ms once.

mod sessions;
mod steps;

use std::time::Duration;

use tracestitch_wire::handoff::{Hello, Message};
use tracestitch_wire::time::Timestamp;

use self::sessions::{Announced, Sessions};
pub(crate) use self::steps::{Action, Input};
use crate::documents::Documents;
use crate::interrupted::Interruption;
use crate::pending::Pending;
use crate::report::Counts;

/// Time between the release of an invocation and its deadline: enough to ask for the next event,
/// so that Lambda finds the extension ready when it stops the function.
const MARGIN: Duration = Duration::from_millis(50);

/// Longest wait for an announced invocation whose deadline is not plausible.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(5);

/// Longest time that Lambda lets an invocation run (AWS Lambda developer guide, "Quotas").
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);

/// Pauses between two looks for the begin message after an INVOKE event. Together they are the
/// longest time that an invocation is held for a session that does not announce it: less than
/// 20 ms, with the millisecond that the event loop's timer may add to each.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
];

/// Time for which the function's connection may outlive the shutdown event. Lambda stops the
/// function first; emulators may be slower.
const LAST_MESSAGES: Duration = Duration::from_millis(150);

/// Time after which documents are sent if no invocation events come.
const MANAGED_INTERVAL: Duration = Duration::from_secs(1);

/// The position in the cycle of events.
#[derive(Debug)]
enum Turn {
    /// The next event was asked for, or nothing has begun yet.
    Idle,
    /// No session has announced this invocation yet.
    Looking {
        request_id: String,
        deadline_ms: u64,
        /// Looks so far.
        looks: usize,
        /// See [`Input::Invoke`].
        newcomers: bool,
    },
    /// A session works on the invocation.
    Waiting { request_id: String, session: u64 },
    /// The environment ends; the function's last messages are awaited.
    Stopping(Interruption),
    /// All is done.
    Over,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// No invocation events will come (Lambda Managed Instances).
    managed: bool,
    turn: Turn,
    sessions: Sessions,
    pending: Pending,
}

impl Lifecycle {
    /// Creates an empty machine. `managed` means that only a shutdown event will come.
    pub(crate) fn new(managed: bool, pending: Pending) -> Self {
        Self {
            managed,
            turn: Turn::Idle,
            sessions: Sessions::default(),
            pending,
        }
    }

    /// Counters of the documents that were received, closed and lost here.
    pub(crate) fn counts(&self) -> &Counts {
        self.pending.counts()
    }

    /// Returns true if finished documents of `session` wait here, for which no
    /// [`Action::Send`] was returned yet.
    pub(crate) fn has_unsent(&self, session: u64) -> bool {
        self.pending.has_finished(session)
    }

    /// Takes back the documents of an [`Action::Send`] that was carried out. Their memory serves the
    /// next ones.
    pub(crate) fn reuse(&mut self, documents: Documents) {
        self.pending.reuse(documents);
    }

    /// Handles what happened at `now` and appends what to do to `actions`.
    pub(crate) fn handle(&mut self, now: Timestamp, input: Input<'_>, actions: &mut Vec<Action>) {
        if matches!(self.turn, Turn::Over) {
            return;
        }
        match input {
            Input::Registered => actions.push(Action::AskNext),
            Input::Message { session, message } => self.message(now, session, message, actions),
            Input::Disconnected { session } => self.disconnected(now, session, actions),
            Input::Invoke {
                request_id,
                deadline_ms,
                newcomers,
            } => {
                self.invoked(now, request_id, deadline_ms, newcomers, actions);
            }
            Input::Shutdown(why) => {
                self.turn = Turn::Stopping(why);
                if self.sessions.any_connected() {
                    actions.push(Action::SetTimer(now.after(LAST_MESSAGES)));
                } else {
                    self.finish(now, actions);
                }
            }
            Input::Timer => self.timer(now, actions),
        }
    }

    fn message(
        &mut self,
        now: Timestamp,
        session: u64,
        message: Message<'_>,
        actions: &mut Vec<Action>,
    ) {
        match message {
            Message::Open { id, document } => self.pending.open(session, id, document),
            Message::Close { id, document } => self.pending.close(session, id, document),
            Message::Discard { ids } => {
                ids.into_iter()
                    .for_each(|id| self.pending.discard(session, id));
            }
            Message::Drain => self.send(actions),
            Message::Leave => self.pending.discard_all(session),
            // Without their events, no invocations are held.
            Message::Begin { .. } if self.managed => {}
            Message::Begin { request_id } => self.announced(now, session, request_id, actions),
            Message::End { .. } if self.managed => self.send(actions),
            Message::End { request_id } => self.ended(session, request_id, actions),
            Message::Hello(hello) => self.greeted(now, session, &hello, actions),
            _ => {}
        }
    }

    fn greeted(&mut self, now: Timestamp, session: u64, hello: &Hello, actions: &mut Vec<Action>) {
        // A process before this one left work open: no reason will come any more.
        for (session, ended) in self.sessions.iter() {
            if let Some(at) = ended {
                self.pending.interrupt(session, at, &Interruption::Unknown);
            }
        }
        self.send(actions);
        if self.managed && matches!(self.turn, Turn::Idle) && !self.sessions.any_connected() {
            actions.push(Action::SetTimer(now.after(MANAGED_INTERVAL)));
        }
        self.sessions.greet(session, hello);
    }

    /// Handles the begin message of an invocation.
    fn announced(
        &mut self,
        now: Timestamp,
        session: u64,
        request_id: &str,
        actions: &mut Vec<Action>,
    ) {
        self.sessions.begin(session, request_id);
        if let Turn::Looking {
            request_id: current,
            deadline_ms,
            ..
        } = &self.turn
            && current == request_id
        {
            let deadline_ms = *deadline_ms;
            self.wait_for(session, now, request_id.to_owned(), deadline_ms, actions);
        }
    }

    /// Handles the end message of an invocation.
    fn ended(&mut self, session: u64, request_id: &str, actions: &mut Vec<Action>) {
        let releases = match &self.turn {
            Turn::Looking { request_id: id, .. } => id == request_id,
            Turn::Waiting {
                request_id: id,
                session: awaited,
            } => id == request_id && *awaited == session,
            _ => false,
        };
        self.sessions.end(session, request_id, releases);
        if releases {
            self.release(actions);
        } else {
            self.send(actions);
        }
    }

    fn disconnected(&mut self, now: Timestamp, session: u64, actions: &mut Vec<Action>) {
        self.sessions.disconnect(session, now);
        self.send(actions);
        match &self.turn {
            Turn::Looking {
                newcomers: false, ..
            } if !self.sessions.any_awaitable() => self.release(actions),
            Turn::Waiting {
                session: awaited, ..
            } if *awaited == session => self.release(actions),
            Turn::Stopping(_) if !self.sessions.any_connected() => self.finish(now, actions),
            _ => {}
        }
    }

    fn invoked(
        &mut self,
        now: Timestamp,
        request_id: String,
        deadline_ms: u64,
        newcomers: bool,
        actions: &mut Vec<Action>,
    ) {
        self.interrupt_outlived();
        self.send(actions);
        match self.sessions.announced(&request_id) {
            Announced::By(session) => {
                self.wait_for(session, now, request_id, deadline_ms, actions);
            }
            Announced::AndEnded => actions.push(Action::AskNext),
            Announced::NotYet if newcomers || self.sessions.any_awaitable() => {
                self.turn = Turn::Looking {
                    request_id,
                    deadline_ms,
                    looks: 0,
                    newcomers,
                };
                actions.push(Action::SetTimer(now.after(LOOKS[0])));
            }
            Announced::NotYet => actions.push(Action::AskNext),
        }
    }

    /// Waits until `session`, which announced the invocation, reports its end.
    fn wait_for(
        &mut self,
        session: u64,
        now: Timestamp,
        request_id: String,
        deadline_ms: u64,
        actions: &mut Vec<Action>,
    ) {
        if self.sessions.is_awaitable(session) {
            self.turn = Turn::Waiting {
                request_id,
                session,
            };
            actions.push(Action::SetTimer(release_at(now, deadline_ms)));
        } else {
            self.release(actions);
        }
    }

    fn timer(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        match &mut self.turn {
            Turn::Looking { looks, .. } => {
                *looks += 1;
                if let Some(pause) = LOOKS.get(*looks) {
                    actions.push(Action::SetTimer(now.after(*pause)));
                    return;
                }
                self.sessions.awaited_in_vain(|_| true);
                self.release(actions);
            }
            Turn::Waiting { session, .. } => {
                let awaited = *session;
                self.sessions.awaited_in_vain(|session| session == awaited);
                self.release(actions);
            }
            Turn::Stopping(_) => self.finish(now, actions),
            Turn::Idle | Turn::Over => {
                if self.managed {
                    self.interrupt_outlived();
                }
                self.send(actions);
                if self.managed && self.sessions.any_connected() {
                    actions.push(Action::SetTimer(now.after(MANAGED_INTERVAL)));
                }
            }
        }
    }

    /// Releases the invocation. Finished documents leave first, because Lambda may freeze the
    /// process as soon as the next event was asked for.
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
        for (session, ended) in self.sessions.iter() {
            self.pending.interrupt(session, ended.unwrap_or(now), &why);
        }
        self.send(actions);
        actions.push(Action::Exit);
    }

    /// Closes documents that sessions left open whose end was known at the invocation before, or at
    /// the interval before if no invocation events come.
    ///
    /// One invocation passes in between: a function that dies at once may be gone before the event
    /// of the invocation in which it died arrives, and the shutdown event with the reason comes
    /// after that.
    fn interrupt_outlived(&mut self) {
        for (session, at) in self.sessions.take_outlived() {
            self.pending.interrupt(session, at, &Interruption::Unknown);
        }
    }

    /// Sends what is finished and forgets ended sessions that have nothing open.
    fn send(&mut self, actions: &mut Vec<Action>) {
        for (session, documents) in self.pending.take_finished() {
            let to = self.sessions.daemon(session);
            match actions.last_mut() {
                Some(Action::Send {
                    daemon,
                    documents: before,
                }) if daemon.as_ref() == to => {
                    documents.iter().for_each(|document| before.push(document));
                }
                _ => actions.push(Action::Send {
                    daemon: to.cloned(),
                    documents,
                }),
            }
        }
        let pending = &self.pending;
        self.sessions
            .forget_ended(|session| !pending.has_open(session));
    }
}

/// Returns the latest time at which an invocation is released.
///
/// Emulators send deadlines of 0, in the past or far away. Then a fixed time applies.
fn release_at(now: Timestamp, deadline_ms: u64) -> Timestamp {
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
