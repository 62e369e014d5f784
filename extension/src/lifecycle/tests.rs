use tracestitch_wire::handoff::VERSION;
use tracestitch_wire::id::SegmentId;

use super::sessions::{EARLY_ENDS, MAX_BEGUN};
use super::*;

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
        documents,
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
fn first_event_is_asked_for_after_the_registration() {
    assert_eq!(World::new().give(Input::Registered), [Action::AskNext]);
}

#[test]
fn invocation_is_released_at_once_if_nothing_is_connected() {
    let mut world = World::new();
    assert_eq!(world.invoke("r"), [Action::AskNext]);
}

#[test]
fn documents_leave_before_the_next_event_is_asked_for() {
    let mut world = World::new();
    world.connect(1);
    world.begin(1, "r");
    let deadline_ms = world.now.as_micros() / 1000 + 3000;
    assert_eq!(
        world.invoke_until("r", deadline_ms),
        [Action::SetTimer(Timestamp::from_micros(
            (deadline_ms - 50) * 1000
        ))]
    );
    world.open(1, 7);
    world.close(1, 7);
    assert_eq!(
        world.end(1, "r"),
        [
            Action::ClearTimer,
            send_action(vec![closed_document(7)]),
            Action::AskNext
        ]
    );
}

#[test]
fn begin_message_is_looked_for_after_the_event() {
    for looks in 0..LOOKS.len() {
        let mut world = World::new();
        world.connect(1);
        assert!(matches!(world.invoke("r")[..], [Action::SetTimer(_)]));
        for _ in 0..looks {
            assert!(matches!(
                world.give(Input::Timer)[..],
                [Action::SetTimer(_)]
            ));
        }
        let found = world.begin(1, "r");
        let Some(Action::SetTimer(at)) = found.last() else {
            panic!("{looks}: {found:?}");
        };
        assert!(
            *at > world.now.after(Duration::from_secs(1)),
            "the deadline"
        );
        assert_eq!(world.end(1, "r"), [Action::ClearTimer, Action::AskNext]);
    }
}

/// The handler's layer without the runtime's and an event that does not deserialise, a process
/// that only polls a queue, a handler that is never called: all are connected and announce nothing.
#[test]
fn session_that_announces_nothing_costs_one_look_of_at_most_20_ms() {
    let mut world = World::new();
    world.connect(1);
    world.open(1, 1);
    assert!(matches!(world.invoke("r-1")[..], [Action::SetTimer(_)]));
    let (took, actions) = world.look_in_vain();
    let timers = Duration::from_millis(LOOKS.len() as u64);
    assert!(took + timers <= Duration::from_millis(20), "{took:?}");
    assert_eq!(actions, [Action::ClearTimer, Action::AskNext]);
    for n in 2..10 {
        world.close(1, n);
        assert_eq!(
            world.invoke(&format!("r-{n}")),
            [send_action(vec![closed_document(n)]), Action::AskNext]
        );
    }
}

#[test]
fn session_that_was_waited_for_in_vain_is_waited_for_again_after_an_end() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r-1");
    world.look_in_vain();
    assert_eq!(world.begin(1, "r-1"), [], "it was late");
    assert_eq!(world.invoke("r-2"), [Action::AskNext]);
    assert_eq!(world.end(1, "r-1"), []);
    world.announced("r-3");
    assert_eq!(
        world.give(Input::Timer),
        [Action::ClearTimer, Action::AskNext],
        "the deadline passed"
    );
    world.begin(1, "r-4");
    assert_eq!(
        world.invoke("r-4"),
        [Action::ClearTimer, Action::AskNext],
        "it did not report an end"
    );
    world.end(1, "r-4");
    world.announced("r-5");
}

/// A poller reports the ends of its work, under ids that are no invocation's.
#[test]
fn end_of_other_work_is_no_reason_to_wait_again() {
    let mut world = World::new();
    world.connect(1);
    world.invoke("r-1");
    world.look_in_vain();
    for n in 2..5 {
        world.end(1, "");
        assert_eq!(world.invoke(&format!("r-{n}")), [Action::AskNext]);
    }
}

/// Functions that send no begin messages.
#[test]
fn end_without_a_begin_ends_the_look() {
    let mut world = World::new();
    world.connect(1);
    for n in 1..4 {
        let request_id = format!("r-{n}");
        assert!(matches!(
            world.invoke(&request_id)[..],
            [Action::SetTimer(_)]
        ));
        if n == 2 {
            world.look_in_vain();
            world.close(1, 1);
            assert_eq!(
                world.end(1, &request_id),
                [send_action(vec![closed_document(1)])]
            );
        } else {
            assert_eq!(
                world.end(1, &request_id),
                [Action::ClearTimer, Action::AskNext]
            );
        }
    }
}

#[test]
fn connection_without_a_hello_costs_one_look() {
    let newcomer = |world: &mut World| {
        world.give(Input::Invoke {
            request_id: "r".to_owned(),
            deadline_ms: 0,
            newcomers: true,
        })
    };
    let mut world = World::new();
    assert!(matches!(newcomer(&mut world)[..], [Action::SetTimer(_)]));
    assert_eq!(
        world.look_in_vain().1,
        [Action::ClearTimer, Action::AskNext]
    );
    let mut world = World::new();
    newcomer(&mut world);
    world.connect(1);
    assert!(matches!(world.begin(1, "r")[..], [Action::SetTimer(_)]));
    assert_eq!(world.end(1, "r"), [Action::ClearTimer, Action::AskNext]);
}

#[test]
fn session_that_dies_during_the_look_ends_it() {
    let mut world = World::new();
    world.connect(1);
    world.connect(2);
    world.invoke("r");
    assert_eq!(world.disconnect(1), [], "another may announce it");
    assert_eq!(world.disconnect(2), [Action::ClearTimer, Action::AskNext]);
}

#[test]
fn end_of_another_invocation_or_session_does_not_release() {
    let mut world = World::new();
    world.connect(1);
    world.connect(2);
    world.begin(1, "r-1");
    world.announced("r-2");
    assert_eq!(world.end(1, "r-1"), []);
    assert_eq!(world.end(2, "r-2"), []);
    assert_eq!(world.end(1, "r-2"), [Action::ClearTimer, Action::AskNext]);
}

/// A begin on the data connection overtakes the end before it on the signal connection.
#[test]
fn begin_may_overtake_the_end_before_it() {
    let mut world = World::new();
    world.connect(1);
    world.announced("r-1");
    assert_eq!(world.begin(1, "r-2"), []);
    assert_eq!(world.end(1, "r-1"), [Action::ClearTimer, Action::AskNext]);
    assert!(matches!(world.invoke("r-2")[..], [Action::SetTimer(_)]));
    assert_eq!(world.end(1, "r-2"), [Action::ClearTimer, Action::AskNext]);
}

#[test]
fn end_before_its_event_is_remembered_once() {
    for announces in [true, false] {
        let mut world = World::new();
        world.connect(1);
        if announces {
            world.begin(1, "r");
        }
        assert_eq!(world.end(1, "r"), []);
        assert_eq!(world.invoke("r"), [Action::AskNext]);
        assert!(matches!(world.invoke("r")[..], [Action::SetTimer(_)]));
    }
}

/// A retry has the request id of the attempt before it.
#[test]
fn late_end_does_not_release_the_retry() {
    for announces in [true, false] {
        let mut world = World::new();
        world.connect(1);
        if announces {
            world.announced("r");
            world.give(Input::Timer);
        } else {
            world.invoke("r");
            world.look_in_vain();
        }
        assert_eq!(world.end(1, "r"), [], "late");
        world.begin(1, "r");
        assert!(
            matches!(world.invoke("r")[..], [Action::SetTimer(_)]),
            "announces: {announces}"
        );
        assert_eq!(world.end(1, "r"), [Action::ClearTimer, Action::AskNext]);
    }
}

/// The first attempt announced itself and never ended.
#[test]
fn begin_of_an_attempt_that_is_over_does_not_hold_the_retry() {
    let mut world = World::new();
    world.connect(1);
    world.announced("r");
    world.give(Input::Timer);
    world.begin(1, "r-2");
    world.invoke("r-2");
    world.end(1, "r-2");
    assert!(matches!(world.invoke("r")[..], [Action::SetTimer(_)]));
    assert_eq!(
        world.look_in_vain().1,
        [Action::ClearTimer, Action::AskNext]
    );
}

#[test]
fn remembered_messages_are_bounded() {
    let mut world = World::new();
    world.connect(1);
    for n in 0..100 {
        world.begin(1, &format!("b-{n}"));
        world.end(1, &format!("r-{n}"));
    }
    assert_eq!(world.machine.sessions.early_ends.len(), EARLY_ENDS);
    assert_eq!(world.machine.sessions.list[0].begun.len(), MAX_BEGUN);
    assert_eq!(world.invoke("r-99"), [Action::AskNext]);
    assert!(matches!(world.invoke("b-99")[..], [Action::SetTimer(_)]));
}

#[test]
fn deadline_releases_an_invocation() {
    let mut world = World::new();
    world.connect(1);
    world.announced("r");
    assert_eq!(
        world.give(Input::Timer),
        [Action::ClearTimer, Action::AskNext]
    );
    assert_eq!(world.end(1, "r"), [], "a late end asks for nothing more");
}

#[test]
fn deadlines_leave_a_margin_and_implausible_ones_are_replaced() {
    let now_ms = START.as_micros() / 1000;
    let seconds = |n| START.after(Duration::from_secs(n));
    for (deadline_ms, expected, reason) in [
        (0, seconds(5), "an emulator without deadlines"),
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
        (u64::MAX, seconds(900), "beyond Lambda's limit"),
    ] {
        assert_eq!(release_at(START, deadline_ms), expected, "{reason}");
    }
}

#[test]
fn death_of_the_function_releases_and_its_documents_wait_for_the_reason() {
    let mut world = World::new();
    world.connect(1);
    world.announced("r");
    world.open(1, 1);
    world.open(1, 2);
    world.close(1, 2);
    let actions = world.disconnect(1);
    let died = world.now;
    assert_eq!(sent(&actions), [finished("2")]);
    assert_eq!(actions.last(), Some(&Action::AskNext));

    let actions = world.give(Input::Shutdown(Interruption::Timeout));
    assert_eq!(sent(&actions), [interrupted("1", "FunctionTimeout")]);
    assert_eq!(actions.last(), Some(&Action::Exit));
    let Action::Send { documents, .. } = &actions[0] else {
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
fn session_that_ends_does_not_release_the_work_of_another() {
    let mut world = World::new();
    world.connect(1);
    world.connect(2);
    world.announced("r");
    assert_eq!(world.disconnect(2), []);
    assert_eq!(world.end(1, "r"), [Action::ClearTimer, Action::AskNext]);
}

#[test]
fn documents_go_to_the_daemon_that_their_session_named() {
    let daemon = |n: u64| format!("10.0.0.{n}:2000");
    let mut world = World::new();
    for session in [1, 2] {
        let hello = Hello {
            version: VERSION,
            daemon: Some(daemon(session)),
        };
        world.send(session, Message::Hello(hello));
    }
    world.connect(3);
    world.open(1, 1);
    world.close(2, 2);
    world.close(3, 3);
    world.disconnect(1);
    let send = |session, document: Vec<u8>| Action::Send {
        daemon: daemon(session).parse().ok(),
        documents: vec![document],
    };
    let actions = world.give(Input::Shutdown(Interruption::Crash));
    assert!(matches!(actions[..], [Action::SetTimer(_)]));
    let actions = world.give(Input::Timer);
    let [interrupted, exit] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert_eq!(exit, &Action::Exit);
    assert!(
        matches!(interrupted, Action::Send { daemon: Some(d), .. } if d.to_string() == daemon(1)),
        "{interrupted:?}"
    );
    let mut world = World::new();
    let hello = Hello {
        version: VERSION,
        daemon: Some(daemon(2)),
    };
    world.send(2, Message::Hello(hello));
    world.connect(3);
    world.close(2, 2);
    world.close(3, 3);
    assert_eq!(
        world.send(3, Message::Drain),
        [
            send(2, closed_document(2)),
            send_action(vec![closed_document(3)])
        ]
    );
}

#[test]
fn open_documents_without_a_reason_are_closed_by_the_next_event() {
    let left_open = || {
        let mut world = World::new();
        world.connect(1);
        world.open(1, 1);
        world.disconnect(1);
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
    assert_eq!(sent(&left_open().connect(2)), lost);
    assert_eq!(sent(&left_open().connect(1)), lost);
}

#[test]
fn death_before_the_event_of_its_invocation_still_gets_its_reason() {
    let mut world = World::new();
    world.connect(1);
    world.open(1, 1);
    world.disconnect(1);
    assert_eq!(world.invoke("r"), [Action::AskNext]);
    let actions = world.give(Input::Shutdown(Interruption::Crash));
    assert_eq!(sent(&actions), [interrupted("1", "FunctionCrash")]);
}

#[test]
fn discarded_documents_are_dropped() {
    let mut world = World::new();
    world.connect(1);
    world.open(1, 1);
    world.send(1, Message::Discard { id: segment(1) });
    world.disconnect(1);
    let actions = world.give(Input::Shutdown(Interruption::Crash));
    assert_eq!(actions, [Action::Exit]);
}

/// Work of a trace that is not sampled is sent only if it fails.
#[test]
fn finished_but_unwanted_documents_are_sent_whole_when_the_function_dies() {
    let mut world = World::new();
    world.connect(1);
    world.announced("r");
    world.open(1, 1);
    world.open(1, 2);
    let open_finished = |world: &mut World, id| {
        let document = &closed_document(id);
        let id = segment(id);
        assert_eq!(world.send(1, Message::Open { id, document }), []);
    };
    open_finished(&mut world, 2);
    world.open(1, 3);
    open_finished(&mut world, 3);
    world.send(1, Message::Discard { id: segment(3) });
    assert_eq!(world.end(1, "r"), [Action::ClearTimer, Action::AskNext]);
    world.disconnect(1);
    let actions = world.give(Input::Shutdown(Interruption::Timeout));
    assert_eq!(
        sent(&actions),
        [interrupted("1", "FunctionTimeout"), finished("2")]
    );
}

#[test]
fn documents_of_a_function_that_leaves_are_not_closed() {
    let mut world = World::new();
    world.connect(1);
    world.announced("r");
    world.open(1, 1);
    world.close(1, 2);
    assert_eq!(world.send(1, Message::Leave), []);
    let actions = world.disconnect(1);
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
fn living_function_has_a_moment_after_the_shutdown_event() {
    let mut world = World::new();
    world.connect(1);
    world.open(1, 1);
    world.open(1, 2);
    let spindown = Interruption::Stopped("spindown".to_owned());
    let actions = world.give(Input::Shutdown(spindown));
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
fn end_of_the_function_after_the_shutdown_event_is_the_end() {
    let mut world = World::new();
    world.connect(1);
    world.give(Input::Shutdown(Interruption::Timeout));
    assert_eq!(world.disconnect(1), [Action::Exit]);
}

#[test]
fn drain_sends_finished_documents() {
    let mut world = World::new();
    world.connect(1);
    world.announced("r");
    world.close(1, 1);
    let actions = world.send(1, Message::Drain);
    assert_eq!(actions, [send_action(vec![closed_document(1)])]);
}

#[test]
fn without_invocation_events_documents_leave_at_each_end_and_at_intervals() {
    let mut world = World::managed();
    let actions = world.connect(1);
    assert!(matches!(actions[..], [Action::SetTimer(_)]));
    world.begin(1, "r");
    world.close(1, 1);
    assert_eq!(sent(&world.end(1, "r")), [finished("1")]);
    world.close(1, 2);
    let actions = world.give(Input::Timer);
    assert_eq!(sent(&actions), [finished("2")]);
    assert!(matches!(actions.last(), Some(Action::SetTimer(_))));
    world.disconnect(1);
    assert_eq!(world.give(Input::Timer), [], "nothing is connected");
}
