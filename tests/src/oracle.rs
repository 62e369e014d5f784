//! Which documents must have reached the X-Ray daemon? The answer comes from a [journal], not
//! from the tracer.
//!
//! A piece of work is known by its invocation and its name; each invocation has a trace of its
//! own, [`root`]. How far the journal shows it to have come decides what X-Ray must have of it:
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
//! `fault`, and a cause whose type says what happened. *Complete* is neither fault nor error,
//! with an `end_time` and no cause. Each has the id that the journal knows, and hangs under
//! something that is known, too, or is marked as not sampled and hangs under nothing.
//!
//! `gone` says that the extension was killed. What it had not sent may be lost with it, so of work
//! that was about to end before that, or was over and not `settled`, there is at most one document
//! instead of one. Of work that is about to `finish` after it there is one: its document finds the
//! way around.
//!
//! [journal]: crate::journal

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde_json::Value;
use tracestitch_local::store::Document;

use crate::journal::{Entry, Verb};

/// The parent that each invocation's trace header names.
pub const PARENT: &str = "53995c3f42cd8ad8";

/// The trace of an invocation.
pub fn root(invocation: u64) -> String {
    format!("1-5759e988-{invocation:024x}")
}

/// Invocation and name.
type Work = (u64, String);

/// How far a piece of work came.
#[derive(Debug, Clone)]
struct State {
    verb: Verb,
    id: String,
    settled: bool,
    /// Its document may have been lost with the extension.
    gone: bool,
}

/// How a document ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    Complete,
    /// With the type of the cause.
    Closed(&'a str),
    /// As neither is.
    Other,
}

impl<'a> Form<'a> {
    fn of(body: &'a Value) -> Self {
        let ended = body["end_time"].as_f64() >= body["start_time"].as_f64()
            && body["end_time"].is_number()
            && body["in_progress"] != true;
        let failed = ["fault", "error", "throttle", "cause"];
        let cause = &body["cause"]["exceptions"][0];
        match cause["type"].as_str() {
            _ if !ended => Self::Other,
            None if failed.iter().all(|member| body.get(*member).is_none()) => Self::Complete,
            Some(kind) if body["fault"] == true && cause["message"].is_string() => {
                Self::Closed(kind)
            }
            _ => Self::Other,
        }
    }
}

impl State {
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
            Form::Other => false,
        }
    }
}

/// What a journal lets expect.
#[derive(Debug, Default)]
pub struct Oracle {
    works: BTreeMap<Work, State>,
}

impl Oracle {
    /// Reads the journal.
    pub fn new(entries: &[Entry]) -> Self {
        let mut oracle = Self::default();
        // From the strike on, the extension may have ended, whatever seems settled.
        let mut struck = false;
        for entry in entries {
            match entry.verb {
                Verb::Struck => struck = true,
                Verb::Settled if struck => {}
                Verb::Gone => {
                    struck = false;
                    let unsent = oracle.works.values_mut().filter(|state| !state.settled);
                    unsent.for_each(|state| state.gone = true);
                }
                Verb::Settled => {
                    let mine = |work: &Work| work.0 == entry.invocation;
                    let works = oracle.works.iter_mut().filter(|(work, _)| mine(work));
                    works.for_each(|(_, state)| state.settled = true);
                }
                _ => oracle.happened(entry),
            }
        }
        oracle
    }

    fn happened(&mut self, entry: &Entry) {
        let work = (entry.invocation, entry.name.clone());
        let state = self.works.entry(work).or_insert_with(|| State {
            verb: entry.verb,
            id: String::new(),
            settled: false,
            gone: false,
        });
        state.verb = entry.verb;
        if !entry.id.is_empty() {
            state.id.clone_from(&entry.id);
        }
        if entry.verb == Verb::Finish {
            state.gone = false;
        }
    }

    /// Takes in that a service was called with the trace header of this work, which had therefore
    /// begun, whether or not the function lived to write that down.
    pub fn was_called(&mut self, invocation: u64, name: &str, id: &str) {
        if let Some(state) = self.works.get_mut(&(invocation, name.to_owned())) {
            if state.verb == Verb::Begin {
                state.verb = Verb::Finish;
            }
            id.clone_into(&mut state.id);
        }
    }

    /// What is wrong with `documents`, where `why` is the type of the cause with which work must
    /// have been closed that did not end by itself. Nothing, if they are what they must be.
    pub fn problems(&self, documents: &[Document], why: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let mut found: BTreeMap<Work, Vec<&Document>> = BTreeMap::new();
        for document in documents {
            match self.work_of(document) {
                Some(work) => found.entry(work).or_default().push(document),
                None => problems.push(format!("nobody did this: {}", document.body)),
            }
        }
        let ids: HashSet<&str> = (documents.iter().map(|document| document.id.as_str()))
            .chain(self.works.values().map(|state| state.id.as_str()))
            .chain([PARENT])
            .collect();
        for (work, state) in &self.works {
            let documents = found.get(work).map_or(&[][..], Vec::as_slice);
            let (number, name) = work;
            let problem = |what: fmt::Arguments<'_>| {
                format!("{name} of invocation {number}, {:?}: {what}", state.verb)
            };
            if documents.len() < state.least() || documents.len() > 1 {
                let (least, count) = (state.least(), documents.len());
                problems.push(problem(format_args!("{count} documents, expected {least}")));
            }
            for document in documents {
                let form = Form::of(&document.body);
                if !state.allows(form, why) {
                    problems.push(problem(format_args!("{form:?}: {}", document.body)));
                }
                if !state.id.is_empty() && state.id != document.id {
                    problems.push(problem(format_args!("id {}: {}", state.id, document.body)));
                }
                let known = match &document.parent_id {
                    Some(parent) => ids.contains(parent.as_str()),
                    // Nobody else records a trace that is not sampled.
                    None => document.body["annotations"]["unsampled"] == true,
                };
                if !known {
                    problems.push(problem(format_args!("unknown parent: {}", document.body)));
                }
            }
        }
        problems
    }

    /// How many pieces of work must have a document.
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tracestitch_local::check;

    use super::*;
    use crate::journal;

    const WHY: &str = "FunctionCrash";

    /// Documents as the daemon would have them.
    fn documents(bodies: &[Value]) -> Vec<Document> {
        bodies
            .iter()
            .map(|body| {
                let body = check::document(body.to_string().as_bytes()).unwrap();
                Document {
                    trace_id: body["trace_id"].as_str().unwrap().to_owned(),
                    id: body["id"].as_str().unwrap().to_owned(),
                    parent_id: body["parent_id"].as_str().map(str::to_owned),
                    name: body["name"].as_str().unwrap().to_owned(),
                    is_subsegment: true,
                    in_progress: body["in_progress"] == true,
                    body,
                }
            })
            .collect()
    }

    fn complete() -> Value {
        json!({ "name": "w", "id": "00000000000000aa", "trace_id": root(1), "parent_id": PARENT,
                "type": "subsegment", "start_time": 1.0, "end_time": 2.0 })
    }

    fn closed() -> Value {
        let exception = json!({ "id": "00000000000000ee", "type": WHY, "message": "killed" });
        let mut body = complete();
        body["fault"] = true.into();
        body["cause"] = json!({ "working_directory": "", "exceptions": [exception] });
        body
    }

    fn with(mut body: Value, member: &str, value: &str) -> Value {
        body[member] = value.into();
        body
    }

    #[track_caller]
    fn problems(lines: &[&str], bodies: &[Value]) -> Vec<String> {
        let lines: String = lines.iter().map(|line| format!("1 {line}\n")).collect();
        Oracle::new(&journal::read(&lines)).problems(&documents(bodies), WHY)
    }

    #[test]
    fn what_each_state_allows() {
        let (none, complete, closed) = (vec![], vec![complete()], vec![closed()]);
        let all = [&none, &complete, &closed];
        for (lines, allowed, reason) in [
            (&["begin 1 w "][..], [true, false, true], "perhaps it began"),
            (
                &["begin 1 w ", "begun 1 w 00000000000000aa"],
                [false, false, true],
                "it began",
            ),
            (
                &["begun 1 w ", "finish 1 w "],
                [false, true, true],
                "perhaps it ended",
            ),
            (
                &["begun 1 w ", "finish 1 w ", "finished 1 w "],
                [false, true, false],
                "it ended",
            ),
            (&["held 1 w "], [true, true, false], "perhaps handed over"),
            (&["absent 1 w "], [true, false, false], "it never was"),
            (
                &["finished 1 w ", "gone 0  "],
                [true, true, false],
                "perhaps lost",
            ),
            (
                &["finished 1 w ", "settled 1  ", "gone 0  "],
                [false, true, false],
                "sent before",
            ),
            (
                &["finished 1 w ", "gone 0  ", "settled 1  "],
                [true, true, false],
                "perhaps lost",
            ),
            (
                &["finished 1 w ", "struck 0  ", "settled 1  ", "gone 0  "],
                [true, true, false],
                "perhaps lost",
            ),
            (
                &["begun 1 w ", "gone 0  ", "finish 1 w ", "finished 1 w "],
                [false, true, false],
                "another way",
            ),
            (
                &["begun 1 w ", "finish 1 w ", "gone 0  ", "finished 1 w "],
                [true, true, false],
                "perhaps on the way",
            ),
        ] {
            for (bodies, allowed) in all.iter().zip(allowed) {
                let problems = problems(lines, bodies);
                assert_eq!(
                    problems.is_empty(),
                    allowed,
                    "{reason}: {bodies:?} {problems:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_never_right() {
        let done = ["finished 1 w 00000000000000aa"];
        let mut endless = complete();
        endless["in_progress"] = true.into();
        endless.as_object_mut().unwrap().remove("end_time");
        let mut failed = complete();
        failed["error"] = true.into();
        let mut orphan = complete();
        orphan
            .as_object_mut()
            .unwrap()
            .retain(|member, _| !matches!(member.as_str(), "type" | "parent_id"));
        for (bodies, reason) in [
            (vec![complete(), complete()], "twice"),
            (
                vec![with(complete(), "id", "00000000000000ab")],
                "another id",
            ),
            (
                vec![with(complete(), "parent_id", "00000000000000ab")],
                "a parent nobody knows",
            ),
            (
                vec![complete(), with(complete(), "name", "x")],
                "nobody did that",
            ),
            (
                vec![complete(), with(complete(), "trace_id", &root(2))],
                "of no invocation",
            ),
            (vec![endless], "in progress"),
            (vec![failed], "an error that did not happen"),
            (vec![orphan], "no parent in a trace that others record"),
        ] {
            assert!(!problems(&done, &bodies).is_empty(), "{reason}");
        }
        let begun = ["begun 1 w 00000000000000aa"];
        let mut other = closed();
        other["cause"]["exceptions"][0]["type"] = "FunctionTimeout".into();
        assert!(
            !problems(&begun, &[other]).is_empty(),
            "closed for another reason"
        );
    }

    #[test]
    fn a_service_that_was_called_knows_that_the_call_had_begun() {
        let entries = journal::read("1 begin 1 w \n");
        let mut oracle = Oracle::new(&entries);
        assert_eq!(oracle.certain(), 0);
        oracle.was_called(1, "w", "00000000000000aa");
        assert_eq!(oracle.certain(), 1);
        assert!(oracle.problems(&documents(&[closed()]), WHY).is_empty());
        let other = with(closed(), "id", "00000000000000ab");
        assert!(!oracle.problems(&documents(&[other]), WHY).is_empty());
    }
}
