//! The wrapper and the extension in two processes, with a daemon that counts documents.

#![allow(
    clippy::unwrap_used,
    reason = "a failure in a helper fails the test, too"
)]

#[path = "../../../extension/tests/process/reader.rs"]
mod reader;
#[allow(dead_code, reason = "the extension's own tests use the rest")]
#[path = "../../../extension/tests/process/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tower::{Layer, Service};
use tracestitch::TraceLayer;

use reader::{Reader, report, steadily};
use support::World;

/// Returns the path of the program under test.
fn built() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_extension"))
}

/// Variable of the function's process: the work of its handler.
const WORK: &str = "WHOLE_WORK";

const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// Runs as the function, in another process of this program. Without work it does nothing.
#[test]
fn function() {
    let Ok(work) = std::env::var(WORK) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let handler = service_fn(async |event: LambdaEvent<String>| {
            handle(&event.payload);
            Ok::<_, Error>(())
        });
        let mut context = Context::default();
        context.request_id = "r-1".to_owned();
        context.xray_trace_id = Some(HEADER.to_owned());
        let event = LambdaEvent::new(work, context);
        let mut service = TraceLayer::new().layer(handler);
        service.call(event).await.unwrap();
    });
}

fn handle(work: &str) {
    match work {
        "many" => (0..20_000).for_each(|_| tracestitch::capture_sync("one", || {})),
        "large" => (0..25).for_each(|_| {
            tracestitch::capture_sync("one", || {
                tracestitch::metadata("k", "x".repeat(200 * 1024));
            });
        }),
        "more than the ring takes" => (0..600).for_each(|_| {
            tracestitch::capture_sync("one", || tracestitch::metadata("k", "x".repeat(10_000)));
        }),
        "secrets" => tracestitch::capture_sync(SECRET, || {
            tracestitch::annotate("card", SECRET);
            tracestitch::metadata("card", SECRET);
        }),
        other => panic!("no such work: {other}"),
    }
}

const SECRET: &str = "sk_live_4242";

fn run(world: &World, work: &str) -> Output {
    run_with(world, work, &[])
}

fn run_with(world: &World, work: &str, variables: &[(&str, &str)]) -> Output {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "function", "--nocapture"])
        .env_clear()
        .env(WORK, work)
        .env("TRACESTITCH_SOCKET", world.socket())
        .env(
            "AWS_XRAY_DAEMON_ADDRESS",
            world.daemon.local_addr().unwrap().to_string(),
        )
        .env("AWS_LAMBDA_FUNCTION_NAME", "shop")
        .env("TRACESTITCH_LOG", "debug")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

/// Returns the counts that the function logged.
fn counts(output: &Output) -> Value {
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(
        lines.len(),
        1,
        "expected one line for the invocation: {log}"
    );
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    let counts = line["tracestitch"]["function"].clone();
    let count = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(counts["lost"], serde_json::json!({}));
    assert_eq!(
        count("documents") + count("split") + count("taken_back"),
        count("handed") + count("sent"),
        "{counts}"
    );
    counts
}

fn started() -> World {
    let mut world = World::new();
    world.start(&[("TRACESTITCH_LOG", "info")]);
    world.wait_until_asked(1);
    world
}

#[test]
fn twenty_thousand_subsegments_are_delivered_or_counted() {
    steadily(|| {
        let mut world = started();
        let reader = Reader::start(&world.daemon);
        world.invoke("r-1");
        let function = counts(&run(&world, "many"));
        let documents = function["documents"].as_u64().unwrap();
        assert_eq!(
            documents + function["left_out"].as_u64().unwrap(),
            20_001,
            "with the handler's: {function}"
        );
        let extension = report(&world.spin_down());
        assert_eq!(extension["received"], function["handed"]);
        let (read, stall) = reader.read();
        (documents as usize - read.len(), stall)
    });
}

#[test]
fn megabytes_of_metadata_are_trimmed_with_a_mark() {
    steadily(|| {
        let mut world = started();
        let reader = Reader::start(&world.daemon);
        world.invoke("r-1");
        let function = counts(&run(&world, "large"));
        assert_eq!(
            (&function["documents"], &function["trimmed"]),
            (&26.into(), &25.into())
        );
        assert_eq!(report(&world.spin_down())["received"], function["handed"]);
        let (read, stall) = reader.read();
        let marked = |document: &&Vec<u8>| {
            let document: Value = serde_json::from_slice(document).unwrap();
            document["metadata"]["tracestitch"]["trimmed"] == "metadata"
        };
        let marked = read.iter().filter(marked).count();
        assert_eq!(marked + usize::from(read.len() > marked), read.len());
        (26 - read.len(), stall)
    });
}

/// The extension is stopped before the function begins and continued when the function has ended, so
/// it reads the ring late, and documents for which it had no room went to the daemon directly.
#[test]
fn extension_that_is_stopped_for_an_invocation_neither_doubles_nor_loses_documents() {
    steadily(|| {
        let mut world = started();
        let reader = Reader::start(&world.daemon);
        let process = Pid::from_raw(world.id() as i32);
        kill(process, Signal::SIGSTOP).unwrap();
        let function = counts(&run(&world, "more than the ring takes"));
        assert_eq!(
            (&function["documents"], &function["sent"]),
            (&601.into(), &function["ring_full"])
        );
        assert!(function["handed"].as_u64() > Some(50), "{function}");
        assert!(function["sent"].as_u64() > Some(50), "{function}");
        kill(process, Signal::SIGCONT).unwrap();
        world.shutdown("failure");
        let extension = report(&world.end().1);
        assert_eq!(extension["received"], function["handed"]);
        assert_eq!(
            extension["interrupted"], 0,
            "the function itself finished them"
        );
        let (read, stall) = reader.read();
        let ids: BTreeSet<_> = read
            .iter()
            .map(|document| {
                let document: Value = serde_json::from_slice(document).unwrap();
                assert!(document.get("fault").is_none(), "{document}");
                document["id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(ids.len(), read.len(), "a document came twice");
        (601 - read.len(), stall)
    });
}

#[test]
fn values_of_settings_are_not_logged() {
    let mut world = started();
    let settings = [
        "TRACESTITCH_ENABLED",
        "TRACESTITCH_TRANSPORT",
        "TRACESTITCH_DAEMON_ADDRESS",
        "TRACESTITCH_IGNORE",
        "TRACESTITCH_SAMPLING",
        "TRACESTITCH_ERRORS",
        "AWS_XRAY_DAEMON_ADDRESS",
        "AWS_SECRET_ACCESS_KEY",
    ]
    .map(|name| (name, SECRET));
    let output = run_with(&world, "secrets", &settings);
    let log = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!log.contains(SECRET), "{log}");
    let warnings = log.lines().filter(|line| line.contains(" is not "));
    assert_eq!(warnings.count(), settings.len() - 1, "{log}");
    assert_eq!(counts(&output)["handed"], 2);
    assert!(!world.spin_down().contains(SECRET));
}
