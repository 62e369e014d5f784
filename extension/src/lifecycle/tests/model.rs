//! Random histories against a model of what must come of them.
//!
//! A history is a list of steps, so it can be run again: what fails is cut down to the steps
//! without which it does not fail. `MODEL_STEPS` asks for more steps than the usual
//! million, `MODEL_SEED` for other ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::time::Instant;

use super::*;
use crate::pending::Limits;

const SESSIONS: u64 = 3;
const IDS: u64 = 6;

#[derive(Debug, Clone, Copy)]
enum Step {
    Connect(u64),
    ConnectData(u64),
    Open(u64, u64),
    Close(u64, u64),
    /// Opens a document that is finished, and counts only if its function dies.
    OpenFinished(u64, u64),
    Discard(u64, u64),
    EndCurrent(u64),
    EndOther(u64),
    Drain(u64),
    Leave(u64),
    Gone(u64),
    Invoke(Deadline),
    Timer,
    /// Seconds by which the wall clock jumps.
    Clock(i64),
}

#[derive(Debug, Clone, Copy)]
enum Deadline {
    None,
    Past,
    Soon,
    Far,
}

/// One environment, from its registration to its shutdown.
#[derive(Debug)]
struct History {
    managed: bool,
    /// Room for few documents only.
    narrow: bool,
    steps: Vec<Step>,
    reason: &'static str,
}

/// The generator of Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn history(&mut self) -> History {
        let length = 1 + self.below(120);
        History {
            managed: self.below(4) == 0,
            narrow: self.below(8) == 0,
            steps: (0..length).map(|_| self.step()).collect(),
            reason: ["timeout", "failure", "spindown", "moved"][self.below(4) as usize],
        }
    }

    fn step(&mut self) -> Step {
        let (session, id) = (self.below(SESSIONS), self.below(IDS));
        match self.below(64) {
            0..8 => Step::Connect(session),
            8 => Step::ConnectData(session),
            9..17 => Step::Open(session, id),
            17..21 => Step::OpenFinished(session, id),
            21..35 => Step::Close(session, id),
            35..37 => Step::Discard(session, id),
            37..43 => Step::EndCurrent(session),
            43..45 => Step::EndOther(session),
            45..47 => Step::Drain(session),
            47 => Step::Leave(session),
            48..51 => Step::Gone(session),
            51..59 => Step::Invoke(match self.below(8) {
                0 => Deadline::None,
                1 => Deadline::Past,
                2 => Deadline::Far,
                _ => Deadline::Soon,
            }),
            59..63 => Step::Timer,
            _ => Step::Clock(self.below(4 * 86_400) as i64 - 2 * 86_400),
        }
    }
}

/// What must have been sent and asked for, kept with sets and numbers only.
#[derive(Debug, Default)]
struct Model {
    /// Connected sessions, and whether they can signal.
    connected: BTreeMap<u64, bool>,
    /// Names of open documents, and whether they are finished.
    open: BTreeMap<(u64, u64), (u64, bool)>,
    /// Names of documents that must be sent as they are, and as interrupted.
    finished: BTreeSet<u64>,
    interrupted: BTreeSet<u64>,
    /// Names of those that were open, but finished, when their session ended.
    left: BTreeSet<u64>,
    /// Names of those that were sent.
    sent: BTreeSet<u64>,
    sent_finished: usize,
    sent_left: usize,
    serial: u64,
    invokes: u64,
    asked: u64,
    timer: Option<Timestamp>,
    /// Invocations that ended before they were heard of, the newest first.
    early: VecDeque<u64>,
    exits: usize,
}

impl Model {
    fn name(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn ended_early(&mut self, invocation: u64) {
        self.early.truncate(EARLY_ENDS - 1);
        self.early.push_front(invocation);
    }

    fn lose(&mut self, session: u64) {
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

    fn can_signal(&self) -> bool {
        self.connected.values().any(|signals| *signals)
    }
}

/// The machine and its model, step by step. An error says what was promised and not kept.
struct Run {
    world: World,
    model: Model,
    managed: bool,
    narrow: bool,
    actions: Vec<Action>,
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
            Action::Send(documents) => {
                for document in &documents {
                    self.sent(document)?;
                }
            }
            Action::AskNext => {
                self.model.asked += 1;
                self.everything_finished_was_sent("before the next event was asked for")?;
            }
            Action::SetTimer(at) => {
                promise(at > self.world.now, "a timer lies in the future")?;
                let longest = self.world.now.after(LONGEST_INVOCATION);
                promise(at <= longest, "no timer lasts longer than an invocation")?;
                self.model.timer = Some(at);
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
            .ok_or("a document has its name")?;
        promise(!text.contains("in_progress"), "what is sent is finished")?;
        promise(self.model.sent.insert(name), "no document is sent twice")?;
        let expected = if text.contains(r#""cause""#) {
            // Its session may have ended without our having been asked why.
            &self.model.interrupted
        } else if self.model.left.contains(&name) {
            self.model.sent_left += 1;
            &self.model.left
        } else {
            self.model.sent_finished += 1;
            &self.model.finished
        };
        promise(expected.contains(&name), "only what happened is sent")
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

    fn say(&mut self, session: u64, message: Message<'_>) -> Result<(), String> {
        self.give(Input::Said { session, message })
    }

    fn hello(&mut self, session: u64, channel: Channel) -> Result<(), String> {
        let hello = Hello {
            version: VERSION,
            channel,
            session,
            daemon: None,
        };
        self.say(session, Message::Hello(hello))
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        let connected = |session| self.model.connected.contains_key(session);
        let held = !self.is_released();
        let lets_go = matches!(
            step,
            Step::EndCurrent(_) | Step::Gone(_) | Step::Timer | Step::Invoke(_)
        );
        match step {
            Step::Connect(s) if !connected(&s) => {
                self.model.connected.insert(s, true);
                self.hello(s, Channel::Data)?;
                self.hello(s, Channel::Signal)?;
            }
            Step::ConnectData(s) if !connected(&s) => {
                self.model.connected.insert(s, false);
                self.hello(s, Channel::Data)?;
            }
            Step::Open(s, id) if connected(&s) => {
                let name = self.model.name();
                self.model.open.insert((s, id), (name, false));
                let document =
                    format!(r#"{{"name":"{name}","start_time":1.0,"in_progress":true}}"#);
                let (id, document) = (segment(id), document.as_bytes());
                self.say(s, Message::Open { id, document })?;
            }
            Step::OpenFinished(s, id) if connected(&s) => {
                let name = self.model.name();
                self.model.open.insert((s, id), (name, true));
                let document = format!(r#"{{"name":"{name}","end_time":2.0}}"#);
                let (id, document) = (segment(id), document.as_bytes());
                self.say(s, Message::Open { id, document })?;
            }
            Step::Close(s, id) if connected(&s) => {
                let name = self.model.name();
                self.model.open.remove(&(s, id));
                self.model.finished.insert(name);
                let document = format!(r#"{{"name":"{name}","end_time":2.0}}"#);
                let (id, document) = (segment(id), document.as_bytes());
                self.say(s, Message::Close { id, document })?;
            }
            Step::Discard(s, id) if connected(&s) => {
                self.model.open.remove(&(s, id));
                self.say(s, Message::Discard { id: segment(id) })?;
            }
            Step::EndCurrent(s) if connected(&s) => {
                let request_id = format!("r-{}", self.model.invokes);
                let request_id = &request_id;
                if !held {
                    self.model.ended_early(self.model.invokes);
                }
                self.say(s, Message::End { request_id })?;
                self.everything_finished_was_sent("at an end")?;
                promise(self.is_released(), "an end lets its invocation go")?;
            }
            Step::EndOther(s) if connected(&s) => {
                let request_id = format!("r-{}", self.model.invokes + 1);
                let request_id = &request_id;
                self.model.ended_early(self.model.invokes + 1);
                self.say(s, Message::End { request_id })?;
            }
            Step::Drain(s) if connected(&s) => {
                self.say(s, Message::Drain)?;
                self.everything_finished_was_sent("at a drain")?;
            }
            Step::Leave(s) if connected(&s) => {
                self.model.open.retain(|(owner, _), _| *owner != s);
                self.say(s, Message::Leave)?;
            }
            Step::Gone(s) if connected(&s) => {
                self.model.lose(s);
                self.give(Input::Gone { session: s })?;
                self.everything_finished_was_sent("when a connection ends")?;
                let alone = self.model.can_signal() || self.is_released();
                promise(alone, "nobody is left to wait for")?;
            }
            // Lambda gives an event only when it was asked for one.
            Step::Invoke(deadline) if !self.managed && self.is_released() => {
                self.model.invokes += 1;
                let now_ms = self.world.now.as_micros() / 1000;
                let deadline_ms = match deadline {
                    Deadline::None => 0,
                    Deadline::Past => now_ms - 5_000,
                    Deadline::Soon => now_ms + 3_000,
                    Deadline::Far => u64::MAX,
                };
                self.give(Input::Invoke {
                    request_id: format!("r-{}", self.model.invokes),
                    deadline_ms,
                })?;
                let over = self.model.early.contains(&self.model.invokes);
                let waits = self.model.can_signal() && !over;
                promise(
                    waits != self.is_released(),
                    "it waits for who can tell the end",
                )?;
                if let (Deadline::Soon, Some(at)) = (deadline, self.model.timer) {
                    let latest = Timestamp::from_micros((deadline_ms - 50) * 1000);
                    promise(at <= latest, "it lets go before the deadline")?;
                }
            }
            Step::Timer => {
                let Some(at) = self.model.timer.take() else {
                    return Ok(());
                };
                self.world.now = self.world.now.max(at);
                self.give(Input::Timer)?;
                self.everything_finished_was_sent("when a timer runs out")?;
                promise(self.is_released(), "the deadline lets an invocation go")?;
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
            self.managed || self.is_released() != model.timer.is_some(),
            "who is waited for is not waited for without end, and nobody else is",
        )?;
        promise(
            lets_go || held != self.is_released(),
            "no invocation is let go before its end",
        )?;
        promise(
            !self.managed || model.connected.is_empty() || model.timer.is_some(),
            "without events there is a timer",
        )
    }

    /// True when the next event has been asked for.
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
        let lost: u64 = counts.lost.values().sum();
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

/// The history without the steps that the failure does not need.
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
fn nothing_is_lost_nothing_doubled_and_no_invocation_is_held() {
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
                "history {histories} of MODEL_SEED={seed}: not kept: {broken}: {:#?}",
                shrink(history)
            ),
        }
        histories += 1;
    }
    // Not through the test harness, which keeps what a passing test prints.
    let _ = writeln!(
        std::io::stderr(),
        "model: {steps} steps in {histories} histories, {:.1} s, seed {seed}",
        started.elapsed().as_secs_f64()
    );
}
