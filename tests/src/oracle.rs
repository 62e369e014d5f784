//! The documents that must have reached the X-Ray daemon, derived from a [journal] instead of the
//! tracer.
//!
//! Invocation and name identify a piece of work. Each invocation has its own trace, [`root`]. The
//! last entry of the work decides which documents X-Ray must have:
//!
//! | last entry | documents |
//! |---|---|
//! | none, or `absent` | none |
//! | `held` | at most one, complete |
//! | `begin` | at most one, closed as a fault |
//! | `begun` | one, closed as a fault |
//! | `finish` | one, complete or closed as a fault |
//! | `finished` | one, complete |
//!
//! *Closed as a fault* is how the extension ends what a dead function left open: `end_time`,
//! `fault`, and an exception whose type names the reason. A *complete* document has an `end_time`
//! and no failure other than the facts that the journal has of it.
//!
//! Each document has the id that the journal knows, the parent that the journal names, and the
//! facts that were put on it, no others. A closed document has at least the facts that were `kept`.
//!
//! Times lie between entries, to the microsecond:
//!
//! | time | not before | not after |
//! |---|---|---|
//! | start | `begin` (`held`: the first entry) | `begun` |
//! | end of a complete document | `finish` | `finished`, else `over` |
//! | end of a closed document | the last entry of its invocation | `over` |
//!
//! `gone` means that the extension was killed, perhaps with documents that it had not sent. So of
//! work that was about to end before that, or had ended and was not `settled` twice since, there is
//! at most one document instead of one. Once is not enough: if the function is slow to announce an
//! invocation, the extension does not wait for it, and its documents leave with the next event. Of
//! work that is about to `finish` after `gone` there is one, because the function sends it another
//! way.
//!
//! [journal]: crate::journal

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde_json::{Value, json};
use tracestitch_local::store::Document;

use crate::facts;
use crate::journal::{Entry, Verb};

/// The parent that each invocation's trace header names.
pub const PARENT: &str = "53995c3f42cd8ad8";

/// The trace of an invocation.
pub fn root(invocation: u64) -> String {
    format!("1-5759e988-{invocation:024x}")
}

/// Invocation and name.
type Work = (u64, String);

/// The journal's knowledge of a piece of work.
#[derive(Debug, Clone)]
struct State {
    verb: Verb,
    /// Empty if unknown.
    id: String,
    /// Name of the work around it; empty if unknown.
    parent: String,
    /// Number of times that the environment settled after the work ended.
    settled: usize,
    /// Its document may have been lost with the extension.
    gone: bool,
    facts: Value,
    kept: Value,
    start: Bounds,
    /// Bounds of the end of a complete document.
    end: Bounds,
    /// Time at which the environment had ended, if that was after the last entry.
    over: Option<u64>,
}

/// Earliest and latest time of an event, in microseconds since the epoch.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    earliest: Option<u64>,
    latest: Option<u64>,
}

impl Bounds {
    fn not_before(&mut self, at: u64) {
        self.earliest = self.earliest.max(Some(at));
    }

    fn not_after(&mut self, at: u64) {
        self.latest = Some(self.latest.map_or(at, |latest| latest.min(at)));
    }

    /// Microseconds between `time`, in seconds, and these bounds, if it is outside of them.
    fn outside(self, time: &Value) -> Option<i64> {
        let micros = (time.as_f64().unwrap_or_default() * 1e6).round() as i64;
        let early = self.earliest.map(|earliest| micros - earliest as i64);
        let late = self.latest.map(|latest| micros - latest as i64);
        let early = early.filter(|micros| *micros < 0);
        early.or_else(|| late.filter(|micros| *micros > 0))
    }
}

/// The way in which a document ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    Complete,
    /// Closed by the extension, with the type of the exception.
    Closed(&'a str),
    Invalid,
}

impl<'a> Form<'a> {
    /// The form of a document, without the errors that are among `facts`.
    fn of(body: &'a Value, facts: &Value) -> Self {
        let ended = body["end_time"].as_f64() >= body["start_time"].as_f64()
            && body["end_time"].is_number()
            && body["in_progress"] != true;
        let refused = ["error", "throttle"];
        let failed = refused.iter().any(|member| body.get(*member).is_some());
        let has_cause = body.get("cause").is_some();
        if !ended || failed || has_cause != (body["fault"] == true) {
            return Self::Invalid;
        }
        let exceptions = body["cause"]["exceptions"].as_array();
        let recorded = &facts["cause"]["exceptions"];
        let mut others = exceptions.into_iter().flatten().filter(|exception| {
            let is = |fact: &Value| facts::missing(fact, exception).is_none();
            !recorded
                .as_array()
                .is_some_and(|facts| facts.iter().any(is))
        });
        match (others.next(), others.next()) {
            (None, None) => Self::Complete,
            (Some(exception), None) if exception["message"].is_string() => exception["type"]
                .as_str()
                .map_or(Self::Invalid, Self::Closed),
            _ => Self::Invalid,
        }
    }
}

impl State {
    fn new(verb: Verb) -> Self {
        Self {
            verb,
            id: String::new(),
            parent: String::new(),
            settled: 0,
            gone: false,
            facts: json!({}),
            kept: json!({}),
            start: Bounds::default(),
            end: Bounds::default(),
            over: None,
        }
    }

    /// Returns true if the extension got an event after the work had ended, at which it sent the
    /// document.
    fn is_sent(&self) -> bool {
        self.settled >= 2
    }

    fn least(&self) -> usize {
        let never = matches!(self.verb, Verb::Held | Verb::Begin | Verb::Absent);
        usize::from(!never && !self.gone)
    }

    fn allows(&self, form: Form<'_>, why: &str) -> bool {
        match form {
            Form::Complete => {
                matches!(self.verb, Verb::Held | Verb::Finish | Verb::Finished)
            }
            Form::Closed(kind) => {
                kind == why && matches!(self.verb, Verb::Begin | Verb::Begun | Verb::Finish)
            }
            Form::Invalid => false,
        }
    }
}

/// The documents that a journal lets expect.
#[derive(Debug, Default)]
pub struct Oracle {
    works: BTreeMap<Work, State>,
    /// Time of the function's last entry, by invocation.
    alive: HashMap<u64, u64>,
}

impl Oracle {
    /// Reads the journal.
    pub fn new(entries: &[Entry]) -> Self {
        let mut oracle = Self::default();
        let first = entries.first().map_or(0, |entry| entry.at);
        // From the strike on, the extension may have ended, whatever seems settled.
        let mut struck = false;
        for entry in entries {
            match entry.verb {
                Verb::Struck => struck = true,
                Verb::Settled if struck => {}
                Verb::Gone => {
                    struck = false;
                    let unsent = oracle.works.values_mut().filter(|state| !state.is_sent());
                    unsent.for_each(|state| state.gone = true);
                }
                Verb::Settled => {
                    let works = oracle.works.values_mut();
                    let ended = works.filter(|state| state.verb == Verb::Finished);
                    ended.for_each(|state| state.settled += 1);
                }
                Verb::Over => {
                    let works = oracle.works.values_mut();
                    works.for_each(|state| _ = state.over.get_or_insert(entry.at));
                }
                _ => oracle.happened(entry, first),
            }
        }
        oracle
    }

    fn happened(&mut self, entry: &Entry, first: u64) {
        let at = entry.at;
        // The test itself writes when the handler's subsegment is about to begin and has ended.
        let by_function = match entry.verb {
            Verb::Begin | Verb::Finished => entry.name != "victim",
            Verb::Held | Verb::Absent => false,
            _ => true,
        };
        if by_function {
            self.alive.insert(entry.invocation, at);
        }
        let work = (entry.invocation, entry.name.clone());
        let state = self
            .works
            .entry(work)
            .or_insert_with(|| State::new(entry.verb));
        state.over = None;
        state.settled = 0;
        let detail = &entry.detail;
        match entry.verb {
            Verb::Fact => {
                let more = serde_json::from_str(detail).expect("facts are JSON");
                facts::add(&mut state.facts, more);
                return;
            }
            Verb::Kept => {
                state.kept = state.facts.clone();
                return;
            }
            Verb::Held => {
                state.parent.clone_from(detail);
                state.start.not_before(first);
            }
            Verb::Begin => {
                state.parent.clone_from(detail);
                state.start.not_before(at);
            }
            Verb::Begun => {
                state.id.clone_from(detail);
                state.start.not_after(at);
            }
            Verb::Finish => {
                state.start.not_after(at);
                state.end.not_before(at);
                state.gone = false;
            }
            Verb::Finished => {
                state.start.not_after(at);
                state.end.not_after(at);
            }
            _ => {}
        }
        state.verb = entry.verb;
    }

    /// Takes in that a service received a call with the trace header of this work, at `at`
    /// microseconds since the epoch: the work had begun, whether or not the function lived to
    /// write that down.
    pub fn was_called(&mut self, invocation: u64, name: &str, id: &str, at: u64) {
        if let Some(state) = self.works.get_mut(&(invocation, name.to_owned())) {
            if state.verb == Verb::Begin {
                state.verb = Verb::Finish;
            }
            id.clone_into(&mut state.id);
            state.start.not_after(at);
            state.end.not_before(at);
        }
    }

    /// Returns what is wrong with `documents`; nothing if they are as the journal demands. Work
    /// that did not end by itself must have been closed with an exception of type `why`.
    pub fn problems(&self, documents: &[Document], why: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut found: BTreeMap<Work, Vec<&Document>> = BTreeMap::new();
        for document in documents {
            match self.work_of(document) {
                Some(work) => found.entry(work).or_default().push(document),
                None => problems.push(format!("not in the journal: {}", document.body)),
            }
        }
        let ids: HashSet<&str> = (documents.iter().map(|document| document.id.as_str()))
            .chain(self.works.values().map(|state| state.id.as_str()))
            .chain([PARENT])
            .collect();
        for (work, state) in &self.works {
            let documents = found.get(work).map_or(&[][..], Vec::as_slice);
            let (number, name) = work;
            let mut problem = |what: fmt::Arguments<'_>| {
                let verb = state.verb;
                problems.push(format!("{name} of invocation {number}, {verb:?}: {what}"));
            };
            if documents.len() < state.least() || documents.len() > 1 {
                let (least, count) = (state.least(), documents.len());
                problem(format_args!("{count} documents, expected {least}"));
            }
            for document in documents {
                let body = &document.body;
                let form = Form::of(body, &state.facts);
                if !state.allows(form, why) {
                    problem(format_args!("{form:?}: {body}"));
                }
                if !state.id.is_empty() && state.id != document.id {
                    problem(format_args!("its id is {}: {body}", state.id));
                }
                let known = match &document.parent_id {
                    Some(parent) => ids.contains(parent.as_str()),
                    // No other service records an unsampled trace, so the root has no parent.
                    None => body["annotations"]["unsampled"] == true,
                };
                if !known {
                    problem(format_args!("unknown parent: {body}"));
                }
                let parent = self.id_of(*number, &state.parent, &found);
                if let Some(parent) = parent.filter(|id| document.parent_id.as_ref() != Some(id)) {
                    let name = &state.parent;
                    problem(format_args!("its parent is {name}, {parent}: {body}"));
                }
                self.judge_times(work, form, body, &mut problem);
                judge_facts(state, form, body, &mut problem);
            }
        }
        problems
    }

    /// The id of a piece of work, from the journal or from its document.
    fn id_of(
        &self,
        invocation: u64,
        name: &str,
        found: &BTreeMap<Work, Vec<&Document>>,
    ) -> Option<String> {
        let work = (invocation, name.to_owned());
        let noted = self.works.get(&work).map(|state| &state.id);
        let noted = noted.filter(|id| !id.is_empty()).cloned();
        noted.or_else(|| Some(found.get(&work)?.first()?.id.clone()))
    }

    fn judge_times(
        &self,
        work: &Work,
        form: Form<'_>,
        body: &Value,
        problem: &mut impl FnMut(fmt::Arguments<'_>),
    ) {
        let state = &self.works[work];
        let mut end = state.end;
        if form == Form::Complete {
            end.latest = end.latest.or(state.over);
        } else {
            end.latest = state.over;
            if let Some(alive) = self.alive.get(&work.0) {
                end.not_before(*alive);
            }
        }
        for (member, bounds) in [("start_time", state.start), ("end_time", end)] {
            if let Some(micros) = bounds.outside(&body[member]) {
                problem(format_args!("{member} is off by {micros} µs: {body}"));
            }
        }
    }

    /// Returns how many pieces of work must have a document.
    pub fn certain(&self) -> usize {
        self.works.values().map(State::least).sum()
    }

    fn work_of(&self, document: &Document) -> Option<Work> {
        let (_, digits) = document.trace_id.rsplit_once('-')?;
        let invocation = u64::from_str_radix(digits, 16).ok()?;
        let work = (invocation, document.name.clone());
        let known = document.trace_id == root(invocation) && self.works.contains_key(&work);
        known.then_some(work)
    }
}

/// Annotations that the tracer itself puts on the outermost documents: the handler's, or a message's.
const OUR_ANNOTATIONS: [&str; 6] = [
    "cold_start",
    "failed",
    "message_id",
    "received",
    "unprocessed",
    "unsampled",
];

fn judge_facts(
    state: &State,
    form: Form<'_>,
    body: &Value,
    problem: &mut impl FnMut(fmt::Arguments<'_>),
) {
    let expected = match form {
        Form::Complete => &state.facts,
        Form::Closed(_) | Form::Invalid => &state.kept,
    };
    if let Some(path) = facts::missing(expected, body) {
        problem(format_args!("it lacks {path}: {body}"));
    }
    for key in facts::foreign(&state.facts, body) {
        if !OUR_ANNOTATIONS.contains(&&*key) {
            problem(format_args!("it has a foreign {key}: {body}"));
        }
    }
}

#[cfg(test)]
mod tests;
