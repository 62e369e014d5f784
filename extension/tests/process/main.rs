//! Runs the real process with a fake Extensions API, a scripted function and a UDP socket.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a failure fails the test, also in helpers outside of a test function"
)]

mod bursts;
mod log;
mod managed;
mod orphan;
mod protocol;
mod reader;
mod security;
mod shared_memory;
mod support;

use std::path::Path;
use std::time::Instant;

use support::{World, extension};

/// Path of the program that cargo built.
fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tracestitch-extension"))
}

const CALL: &str = "53995c3f42cd8ad8";
const HANDLER: &str = "4c721bf33e3caf8f";

#[test]
fn documents_of_an_invocation_reach_the_daemon_before_the_next_event_is_asked_for() {
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    function.close(HANDLER);
    assert_eq!(world.asked(), 1, "the invocation has not ended yet");
    function.end("r-1");
    world.wait_until_asked(2);
    assert_eq!(world.document_already_there()["id"], CALL);
    assert_eq!(world.document_already_there()["id"], HANDLER);

    drop(function);
    let log = world.spin_down();
    assert_eq!(log, "", "nothing was lost, so nothing is reported");
    assert!(!world.socket().exists());
}

#[test]
fn documents_of_many_invocations_leave_before_their_ends() {
    let mut world = World::started();
    let mut function = world.function();
    for n in 1..=50 {
        let request_id = format!("r-{n}");
        function.begin(&request_id);
        // Every other end is written before the invocation's event.
        if n % 2 == 0 {
            world.invoke(&request_id);
        }
        function.close(CALL);
        function.end(&request_id);
        if n % 2 == 1 {
            world.invoke(&request_id);
        }
        world.wait_until_asked(n + 1);
        assert_eq!(world.document_already_there()["id"], CALL);
    }
    world.spin_down();
}

#[test]
fn documents_that_a_timeout_leaves_open_are_closed_with_the_reason() {
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.open(HANDLER);
    function.close(CALL);
    drop(function);
    world.wait_until_asked(2);
    assert_eq!(world.document()["id"], CALL);

    let asked_to_stop = Instant::now();
    world.shutdown("timeout");
    let document = world.document();
    assert_eq!(document["id"], HANDLER);
    assert_eq!(document["fault"], true);
    assert!(document.get("in_progress").is_none());
    assert!(document["end_time"].as_f64().unwrap() > 1_700_000_000.0);
    let exception = &document["cause"]["exceptions"][0];
    assert_eq!(exception["type"], "FunctionTimeout");
    let (status, log) = world.end();
    assert!(status.success(), "{status}: {log}");
    assert!(
        asked_to_stop.elapsed().as_millis() < 2000,
        "Lambda gives 2 s"
    );
}

#[test]
fn function_that_outlives_the_shutdown_event_loses_nothing() {
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.open(HANDLER);
    function.end("r-1");
    world.wait_until_asked(2);
    world.shutdown("SandboxTerminated");
    let document = world.document();
    assert_eq!(
        document["cause"]["exceptions"][0]["type"],
        "FunctionStopped"
    );
    assert!(world.end().0.success());
}

#[test]
fn nothing_is_held_without_a_function() {
    let mut world = World::started();
    for n in 1..=3 {
        world.invoke(&format!("r-{n}"));
        world.wait_until_asked(n + 1);
    }
    world.spin_down();
}

#[test]
fn deadline_of_zero_does_not_release_at_once() {
    let mut world = World::started();
    let mut function = world.function();
    function.begin("r-1");
    world.invoke_until("r-1", 0);
    function.close(CALL);
    function.end("r-1");
    world.wait_until_asked(2);
    assert_eq!(world.document()["id"], CALL);
    world.spin_down();
}

#[test]
fn documents_leave_if_lambda_refuses_invocation_events() {
    let mut world = World::new();
    world.refuse_invoke();
    world.start(&[]);
    world.wait_until_asked(1);
    assert_eq!(
        world.registrations(),
        [
            r#"{"events":["INVOKE","SHUTDOWN"]}"#,
            r#"{"events":["SHUTDOWN"]}"#
        ]
    );
    let mut function = world.function();
    function.close(CALL);
    function.end("r-1");
    assert_eq!(world.document()["id"], CALL);
    // Without an end, at intervals.
    function.close(HANDLER);
    assert_eq!(world.document()["id"], HANDLER);
    world.spin_down();
}

#[test]
fn managed_instances_are_registered_for_the_shutdown_alone() {
    let mut world = World::new();
    world.start(&[("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances")]);
    world.wait_until_asked(1);
    assert_eq!(world.registrations(), [r#"{"events":["SHUTDOWN"]}"#]);
    world.spin_down();
}

#[test]
fn disabled_extension_binds_no_socket_and_keeps_running() {
    let mut world = World::new();
    world.start(&[("TRACESTITCH_ENABLED", "false")]);
    world.wait_until_asked(1);
    assert_eq!(world.registrations(), [r#"{"events":["SHUTDOWN"]}"#]);
    assert!(!world.socket().exists());
    world.spin_down();
}

#[test]
fn losses_without_a_daemon_are_reported_in_one_line() {
    let absent = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().to_string()
    };
    let mut world = World::new();
    world.start(&[("TRACESTITCH_DAEMON_ADDRESS", &absent)]);
    world.wait_until_asked(1);
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.close(CALL);
    function.close(HANDLER);
    function.end("r-1");
    world.wait_until_asked(2);
    let log = world.spin_down();
    let [warning, report] = log.lines().collect::<Vec<_>>()[..] else {
        panic!("expected a warning and a report: {log}");
    };
    assert!(warning.starts_with("tracestitch-extension WARN the X-Ray daemon"));
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["tracestitch"]["received"], 2);
    assert_eq!(report["tracestitch"]["lost"]["not_sent"], 2);
}

#[test]
fn invalid_socket_path_does_not_stop_the_extension() {
    let mut world = World::new();
    world.start(&[("TRACESTITCH_SOCKET", "/proc/nowhere/s")]);
    world.wait_until_asked(1);
    world.invoke("r-1");
    world.wait_until_asked(2);
    let log = world.spin_down();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("no socket for the function"), "{log}");
}

#[test]
fn log_level_off_silences_everything() {
    let mut world = World::new();
    world.start(&[
        ("TRACESTITCH_LOG", "off"),
        ("TRACESTITCH_ENABLED", "maybe"),
        ("TRACESTITCH_DAEMON_ADDRESS", "host.invalid:2000"),
    ]);
    world.wait_until_asked(1);
    let mut function = world.function();
    function.begin("r-1");
    world.invoke("r-1");
    function.close(CALL);
    function.end("r-1");
    world.wait_until_asked(2);
    drop(function);
    assert_eq!(world.spin_down(), "", "losses, too");
}

#[test]
fn failing_runtime_api_is_asked_again() {
    let mut world = World::new();
    world.fail(3);
    world.start(&[]);
    world.wait_until_asked(1);
    let log = world.spin_down();
    assert_eq!(log.lines().count(), 1, "one warning for all of them: {log}");
    assert!(log.contains("status 500"), "{log}");
}

#[test]
fn second_extension_leaves_the_first_ones_socket_alone() {
    let mut world = World::started();
    let mut second = World::new();
    let socket = world.socket();
    second.start(&[("TRACESTITCH_SOCKET", socket.to_str().unwrap())]);
    second.wait_until_asked(1);
    let log = second.spin_down();
    assert!(log.contains("another process listens"), "{log}");
    assert!(socket.exists(), "the first one's socket is still there");
    world.spin_down();
}

#[test]
fn version_flag_prints_the_version() {
    let output = extension().arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!("tracestitch-extension {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn check_flag_prints_a_diagnosis() {
    let world = World::started();
    let socket = world.socket();
    let run = |daemon: &str| {
        extension()
            .arg("--check")
            .env_clear()
            .env("TRACESTITCH_SOCKET", &socket)
            .env("TRACESTITCH_DAEMON_ADDRESS", daemon)
            .output()
            .unwrap()
    };
    let good = run("127.0.0.1:2000");
    let printed = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success(), "{printed}");
    assert!(printed.contains("an extension listens"), "{printed}");
    let bad = run("no-port");
    let printed = String::from_utf8(bad.stdout).unwrap();
    assert_eq!(bad.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("problem  TRACESTITCH_DAEMON_ADDRESS"),
        "{printed}"
    );
}

#[test]
fn missing_runtime_api_is_named_outside_of_lambda() {
    let output = extension().env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("AWS_LAMBDA_RUNTIME_API"), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
}
