//! Tests of the documents that are sent, and of the ones that a dead function left open.

use super::*;

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
        documents: Documents::from_iter([document]),
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
    world.send(
        1,
        Message::Discard {
            ids: vec![segment(1)],
        },
    );
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
    world.send(
        1,
        Message::Discard {
            ids: vec![segment(3)],
        },
    );
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
