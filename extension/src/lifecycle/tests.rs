use tracestitch_wire::handoff::{Hello, VERSION};
use tracestitch_wire::id::SegmentId;

use super::*;

mod model;

/// 2026-11-20, in microseconds.
const START: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);

/// A machine and a made-up clock.
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

    fn say(&mut self, session: u64, message: Message<'_>) -> Vec<Action> {
        self.give(Input::Said { session, message })
    }

    fn hello(&mut self, session: u64, channel: Channel) -> Vec<Action> {
        self.say(
            session,
            Message::Hello(Hello {
                version: VERSION,
                channel,
                session,
                daemon: None,
            }),
        )
    }

    fn connect(&mut self, session: u64) {
        self.hello(session, Channel::Data);
        self.hello(session, Channel::Signal);
    }

    fn open(&mut self, session: u64, id: u64) {
        let document = open_document(id);
        let actions = self.say(
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
        let actions = self.say(
            session,
            Message::Close {
                id: segment(id),
                document: &document,
            },
        );
        assert_eq!(actions, []);
    }

    fn end(&mut self, session: u64, request_id: &str) -> Vec<Action> {
        self.say(session, Message::End { request_id })
    }

    fn invoke(&mut self, request_id: &str) -> Vec<Action> {
        let deadline_ms = self.now.after(Duration::from_secs(3)).as_micros() / 1000;
        self.invoke_until(request_id, deadline_ms)
    }

    fn invoke_until(&mut self, request_id: &str, deadline_ms: u64) -> Vec<Action> {
        self.give(Input::Invoke {
            request_id: request_id.to_owned(),
            deadline_ms,
        })
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

/// The documents sent by `actions`: id, and the type of the cause if it has one.
fn sent(actions: &[Action]) -> Vec<(String, Option<String>)> {
    let documents = actions.iter().filter_map(|action| match action {
        Action::Send(documents) => Some(documents),
        _ => None,
    });
    documents
        .flatten()
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

#[test]
fn it_asks_for_the_first_event_once_registered() {
    assert_eq!(World::new().give(Input::Registered), [Action::AskNext]);
}

#[test]
fn with_no_function_connected_an_invocation_is_let_go_at_once() {
    let mut world = World::new();
    assert_eq!(world.invoke("r"), [Action::AskNext]);
}

#[test]
fn a_function_that_cannot_signal_is_not_waited_for() {
    let mut world = World::new();
    world.hello(1, Channel::Data);
    assert_eq!(world.invoke("r"), [Action::AskNext]);
}

#[test]
fn documents_leave_before_the_next_event_is_asked_for() {
    let mut world = World::new();
    world.connect(1);
    let expected = START.as_micros() / 1000 + 2 + 3000;
    assert_eq!(
        world.invoke("r"),
        [Action::SetTimer(Timestamp::from_micros(
            (expected - 50) * 1000
        ))]
    );
    world.open(1, 7);
    world.close(1, 7);
    assert_eq!(
        world.end(1, "r"),
        [
            Action::ClearTimer,
            Action::Send(vec![closed_document(7)]),
            Action::AskNext
        ]
    );
}

#[test]
fn another_invocations_end_does_not_let_this_one_go() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r-2");
    assert_eq!(world.end(1, "r-1"), []);
}

#[test]
fn an_end_before_its_event_is_remembered_once() {
    let mut world = World::new();
    world.connect(1);
    assert_eq!(world.end(1, "r"), []);
    assert_eq!(world.invoke("r"), [Action::AskNext]);
    assert!(matches!(world.invoke("r")[..], [Action::SetTimer(_)]));
}

#[test]
fn few_early_ends_are_remembered() {
    let mut world = World::new();
    world.connect(1);
    for n in 0..100 {
        world.end(1, &format!("r-{n}"));
    }
    assert_eq!(world.machine.early_ends.len(), EARLY_ENDS);
    assert_eq!(world.invoke("r-99"), [Action::AskNext]);
}

#[test]
fn the_deadline_lets_an_invocation_go() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r");
    assert_eq!(
        world.give(Input::Timer),
        [Action::ClearTimer, Action::AskNext]
    );
    assert_eq!(world.end(1, "r"), [], "a late end asks for nothing more");
}

#[test]
fn deadlines() {
    let now_ms = START.as_micros() / 1000;
    let seconds = |n| START.after(Duration::from_secs(n));
    for (deadline_ms, expected, reason) in [
        (0, seconds(5), "an emulator that knows none"),
        (now_ms - 10_000, seconds(5), "in the past"),
        (now_ms + 50, seconds(5), "no room for the margin"),
        (
            now_ms + 51,
            START.after(Duration::from_millis(1)),
            "room for the margin",
        ),
        (
            now_ms + 1000,
            START.after(Duration::from_millis(950)),
            "usual",
        ),
        (u64::MAX, seconds(900), "beyond what Lambda allows"),
    ] {
        assert_eq!(let_go_at(START, deadline_ms), expected, "{reason}");
    }
}

#[test]
fn the_functions_death_lets_an_invocation_go_and_waits_for_the_reason() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r");
    world.open(1, 1);
    world.open(1, 2);
    world.close(1, 2);
    let actions = world.give(Input::Gone { session: 1 });
    let died = world.now;
    assert_eq!(sent(&actions), [finished("2")]);
    assert_eq!(actions.last(), Some(&Action::AskNext));

    let actions = world.give(Input::Shutdown(Interruption::Timeout));
    assert_eq!(sent(&actions), [interrupted("1", "FunctionTimeout")]);
    assert_eq!(actions.last(), Some(&Action::Exit));
    let Action::Send(documents) = &actions[0] else {
        panic!("nothing sent");
    };
    let document: serde_json::Value = serde_json::from_slice(&documents[0]).unwrap();
    assert_eq!(document["end_time"], died.as_micros() as f64 / 1e6);
    assert_eq!(
        world.give(Input::Timer),
        [],
        "nothing happens after the end"
    );
}

#[test]
fn a_session_that_ends_does_not_let_go_what_another_works_on() {
    let mut world = World::new();
    world.connect(1);
    world.connect(2);
    world.invoke("r");
    assert_eq!(world.give(Input::Gone { session: 1 }), []);
    assert_eq!(world.end(2, "r"), [Action::ClearTimer, Action::AskNext]);
}

#[test]
fn without_a_reason_open_documents_are_closed_by_what_comes_next() {
    let left_open = || {
        let mut world = World::new();
        world.connect(1);
        world.open(1, 1);
        world.give(Input::Gone { session: 1 });
        world
    };
    let lost = [interrupted("1", "FunctionLost")];
    let mut invoked = left_open();
    assert_eq!(
        sent(&invoked.invoke("r-1")),
        [],
        "it may have died in this one"
    );
    assert_eq!(sent(&invoked.invoke("r-2")), lost);
    assert_eq!(sent(&left_open().hello(2, Channel::Data)), lost);
    assert_eq!(sent(&left_open().hello(1, Channel::Data)), lost);
}

#[test]
fn a_death_that_is_heard_of_before_its_invocation_still_gets_its_reason() {
    let mut world = World::new();
    world.connect(1);
    world.open(1, 1);
    world.give(Input::Gone { session: 1 });
    assert_eq!(world.invoke("r"), [Action::AskNext]);
    let actions = world.give(Input::Shutdown(Interruption::Crash));
    assert_eq!(sent(&actions), [interrupted("1", "FunctionCrash")]);
}

#[test]
fn discarded_documents_are_forgotten() {
    let mut world = World::new();
    world.connect(1);
    world.open(1, 1);
    world.say(1, Message::Discard { id: segment(1) });
    world.give(Input::Gone { session: 1 });
    let actions = world.give(Input::Shutdown(Interruption::Crash));
    assert_eq!(actions, [Action::Exit]);
}

/// Work of a trace that is not sampled: it counts only if it fails.
#[test]
fn what_was_finished_but_not_wanted_yet_arrives_whole_when_the_function_dies() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r");
    world.open(1, 1);
    world.open(1, 2);
    let open_finished = |world: &mut World, id| {
        let document = &closed_document(id);
        let id = segment(id);
        assert_eq!(world.say(1, Message::Open { id, document }), []);
    };
    open_finished(&mut world, 2);
    world.open(1, 3);
    open_finished(&mut world, 3);
    world.say(1, Message::Discard { id: segment(3) });
    assert_eq!(world.end(1, "r"), [Action::ClearTimer, Action::AskNext]);
    world.give(Input::Gone { session: 1 });
    let actions = world.give(Input::Shutdown(Interruption::Timeout));
    assert_eq!(
        sent(&actions),
        [interrupted("1", "FunctionTimeout"), finished("2")]
    );
}

#[test]
fn what_a_function_takes_along_when_it_leaves_is_not_closed() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r");
    world.open(1, 1);
    world.close(1, 2);
    assert_eq!(world.say(1, Message::Leave), []);
    let actions = world.give(Input::Gone { session: 1 });
    assert_eq!(sent(&actions), [finished("2")]);
    assert_eq!(
        actions.last(),
        Some(&Action::AskNext),
        "it is not waited for"
    );
    let actions = world.give(Input::Shutdown(Interruption::Crash));
    assert_eq!(actions, [Action::Exit]);
}

#[test]
fn at_shutdown_a_living_function_has_a_moment_for_last_words() {
    let mut world = World::new();
    world.connect(1);
    world.open(1, 1);
    world.open(1, 2);
    let actions = world.give(Input::Shutdown(Interruption::Stopped(
        "spindown".to_owned(),
    )));
    assert!(matches!(actions[..], [Action::SetTimer(_)]));
    world.close(1, 2);
    let actions = world.give(Input::Timer);
    assert_eq!(
        sent(&actions),
        [finished("2"), interrupted("1", "FunctionStopped")]
    );
    assert_eq!(actions.last(), Some(&Action::Exit));
}

#[test]
fn at_shutdown_the_functions_end_is_the_end() {
    let mut world = World::new();
    world.connect(1);
    world.give(Input::Shutdown(Interruption::Stopped(
        "spindown".to_owned(),
    )));
    assert_eq!(world.give(Input::Gone { session: 1 }), [Action::Exit]);
}

#[test]
fn a_drain_sends_what_is_there() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r");
    world.close(1, 1);
    let actions = world.say(1, Message::Drain);
    assert_eq!(actions, [Action::Send(vec![closed_document(1)])]);
}

#[test]
fn without_invocation_events_documents_leave_at_each_end_and_at_intervals() {
    let mut world = World::managed();
    let actions = world.hello(1, Channel::Data);
    assert!(matches!(actions[..], [Action::SetTimer(_)]));
    assert_eq!(world.hello(1, Channel::Signal), []);
    world.close(1, 1);
    assert_eq!(sent(&world.end(1, "r")), [finished("1")]);
    world.close(1, 2);
    let actions = world.give(Input::Timer);
    assert_eq!(sent(&actions), [finished("2")]);
    assert!(matches!(actions.last(), Some(Action::SetTimer(_))));
    world.give(Input::Gone { session: 1 });
    assert_eq!(world.give(Input::Timer), [], "nobody is there to wait for");
}
