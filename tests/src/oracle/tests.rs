use tracestitch_traces::lint;

use super::*;
use crate::journal;

const WHY: &str = "FunctionCrash";

/// Seconds since the epoch at which tests write such a line. The documents below begin at 2 and
/// end at 5.
fn at(line: &str) -> u64 {
    let (verb, _) = line.split_once(' ').unwrap();
    match verb {
        "held" | "begin" => 1,
        "begun" => 3,
        "fact" | "kept" | "finish" => 4,
        "finished" => 6,
        _ => 7,
    }
}

fn journal(lines: &[&str]) -> Vec<Entry> {
    let timed = |line: &&str| format!("{}000000 {line}\n", at(line));
    journal::read(&lines.iter().map(timed).collect::<String>())
}

/// Documents as the daemon would have them.
fn documents(bodies: &[Value]) -> Vec<Document> {
    bodies
        .iter()
        .map(|body| {
            let body = lint::document(body.to_string().as_bytes()).unwrap();
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
            "type": "subsegment", "start_time": 2.0, "end_time": 5.0 })
}

fn exception(kind: &str) -> Value {
    json!({ "id": "00000000000000ee", "type": kind, "message": "no tea" })
}

fn failed(kinds: &[&str]) -> Value {
    let exceptions: Vec<_> = kinds.iter().map(|kind| exception(kind)).collect();
    let mut body = complete();
    body["fault"] = true.into();
    body["cause"] = json!({ "working_directory": "", "exceptions": exceptions });
    body
}

fn closed() -> Value {
    failed(&[WHY])
}

fn with(mut body: Value, member: &str, value: impl Into<Value>) -> Value {
    body[member] = value.into();
    body
}

#[track_caller]
fn problems(lines: &[&str], bodies: &[Value]) -> Vec<String> {
    Oracle::new(&journal(lines)).problems(&documents(bodies), WHY)
}

#[test]
fn last_entry_decides_which_documents_are_valid() {
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
            [true, true, false],
            "perhaps lost, because it was not awaited",
        ),
        (
            &["finished 1 w ", "settled 1  ", "settled 2  ", "gone 0  "],
            [false, true, false],
            "sent before",
        ),
        (
            &["settled 1  ", "finished 1 w ", "settled 2  ", "gone 0  "],
            [true, true, false],
            "perhaps lost, because it ended in the next invocation",
        ),
        (
            &["finished 1 w ", "gone 0  ", "settled 1  ", "settled 2  "],
            [true, true, false],
            "perhaps lost",
        ),
        (
            &[
                "finished 1 w ",
                "struck 0  ",
                "settled 1  ",
                "settled 2  ",
                "gone 0  ",
            ],
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
fn invalid_documents_are_problems() {
    let done = [
        "begin 1 w v",
        "begun 1 w 00000000000000aa",
        "begun 1 v 53995c3f42cd8ad8",
        "finished 1 w ",
        "absent 1 v ",
    ];
    assert_eq!(problems(&done, &[complete()]), [""; 0]);
    let mut endless = complete();
    endless["in_progress"] = true.into();
    endless.as_object_mut().unwrap().remove("end_time");
    let mut orphan = complete();
    orphan
        .as_object_mut()
        .unwrap()
        .retain(|member, _| !matches!(member.as_str(), "type" | "parent_id"));
    for (bodies, reason) in [
        (vec![complete(), complete()], "it came twice"),
        (
            vec![with(complete(), "id", "00000000000000ab")],
            "another id",
        ),
        (
            vec![with(complete(), "parent_id", "00000000000000ab")],
            "an unknown parent",
        ),
        (
            vec![with(complete(), "parent_id", "00000000000000aa")],
            "another work as parent",
        ),
        (
            vec![complete(), with(complete(), "name", "x")],
            "not in the journal",
        ),
        (
            vec![complete(), with(complete(), "trace_id", root(2))],
            "of no invocation",
        ),
        (vec![endless], "in progress"),
        (
            vec![with(complete(), "error", true)],
            "an error that did not happen",
        ),
        (
            vec![with(complete(), "fault", true)],
            "a fault without a cause",
        ),
        (vec![orphan], "no parent in a trace that others record"),
    ] {
        assert!(!problems(&done, &bodies).is_empty(), "{reason}");
    }
    let begun = ["begun 1 w 00000000000000aa"];
    assert!(
        !problems(&begun, &[failed(&["FunctionTimeout"])]).is_empty(),
        "closed for another reason"
    );
}

#[test]
fn times_lie_between_the_entries() {
    let ended: &[&str] = &["begin 1 w ", "begun 1 w ", "finish 1 w ", "finished 1 w "];
    let killed: &[&str] = &["begin 1 w ", "begun 1 w ", "begun 1 x ", "over 0  "];
    let beside = || with(with(closed(), "name", "x"), "id", "00000000000000ab");
    let killed_beside = |body| vec![body, beside()];
    for (lines, member, valid, invalid) in [
        (ended, "start_time", [1.0, 3.0], [0.999_999, 3.000_001]),
        (ended, "end_time", [4.0, 6.0], [3.999_999, 6.000_001]),
        (killed, "start_time", [1.0, 3.0], [0.999_999, 3.000_001]),
        (killed, "end_time", [3.0, 7.0], [2.999_999, 7.000_001]),
    ] {
        for (times, expected) in [(valid, 0), (invalid, 1)] {
            for time in times {
                let bodies = match lines == ended {
                    true => vec![with(complete(), member, time)],
                    false => killed_beside(with(closed(), member, time)),
                };
                let problems = problems(lines, &bodies);
                assert_eq!(problems.len(), expected, "{member} {time}: {problems:?}");
            }
        }
    }
}

#[test]
fn recorded_facts_are_demanded_and_others_are_refused() {
    let fact = r#"fact 1 w {"annotations": {"order": "o-1"}}"#;
    let ended: &[&str] = &["begun 1 w ", fact, "finish 1 w ", "finished 1 w "];
    let killed: &[&str] = &["begun 1 w ", fact];
    let kept: &[&str] = &["begun 1 w ", fact, "kept 1 w "];
    let annotated = |body, order: &str| with(body, "annotations", json!({ "order": order }));
    for (lines, body, allowed, reason) in [
        (ended, annotated(complete(), "o-1"), true, "as it was put"),
        (ended, annotated(complete(), "o-2"), false, "another value"),
        (ended, complete(), false, "it lacks the fact"),
        (killed, closed(), true, "perhaps not kept"),
        (killed, annotated(closed(), "o-1"), true, "kept"),
        (kept, annotated(closed(), "o-1"), true, "kept"),
        (kept, closed(), false, "not kept"),
        (
            ended,
            with(
                complete(),
                "annotations",
                json!({ "order": "o-1", "items": 3 }),
            ),
            false,
            "a fact of other work",
        ),
    ] {
        let problems = problems(lines, &[body]);
        assert_eq!(problems.is_empty(), allowed, "{reason}: {problems:?}");
    }
}

#[test]
fn recorded_errors_do_not_close_a_document() {
    let fault = r#"fact 1 w {"fault": true, "cause": {"exceptions": [{"type": "Refused"}]}}"#;
    let ended: &[&str] = &["begun 1 w ", fault, "finish 1 w ", "finished 1 w "];
    let kept: &[&str] = &["begun 1 w ", fault, "kept 1 w "];
    for (lines, kinds, allowed, reason) in [
        (ended, &["Refused"][..], true, "its own error"),
        (ended, &["Refused", WHY], false, "its own error and the end"),
        (ended, &["Other"], false, "another error"),
        (kept, &["Refused", WHY], true, "its own error and the end"),
        (kept, &[WHY], false, "its own error is lost"),
        (kept, &["Refused"], false, "the end is lost"),
    ] {
        let problems = problems(lines, &[failed(kinds)]);
        assert_eq!(problems.is_empty(), allowed, "{reason}: {problems:?}");
    }
}

#[test]
fn called_service_proves_that_the_call_had_begun() {
    let mut oracle = Oracle::new(&journal(&["begin 1 w "]));
    assert_eq!(oracle.certain(), 0);
    oracle.was_called(1, "w", "00000000000000aa", 3_000_000);
    assert_eq!(oracle.certain(), 1);
    assert_eq!(
        oracle.problems(&documents(&[closed()]), WHY),
        Vec::<String>::new()
    );
    for (member, value) in [
        ("id", json!("00000000000000ab")),
        ("start_time", json!(3.5)),
        ("end_time", json!(2.5)),
    ] {
        let other = with(complete(), member, value);
        assert_eq!(oracle.problems(&documents(&[other]), WHY).len(), 1);
    }
}
