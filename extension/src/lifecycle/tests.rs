//! A machine with a simulated clock, for the tests by theme.

use tracestitch_wire::handoff::VERSION;
use tracestitch_wire::id::SegmentId;

use super::sessions::{EARLY_ENDS, MAX_BEGUN};
use super::*;

mod documents;
mod holding;
mod model;

/// 2026-11-20, in microseconds.
const START: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);

/// A machine and a simulated clock.
struct World {
    machine: Lifecycle,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        Self::with(false)
    }

    fn managed() -> Self {
        Self::with(true)
    }

    fn with(managed: bool) -> Self {
        Self {
            machine: Lifecycle::new(managed, Pending::default()),
            now: START,
        }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.now = self.now.after(Duration::from_millis(1));
        self.machine.handle(self.now, input, &mut actions);
        actions
    }

    fn send(&mut self, session: u64, message: Message<'_>) -> Vec<Action> {
        self.give(Input::Message { session, message })
    }

    fn connect(&mut self, session: u64) -> Vec<Action> {
        self.send(
            session,
            Message::Hello(Hello {
                version: VERSION,
                daemon: None,
            }),
        )
    }

    fn open(&mut self, session: u64, id: u64) {
        let document = open_document(id);
        let actions = self.send(
            session,
            Message::Open {
                id: segment(id),
                document: &document,
            },
        );
        assert_eq!(actions, []);
    }

    fn close(&mut self, session: u64, id: u64) {
        let document = closed_document(id);
        let actions = self.send(
            session,
            Message::Close {
                id: segment(id),
                document: &document,
            },
        );
        assert_eq!(actions, []);
    }

    fn begin(&mut self, session: u64, request_id: &str) -> Vec<Action> {
        self.send(session, Message::Begin { request_id })
    }

    fn end(&mut self, session: u64, request_id: &str) -> Vec<Action> {
        self.send(session, Message::End { request_id })
    }

    fn invoke(&mut self, request_id: &str) -> Vec<Action> {
        let deadline_ms = self.now.after(Duration::from_secs(3)).as_micros() / 1000;
        self.invoke_until(request_id, deadline_ms)
    }

    fn invoke_until(&mut self, request_id: &str, deadline_ms: u64) -> Vec<Action> {
        self.give(Input::Invoke {
            request_id: request_id.to_owned(),
            deadline_ms,
            newcomers: false,
        })
    }

    /// Begins an invocation that session 1 announced.
    fn announced(&mut self, request_id: &str) {
        assert_eq!(self.begin(1, request_id), []);
        assert!(matches!(self.invoke(request_id)[..], [Action::SetTimer(_)]));
    }

    fn disconnect(&mut self, session: u64) -> Vec<Action> {
        self.give(Input::Disconnected { session })
    }

    /// Lets a look run out. Returns the time that it took, and the last actions.
    fn look_in_vain(&mut self) -> (Duration, Vec<Action>) {
        let mut took = Duration::ZERO;
        for pause in LOOKS {
            took += pause;
            let actions = self.give(Input::Timer);
            if !matches!(actions[..], [Action::SetTimer(_)]) {
                return (took, actions);
            }
        }
        panic!("it looks on after {took:?}");
    }
}

fn send_action(documents: Vec<Vec<u8>>) -> Action {
    Action::Send {
        daemon: None,
        documents: documents.iter().collect(),
    }
}

fn segment(id: u64) -> SegmentId {
    format!("{:016x}", id + 1).parse().unwrap()
}

fn open_document(id: u64) -> Vec<u8> {
    format!(r#"{{"id":"{id}","start_time":1.0,"in_progress":true}}"#).into_bytes()
}

fn closed_document(id: u64) -> Vec<u8> {
    format!(r#"{{"id":"{id}","start_time":1.0,"end_time":2.0}}"#).into_bytes()
}

/// Returns the documents that `actions` send: id, and the type of the cause if there is one.
fn sent(actions: &[Action]) -> Vec<(String, Option<String>)> {
    let documents = actions.iter().filter_map(|action| match action {
        Action::Send { documents, .. } => Some(documents),
        _ => None,
    });
    documents
        .flat_map(Documents::iter)
        .map(|document| {
            let document: serde_json::Value = serde_json::from_slice(document).unwrap();
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            assert!(document.get("in_progress").is_none());
            (
                text(&document["id"]).unwrap(),
                text(&document["cause"]["exceptions"][0]["type"]),
            )
        })
        .collect()
}

fn finished(id: &str) -> (String, Option<String>) {
    (id.to_owned(), None)
}

fn interrupted(id: &str, kind: &str) -> (String, Option<String>) {
    (id.to_owned(), Some(kind.to_owned()))
}
