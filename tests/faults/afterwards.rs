//! Work after the reply, and unusual functions: the extension holds no invocation longer than
//! necessary, and late documents arrive.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use e2e::binaries;
use e2e::journal::Verb;
use e2e::oracle::{PARENT, root};
use e2e::wait::{PROMPT, TIMEOUT};
use serde_json::json;
use tracestitch_local::emulator::{InvocationResult, Outcome};

use crate::ends::messages;
use crate::victim::{Victim, plenty};

/// The extension never gets the signal that the invocation is over, and sends its documents before
/// the deadline.
#[tokio::test]
async fn function_that_hangs_after_its_reply_loses_nothing() {
    let victim =
        Victim::start_with(|function, _| function.env("MAY_HANG", "1").timeout(TIMEOUT)).await;
    let outcome = victim
        .invoke(1, json!({ "steps": 3, "then": "hang_after_reply" }))
        .await;
    assert!(outcome.is_response(), "{outcome:?}");
    let next = victim.invoke(2, plenty()).await;
    assert!(
        next.is_response() && next.init.is_some(),
        "a new process: {next:?}"
    );
    victim.end("nothing").await;
}

/// The function dies after its reply, before the tracer signals the end: no document is open.
#[tokio::test]
async fn function_that_is_killed_right_after_its_reply_loses_nothing() {
    let victim = Victim::start_with(|function, _| function.env("MAY_HANG", "1")).await;
    let outcome = victim
        .invoke(1, json!({ "steps": 3, "then": "hang_after_reply" }))
        .await;
    assert!(outcome.is_response(), "{outcome:?}");
    assert!(victim.environment.kill_function().await);
    let next = victim.invoke(2, plenty()).await;
    assert!(
        next.is_response() && next.init.is_some(),
        "a new process: {next:?}"
    );
    victim.end("nothing").await;
}

#[tokio::test]
async fn work_behind_a_streamed_reply_is_recorded() {
    let victim = Victim::start().await;
    for n in 1..=3 {
        let outcome = victim.invoke(
            n,
            json!({ "steps": 1, "then": { "stream": { "parts": 5 } } }),
        );
        let outcome = outcome.await;
        let payload = outcome.payload();
        assert!(payload.ends_with(b"part 3\npart 4\n"), "{outcome:?}");
    }
    victim.end("nothing").await;
}

/// A task of the first invocation is thawed by the second one and ends during it. If the function is
/// too slow to announce the second one, the extension does not wait for it and may be frozen before
/// it reads the documents. So they arrive with the next event at the latest.
#[tokio::test]
async fn work_that_ends_in_the_next_invocation_arrives_before_the_one_after_ends() {
    let victim = Victim::start().await;
    let (done, go_on) = (victim.file("done"), victim.file("go on"));
    let outcome = victim
        .invoke(1, json!({ "steps": 1, "then": { "later": done } }))
        .await;
    assert!(outcome.is_response(), "{outcome:?}");
    victim.settled(1).await;
    fs::write(&done, "").unwrap();
    let (outcome, ()) = tokio::join!(
        victim.invoke(2, json!({ "steps": 1, "then": { "await": go_on } })),
        async {
            victim.noted(Verb::Finished, 1, "later", 1).await;
            fs::write(&go_on, "").unwrap();
        }
    );
    assert!(outcome.is_response(), "{outcome:?}");
    victim.settled(2).await;
    let arrived = victim.file("arrived");
    let (outcome, ()) = tokio::join!(
        victim.invoke(3, json!({ "then": { "await": arrived } })),
        async {
            victim.arrived(2).await;
            fs::write(&arrived, "").unwrap();
        }
    );
    assert!(outcome.is_response(), "{outcome:?}");
    victim.end("nothing").await;
}

/// No invocation follows.
#[tokio::test]
async fn work_that_ends_after_the_reply_arrives_at_shutdown() {
    let victim = Victim::start_with(|function, _| function.freeze(false)).await;
    let done = victim.file("done");
    victim
        .invoke(1, json!({ "steps": 1, "then": { "later": done } }))
        .await;
    victim.settled(1).await;
    fs::write(&done, "").unwrap();
    victim.noted(Verb::Finished, 1, "later", 1).await;
    victim.end("nothing").await;
}

/// Only the work that is still open is closed as a fault, not its invocation.
#[tokio::test]
async fn work_that_never_ends_is_closed_at_shutdown() {
    let victim = Victim::start().await;
    let never = victim.file("never");
    victim
        .invoke(1, json!({ "steps": 1, "then": { "later": never } }))
        .await;
    victim.settled(1).await;
    let documents = victim.end("FunctionStopped").await;
    let faults = documents
        .iter()
        .filter(|document| document.body["fault"] == true);
    assert_eq!(
        faults
            .map(|document| document.name.as_str())
            .collect::<Vec<_>>(),
        ["later"]
    );
}

/// A child process of the function traces over its own connections.
#[tokio::test]
async fn traces_of_a_child_process_arrive() {
    let victim = Victim::start().await;
    for n in 1..=3 {
        let outcome = victim
            .invoke(n, json!({ "steps": 2, "then": "child" }))
            .await;
        assert!(outcome.is_response(), "{outcome:?}");
        victim.settled(n).await;
    }
    victim.end("nothing").await;
}

/// Starts the victim under a script that restarts it whenever it ends. Lambda sees one process.
async fn supervised() -> (Victim, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("bootstrap");
    let victim = binaries::victim().display();
    fs::write(
        &script,
        format!("#!/bin/sh\nwhile :; do {victim}; sleep 0.1; done\n"),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let victim = Victim::start_as(&script, |function, _| {
        function.freeze(false).timeout(TIMEOUT)
    })
    .await;
    (victim, folder)
}

#[tokio::test]
async fn restarted_process_is_traced() {
    let (victim, _folder) = supervised().await;
    for n in 1..=3 {
        let exit = victim.file(&format!("exit {n}"));
        let outcome = victim
            .invoke(n, json!({ "steps": 2, "then": { "exit_later": exit } }))
            .await;
        assert!(
            outcome.is_response() && outcome.init.is_some() == (n == 1),
            "{outcome:?}"
        );
        victim.settled(n).await;
        fs::write(&exit, "").unwrap();
        victim.noted(Verb::Absent, 0, "start", n as usize + 1).await;
    }
    victim.end("nothing").await;
}

/// The next process starts before Lambda notices, so the reason remains unknown.
#[tokio::test]
async fn process_that_is_restarted_in_its_handler_is_closed_as_lost() {
    let (victim, _folder) = supervised().await;
    let outcome = victim
        .invoke(1, json!({ "steps": 2, "then": "exit" }))
        .await;
    assert_eq!(
        outcome.result,
        InvocationResult::TimedOut { after: TIMEOUT }
    );
    let documents = victim.end("FunctionLost").await;
    let closed = messages(&documents);
    assert_eq!(
        closed.len(),
        2,
        "the handler and its last subsegment: {closed:?}"
    );
}

/// Invokes it three times with this header: no invocation is held, and nothing is recorded.
async fn silent(victim: Victim, header: Option<String>) {
    // The first invocation includes the start of the processes.
    victim.untraced(0, plenty(), header.clone()).await;
    for n in 1..=3 {
        let began = Instant::now();
        let outcome: Outcome = victim.untraced(n, plenty(), header.clone()).await;
        victim.environment.settled().await;
        assert!(outcome.is_response(), "{outcome:?}");
        assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    }
    victim.shutdown().await;
    let documents = victim.world.sound_documents().await;
    assert!(documents.is_empty(), "{documents:?}");
}

#[tokio::test]
async fn function_that_is_not_wrapped_is_not_held() {
    let victim = Victim::start_with(|function, _| function.env("UNWRAPPED", "1")).await;
    silent(
        victim,
        Some(format!("Root={};Parent={PARENT};Sampled=1", root(1))),
    )
    .await;
}

#[tokio::test]
async fn function_without_active_tracing_is_not_held() {
    silent(Victim::start().await, None).await;
}

#[tokio::test]
async fn unsampled_invocation_is_not_held() {
    let header = format!("Root={};Parent={PARENT};Sampled=0", root(1));
    silent(Victim::start().await, Some(header)).await;
}
