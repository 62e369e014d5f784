//! Tests of the session that holds an invocation, and of the time for which it does.

use super::*;

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
fn session_that_ends_does_not_release_the_work_of_another() {
    let mut world = World::new();
    world.connect(1);
    world.connect(2);
    world.announced("r");
    assert_eq!(world.disconnect(2), []);
    assert_eq!(world.end(1, "r"), [Action::ClearTimer, Action::AskNext]);
}
