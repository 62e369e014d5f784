//! Functions that end by themselves: crashes, exhausted memory, timeouts. Finished documents arrive
//! unchanged, open ones are closed with the reason, and the next invocation is complete.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use e2e::wait::{PATIENCE, TIMEOUT};

use serde_json::json;
use tracestitch_local::emulator::InvocationResult;
use tracestitch_local::store::Document;

use crate::victim::{Victim, plenty};

/// Runs an invocation that ends as `then` says, and a complete one after it.
async fn end(then: &str, why: &str, timeout: Duration) -> (InvocationResult, Vec<Document>) {
    let victim = Victim::start_with(|function, _| function.timeout(timeout)).await;
    let mut work = plenty();
    work["then"] = then.into();
    let outcome = victim.invoke(1, work).await;
    let next = victim.invoke(2, plenty()).await;
    assert!(next.is_response(), "{then}: {next:?}");
    (outcome.result, victim.end(why).await)
}

/// Returns the messages of all causes except for the error that the function itself records.
pub(crate) fn messages(documents: &[Document]) -> Vec<&str> {
    let exceptions = documents
        .iter()
        .filter_map(|document| document.body["cause"]["exceptions"].as_array());
    exceptions
        .flatten()
        .filter(|exception| exception["type"] != "Refused")
        .filter_map(|exception| exception["message"].as_str())
        .collect()
}

/// Runs [`end`] with a process that dies of `signal` or exits with `code`: the handler and its last
/// subsegment are closed.
async fn crash(then: &str, code: Option<i32>, signal: Option<i32>) {
    let (result, documents) = end(then, "FunctionCrash", PATIENCE).await;
    let InvocationResult::Crashed {
        status: Some(status),
        ..
    } = &result
    else {
        panic!("{then}: {result:?}");
    };
    assert_eq!((status.code(), status.signal()), (code, signal), "{then}");
    let messages = messages(&documents);
    assert_eq!(messages.len(), 2, "{messages:?}");
    for message in messages {
        assert!(
            message.contains("crashed, exited or ran out of memory"),
            "{message}"
        );
    }
}

const SIGABRT: Option<i32> = Some(6);

#[tokio::test]
async fn exit_closes_open_documents() {
    crash("exit", Some(3), None).await;
}

#[tokio::test]
async fn abort_closes_open_documents() {
    crash("abort", None, SIGABRT).await;
}

/// Rust's handler for the guard page aborts the process.
#[tokio::test]
async fn stack_overflow_closes_open_documents() {
    crash("overflow", None, SIGABRT).await;
}

/// A failed allocation aborts the process. The kernel's OOM killer sends SIGKILL: see `killed`.
#[tokio::test]
async fn exhausted_memory_closes_open_documents() {
    crash("allocate", None, SIGABRT).await;
}

/// A panic unwinds: the function itself finishes its documents, and survives.
#[tokio::test]
async fn panic_is_recorded_by_the_function() {
    let (result, documents) = end("panic", "panic", PATIENCE).await;
    assert!(
        matches!(result, InvocationResult::FunctionError { .. }),
        "{result:?}"
    );
    let messages = messages(&documents);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages.iter().any(|message| message.contains("no kettle")),
        "{messages:?}"
    );
}

async fn time_out(then: &str) {
    let (result, documents) = end(then, "FunctionTimeout", TIMEOUT).await;
    assert_eq!(
        result,
        InvocationResult::TimedOut { after: TIMEOUT },
        "{then}"
    );
    let messages = messages(&documents);
    assert_eq!(messages.len(), 2, "{messages:?}");
    for message in messages {
        assert!(message.contains("timed out"), "{message}");
    }
}

#[tokio::test]
async fn timeout_with_a_blocked_thread_closes_open_documents() {
    time_out("block").await;
}

#[tokio::test]
async fn timeout_in_a_loop_closes_open_documents() {
    time_out("spin").await;
}

#[tokio::test]
async fn timeout_with_a_pending_await_closes_open_documents() {
    time_out("wait").await;
}

#[tokio::test]
async fn timeout_in_an_aws_call_closes_call_and_handler() {
    let victim = Victim::start_with(|function, _| function.timeout(TIMEOUT)).await;
    victim
        .world
        .aws
        .script("GetItem", [e2e::fake_aws::Reaction::Hang]);
    let outcome = victim.invoke(1, plenty()).await;
    assert_eq!(
        outcome.result,
        InvocationResult::TimedOut { after: TIMEOUT }
    );
    let documents = victim.end("FunctionTimeout").await;
    assert_eq!(messages(&documents).len(), 2, "call and handler");
}

#[tokio::test]
async fn panic_that_aborts_closes_open_documents() {
    let victim = Victim::start_as(e2e::binaries::aborting(), |function, _| function).await;
    let outcome = victim.invoke(1, json!({})).await;
    let InvocationResult::Crashed {
        status: Some(status),
        ..
    } = &outcome.result
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(status.signal(), SIGABRT);
    let documents = victim.end("FunctionCrash").await;
    assert_eq!(messages(&documents).len(), 2, "{documents:?}");
}
