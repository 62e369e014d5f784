//! Random histories against a model of their results.
//!
//! A history is a list of steps, so it can be run again: one that fails is reduced to the steps
//! without which it does not fail. `MODEL_STEPS` sets the number of steps (default: a million),
//! `MODEL_SEED` the histories.

mod expected;
mod history;

use std::io::Write;
use std::time::Instant;

use self::expected::{Connected, Model};
use self::history::{Deadline, History, Random, SESSIONS, Step};
use super::*;
use crate::pending::Limits;

/// Runs machine and model step by step. An error names the promise that was broken.
struct Run {
    world: World,
    model: Model,
    managed: bool,
    narrow: bool,
    actions: Vec<Action>,
    /// Length of the timer that was set last.
    last_pause: Duration,
    done: u64,
}

impl Run {
    fn new(history: &History) -> Self {
        let limits = if history.narrow {
            Limits {
                bytes: 1000,
                documents: 8,
            }
        } else {
            Limits::default()
        };
        Self {
            world: World {
                machine: Lifecycle::new(history.managed, Pending::with_limits(limits)),
                now: START,
            },
            model: Model::default(),
            managed: history.managed,
            narrow: history.narrow,
            actions: Vec::new(),
            last_pause: Duration::ZERO,
            done: 0,
        }
    }

    fn all(history: &History) -> Result<u64, String> {
        let mut run = Self::new(history);
        run.give(Input::Registered)?;
        for step in &history.steps {
            run.step(*step)?;
        }
        run.finish(history.reason)?;
        Ok(run.done)
    }

    fn give(&mut self, input: Input<'_>) -> Result<(), String> {
        self.done += 1;
        self.world.now = self.world.now.after(Duration::from_millis(1));
        let mut actions = std::mem::take(&mut self.actions);
        self.world
            .machine
            .handle(self.world.now, input, &mut actions);
        for action in actions.drain(..) {
            self.act(action)?;
        }
        self.actions = actions;
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Send { documents, .. } => {
                for document in documents.iter() {
                    self.sent(document)?;
                }
            }
            Action::AskNext => {
                self.model.asked += 1;
                self.everything_finished_was_sent("before the next event was asked for")?;
            }
            Action::SetTimer(at) => {
                promise(at > self.world.now, "timers are in the future")?;
                let longest = self.world.now.after(LONGEST_INVOCATION);
                promise(at <= longest, "no timer lasts longer than an invocation")?;
                self.model.timer = Some(at);
                let pause = at.as_micros().saturating_sub(self.world.now.as_micros());
                self.last_pause = Duration::from_micros(pause);
            }
            Action::ClearTimer => self.model.timer = None,
            Action::Exit => self.model.exits += 1,
        }
        Ok(())
    }

    fn sent(&mut self, document: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(document).map_err(|error| error.to_string())?;
        let name: u64 = text
            .split_once(r#""name":""#)
            .and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok())
            .ok_or("documents keep their names")?;
        promise(
            !text.contains("in_progress"),
            "documents that are sent are finished",
        )?;
        promise(self.model.sent.insert(name), "no document is sent twice")?;
        let expected = if text.contains(r#""cause""#) {
            &self.model.interrupted
        } else if self.model.left.contains(&name) {
            self.model.sent_left += 1;
            &self.model.left
        } else {
            self.model.sent_finished += 1;
            &self.model.finished
        };
        promise(expected.contains(&name), "documents are sent as they ended")
    }

    fn everything_finished_was_sent(&self, when: &str) -> Result<(), String> {
        if self.narrow {
            return Ok(());
        }
        promise(
            self.model.sent_finished == self.model.finished.len(),
            &format!("finished documents are sent {when}"),
        )
    }

    fn send(&mut self, session: u64, message: Message<'_>) -> Result<(), String> {
        self.give(Input::Message { session, message })
    }

    fn hello(&mut self, session: u64) -> Result<(), String> {
        let hello = Hello {
            version: VERSION,
            daemon: None,
        };
        self.send(session, Message::Hello(hello))
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        let connected = |session| self.model.connected.contains_key(session);
        match step {
            Step::Connect(s) if !connected(&s) => {
                self.model.connected.insert(s, Connected::default());
                self.hello(s)?;
            }
            Step::Open(s, id) if connected(&s) => {
                let name = self.model.name();
                self.model.open.insert((s, id), (name, false));
                let document =
                    format!(r#"{{"name":"{name}","start_time":1.0,"in_progress":true}}"#);
                let (id, document) = (segment(id), document.as_bytes());
                self.send(s, Message::Open { id, document })?;
            }
            Step::OpenFinished(s, id) if connected(&s) => {
                let name = self.model.name();
                self.model.open.insert((s, id), (name, true));
                let document = format!(r#"{{"name":"{name}","end_time":2.0}}"#);
                let (id, document) = (segment(id), document.as_bytes());
                self.send(s, Message::Open { id, document })?;
            }
            Step::Close(s, id) if connected(&s) => {
                let name = self.model.name();
                self.model.open.remove(&(s, id));
                self.model.finished.insert(name);
                let document = format!(r#"{{"name":"{name}","end_time":2.0}}"#);
                let (id, document) = (segment(id), document.as_bytes());
                self.send(s, Message::Close { id, document })?;
            }
            Step::Discard(s, id) if connected(&s) => {
                self.model.open.remove(&(s, id));
                self.send(
                    s,
                    Message::Discard {
                        ids: vec![segment(id)],
                    },
                )?;
            }
            Step::BeginCurrent(s) if connected(&s) => self.begin(s, self.model.invocation)?,
            Step::BeginNext(s) if connected(&s) => self.begin(s, self.model.invocation + 1)?,
            Step::EndCurrent(s) if connected(&s) => self.end(s, self.model.invocation)?,
            Step::EndNext(s) if connected(&s) => self.end(s, self.model.invocation + 1)?,
            Step::Drain(s) if connected(&s) => {
                self.send(s, Message::Drain)?;
                self.everything_finished_was_sent("at a drain")?;
            }
            Step::Leave(s) if connected(&s) => {
                self.model.open.retain(|(owner, _), _| *owner != s);
                self.send(s, Message::Leave)?;
            }
            Step::Gone(s) if connected(&s) => {
                self.model.disconnected(s);
                self.give(Input::Disconnected { session: s })?;
                self.everything_finished_was_sent("when a connection ends")?;
            }
            // Lambda sends an event only after it was asked for one.
            Step::Invoke {
                deadline,
                retry,
                newcomers,
            } if !self.managed && self.is_released() => {
                self.model.invokes += 1;
                self.model.invocation += u64::from(!retry);
                self.model.invoked(newcomers);
                let now_ms = self.world.now.as_micros() / 1000;
                let deadline_ms = match deadline {
                    Deadline::None => 0,
                    Deadline::Past => now_ms - 5_000,
                    Deadline::Soon => now_ms + 3_000,
                    Deadline::Far => u64::MAX,
                };
                self.give(Input::Invoke {
                    request_id: format!("r-{}", self.model.invocation),
                    deadline_ms,
                    newcomers,
                })?;
                if let (Deadline::Soon, Some(at)) = (deadline, self.model.timer) {
                    let latest = Timestamp::from_micros((deadline_ms - 50) * 1000);
                    promise(
                        at <= latest,
                        "an invocation is released before its deadline",
                    )?;
                }
            }
            Step::Timer => {
                let Some(at) = self.model.timer.take() else {
                    return Ok(());
                };
                let looks = self.model.held.is_some_and(|held| held.by.is_none());
                if let Some(held) = &mut self.model.held {
                    held.looked += self.last_pause;
                    let enough = held.looked <= Duration::from_millis(20);
                    promise(!looks || enough, "a look takes at most 20 ms")?;
                }
                self.world.now = self.world.now.max(at);
                self.give(Input::Timer)?;
                let looks_on = looks && self.model.timer.is_some();
                self.model.timer_ran_out(looks_on);
                if !looks_on {
                    self.everything_finished_was_sent("when a timer runs out")?;
                }
            }
            Step::Clock(seconds) => {
                let micros = self.world.now.as_micros();
                let micros = micros.saturating_add_signed(seconds * 1_000_000);
                self.world.now = Timestamp::from_micros(micros);
            }
            _ => return Ok(()),
        }
        let model = &self.model;
        let asked_once = self.managed && model.asked == 1;
        promise(
            asked_once || model.asked == model.invokes || model.asked == model.invokes + 1,
            "each event is asked for once",
        )?;
        promise(
            self.managed || self.is_released() != model.held.is_some(),
            "exactly the announced invocations, and looks, are held",
        )?;
        promise(
            self.managed || self.is_released() != model.timer.is_some(),
            "each wait has a limit",
        )?;
        promise(
            !self.managed || model.connected.is_empty() || model.timer.is_some(),
            "without events there is a timer",
        )
    }

    fn begin(&mut self, session: u64, invocation: u64) -> Result<(), String> {
        // Without invocation events nothing is held.
        if !self.managed {
            self.model.begun(session, invocation);
        }
        let request_id = &format!("r-{invocation}");
        self.send(session, Message::Begin { request_id })
    }

    fn end(&mut self, session: u64, invocation: u64) -> Result<(), String> {
        if !self.managed {
            self.model.ended(session, invocation);
        }
        let request_id = &format!("r-{invocation}");
        self.send(session, Message::End { request_id })?;
        self.everything_finished_was_sent("at an end")
    }

    /// Returns true if the next event was asked for.
    fn is_released(&self) -> bool {
        self.managed || self.model.asked == self.model.invokes + 1
    }

    fn finish(&mut self, reason: &'static str) -> Result<(), String> {
        for session in 0..SESSIONS {
            self.model.lose(session);
        }
        self.give(Input::Shutdown(Interruption::from_shutdown_reason(reason)))?;
        self.give(Input::Timer)?;
        promise(self.model.exits == 1, "it ends once")?;
        let counts = self.world.machine.counts();
        let lost = counts.delivery.lost.total();
        promise(
            counts.received + counts.interrupted == self.model.sent.len() as u64 + lost,
            "the counters add up",
        )?;
        let (finished, left) = (&self.model.finished, &self.model.left);
        promise(
            counts.received == (finished.len() + self.model.sent_left) as u64,
            "all is counted",
        )?;
        let all = finished.len() + left.len() + self.model.interrupted.len();
        promise(
            self.narrow || (self.model.sent.len() == all && lost == 0),
            "nothing is lost",
        )
    }
}

fn promise(kept: bool, what: &str) -> Result<(), String> {
    if kept { Ok(()) } else { Err(what.to_owned()) }
}

/// Removes the steps that the failure does not need.
fn shrink(mut history: History) -> History {
    let mut index = 0;
    while index < history.steps.len() {
        let step = history.steps.remove(index);
        if Run::all(&history).is_ok() {
            history.steps.insert(index, step);
            index += 1;
        }
    }
    history
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

#[test]
fn documents_are_sent_once_and_only_announced_invocations_are_held() {
    let wanted = setting("MODEL_STEPS", 1_000_000);
    let seed = setting("MODEL_SEED", 1);
    let started = Instant::now();
    let mut random = Random(seed);
    let (mut steps, mut histories) = (0, 0_u64);
    while steps < wanted {
        let history = random.history();
        match Run::all(&history) {
            Ok(done) => steps += done,
            Err(broken) => panic!(
                "history {histories} of MODEL_SEED={seed}: broken: {broken}: {:#?}",
                shrink(history)
            ),
        }
        histories += 1;
    }
    // Past the test harness, which hides the output of a passing test.
    let _ = writeln!(
        std::io::stderr(),
        "model: {steps} steps in {histories} histories, {:.1} s, seed {seed}",
        started.elapsed().as_secs_f64()
    );
}
