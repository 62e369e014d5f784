//! The program `tracestitch`, as a user starts it.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::{HEADER, program};

/// Runs the program with `input` as its standard input.
fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tracestitch"))
        .args(arguments)
        .env("COPIED", "from here")
        .env_remove("NOT_SET_ANYWHERE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command line that is refused leaves its input unread.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn event_is_read_from_standard_input() {
    let (function, extension) = (program("bootstrap"), program("extension"));
    let arguments = [
        "run",
        "--extension",
        extension.to_str().unwrap(),
        "--timeout",
        "30",
        function.to_str().unwrap(),
        "-",
    ];
    let output = run(&arguments, "\u{feff}{\"do\":\"echo\",\"n\":7}");
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        out.contains("standard input: {\"do\": \"echo\", \"n\": 7}"),
        "{out}"
    );
    let output = run(&arguments, "");
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(
        error.contains("run: the event standard input is not JSON"),
        "{error}"
    );
}

#[test]
fn options_reach_the_function() {
    let folder = tempfile::tempdir().unwrap();
    let event = folder.path().join("event.json");
    fs::write(&event, r#"{"do":"describe"}"#).unwrap();
    let (function, extension) = (program("bootstrap"), program("extension"));
    let output = run(
        &[
            "run",
            "--timeout",
            "30",
            "--env",
            "GIVEN=b=c",
            "--trace",
            HEADER,
            function.to_str().unwrap(),
            event.to_str().unwrap(),
            "--extension",
            extension.to_str().unwrap(),
            "--env",
            "COPIED",
        ],
        "",
    );
    let out = text(&output.stdout);
    for expected in [
        "\"GIVEN\": \"b=c\"",
        "\"COPIED\": \"from here\"",
        "Root=1-581cf771-a006649127e371903a2de979",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

#[test]
fn completions_and_manual_page_are_written() {
    let output = run(&["completions", "bash"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("follow"));
    let output = run(&["man"], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(".TH tracestitch 1"));
}

#[test]
fn invalid_command_line_is_explained() {
    for (arguments, expected) in [
        (&[][..], "Usage: tracestitch <COMMAND>"),
        (&["run"], "<PROGRAM>"),
        (&["run", "--env"], "a value is required for '--env"),
        (
            &["run", "--env", "NOT_SET_ANYWHERE", "p"],
            "'NOT_SET_ANYWHERE' for '--env <NAME[=VALUE]>': it has no value",
        ),
        (
            &["run", "--timeout", "1.5", "p"],
            "'1.5' for '--timeout <SECONDS>': expected whole seconds",
        ),
        (
            &["run", "--timeout", "0", "p"],
            "'0' for '--timeout <SECONDS>': expected whole seconds",
        ),
        (
            &["run", "--trace", "1-2", "p"],
            "'1-2' for '--trace <HEADER>': expected",
        ),
        (&["run", "--sam", "p"], "unexpected argument '--sam'"),
        (&["demo", "--serve", "--chain"], "cannot be used with"),
        (&["deploy"], "unrecognized subcommand 'deploy'"),
    ] {
        let output = run(arguments, "");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn help_names_every_option() {
    let output = run(&["run", "--help"], "");
    let help = text(&output.stdout);
    assert!(output.status.success());
    for expected in [
        "Runs a function of yours",
        "<PROGRAM> [EVENT]...",
        "--env <NAME[=VALUE]>",
        "--timeout <SECONDS>",
        "[default: 10]",
        "--trace <HEADER>",
        "--extension <PATH>",
    ] {
        assert!(help.contains(expected), "{expected}: {help}");
    }
}
