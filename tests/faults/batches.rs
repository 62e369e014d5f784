//! Unsampled batches of SQS messages under `TRACESTITCH_ERRORS=always`: each message is judged by
//! itself. A message that failed arrives in its producer's trace and one that succeeded does not,
//! also when the function dies during another message. In that case the invocation arrives, too.

use std::time::Duration;

use e2e::journal::Verb;
use e2e::oracle::{PARENT, root};
use serde_json::{Value, json};
use tracestitch_local::emulator::{Function, InvocationResult, Outcome};
use tracestitch_local::store::Document;

use crate::moments::{Moment, Striker};
use crate::rounds::Rounds;
use crate::strikes::kill_function;
use crate::victim::Victim;

/// Longer than the messages take that end; the backtrace of the panic alone may take a second.
const TIMEOUT: Duration = Duration::from_secs(10);

async fn start(configure: impl FnOnce(Function) -> Function) -> Victim {
    Victim::start_with(|function, _| configure(function.env("TRACESTITCH_ERRORS", "always"))).await
}

/// Returns a message that ends as `then` says, in the trace of its producer with this decision. Its
/// queue is named after it, and so is its subsegment in the invocation's trace.
fn message(n: u64, then: impl Into<Value>, decision: &str) -> Value {
    let body = json!({ "n": n, "steps": 1, "then": then.into() });
    let mut attributes = json!({ "ApproximateReceiveCount": "1" });
    if !decision.is_empty() {
        let header = format!("Root={};Parent={PARENT};{decision}", root(n));
        attributes["AWSTraceHeader"] = header.into();
    }
    json!({
        "messageId": format!("m-{n}"), "body": body.to_string(), "attributes": attributes,
        "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:123456789012:m-{n}"),
    })
}

const UNSAMPLED: &str = "Sampled=0";

/// Returns a message that succeeds, one that fails, one that panics, and one that ends as `last`
/// says.
fn batch(last: &str, decision: &str) -> Value {
    let ends = ["return", "fail", "panic", last];
    let messages = (11..).zip(ends).map(|(n, then)| message(n, then, decision));
    json!({ "Records": messages.collect::<Vec<_>>() })
}

/// Returns the names of a trace's documents with the types of their causes, sorted. All but the
/// outermost have their parent among them.
#[track_caller]
fn trace(documents: &[Document], n: u64) -> Vec<String> {
    let mine = documents.iter().filter(|d| d.trace_id == root(n));
    let mine: Vec<_> = mine.collect();
    for document in &mine {
        let parent = document.parent_id.as_deref();
        let is_outermost = matches!(&*document.name, "victim" | "init");
        let known = mine.iter().any(|other| Some(&*other.id) == parent);
        let marked = document.body["annotations"]["unsampled"] == true;
        let sound = match is_outermost {
            true if marked => parent.is_none(),
            true => parent == Some(PARENT),
            false => known && !marked,
        };
        assert!(sound, "{}", document.body);
    }
    let mut lines: Vec<_> = mine.iter().map(|document| line(&document.body)).collect();
    lines.sort_unstable();
    lines
}

fn line(body: &Value) -> String {
    let name = body["name"].as_str().unwrap();
    let cause = body["cause"]["exceptions"][0]["type"].as_str();
    let failed = ["fault", "error"].map(|kind| body[kind] == true);
    match (failed, cause) {
        ([true, false], Some(cause)) => format!("{name}: {cause}"),
        ([false, true], None) => format!("{name}: error"),
        ([false, false], None) => name.to_owned(),
        _ => panic!("{body}"),
    }
}

/// Returns the ids of the failed messages.
fn failures(outcome: &Outcome) -> Vec<String> {
    let InvocationResult::Response(payload) = &outcome.result else {
        panic!("{outcome:?}");
    };
    let response: Value = serde_json::from_slice(payload).unwrap();
    let failures = response["batchItemFailures"].as_array().unwrap().iter();
    let id = |failure: &Value| failure["itemIdentifier"].as_str().unwrap().to_owned();
    failures.map(id).collect()
}

const STEPS: [&str; 2] = ["inner-0", "step-0"];

#[track_caller]
fn failed_messages_are_there(documents: &[Document]) {
    assert_eq!(trace(documents, 11), [""; 0], "it succeeded");
    let failed = [&STEPS[..], &["victim: Error"]].concat();
    assert_eq!(trace(documents, 12), failed);
    let panicked = [&["doomed: panic"], &STEPS[..], &["victim: panic"]].concat();
    assert_eq!(trace(documents, 13), panicked);
}

/// Invokes it with the batch, and kills it in the last message. Messages are handled one after the
/// other, so the others have ended.
async fn killed(victim: &Victim, decision: &str) -> Vec<Document> {
    let invoked = victim.invoke_unsampled(1, batch("wait", decision));
    let (outcome, ()) = tokio::join!(invoked, async {
        victim.noted(Verb::Begun, 14, "doomed", 1).await;
        assert!(victim.environment.kill_function().await);
    });
    assert!(!outcome.is_response(), "{outcome:?}");
    victim.shutdown().await;
    victim.world.sound_documents().await
}

/// Returns the documents of the invocation's trace when it ended in the last message like `how`.
fn invocation(how: &str) -> Vec<String> {
    let failed = ["m-12: error", "m-13: error"];
    let mut lines = vec!["init".to_owned(), "m-11".to_owned(), "settings".to_owned()];
    lines.extend(failed.map(str::to_owned));
    lines.extend(["m-14", "victim"].map(|name| format!("{name}: {how}")));
    lines.sort_unstable();
    lines
}

fn doomed(how: &str) -> Vec<String> {
    let ended = |name: &str| format!("{name}: {how}");
    let [inner, step] = STEPS.map(str::to_owned);
    vec![ended("doomed"), inner, step, ended("victim")]
}

#[tokio::test]
async fn kill_during_a_message_closes_message_and_invocation() {
    let victim = start(|function| function).await;
    let documents = killed(&victim, UNSAMPLED).await;
    failed_messages_are_there(&documents);
    assert_eq!(trace(&documents, 14), doomed("FunctionCrash"));
    assert_eq!(trace(&documents, 1), invocation("FunctionCrash"));
}

/// Sampled messages arrive however they end, in an unsampled invocation that dies.
#[tokio::test]
async fn kill_during_a_sampled_message_closes_message_and_invocation() {
    let victim = start(|function| function).await;
    let documents = killed(&victim, "Sampled=1").await;
    let good = [&STEPS[..], &["victim"]].concat();
    assert_eq!(trace(&documents, 11), good);
    assert_eq!(trace(&documents, 14), doomed("FunctionCrash"));
    assert_eq!(trace(&documents, 1), invocation("FunctionCrash"));
    // Each message's subsegment in the invocation links to the message's segment.
    let with_origin = documents.iter().filter(|d| d.body["origin"].is_string());
    let segments: Vec<_> = with_origin.map(|d| (&d.trace_id, &*d.id)).collect();
    let pointers = documents.iter().filter(|d| d.name.starts_with("m-"));
    for pointer in pointers {
        let link = &pointer.body["links"][0];
        let pointed = (&link["trace_id"], &link["id"]);
        let is = |(root, id): &(&String, &str)| pointed == (&json!(root), &json!(id));
        assert!(segments.iter().any(is), "{}", pointer.body);
    }
}

/// A message that blocks its thread cannot be cancelled.
#[tokio::test]
async fn timeout_during_a_message_closes_message_and_invocation() {
    let victim = start(|function| function.timeout(TIMEOUT)).await;
    let outcome = victim.invoke_unsampled(1, batch("block", UNSAMPLED)).await;
    let timed_out = InvocationResult::TimedOut { after: TIMEOUT };
    assert_eq!(outcome.result, timed_out);
    victim.shutdown().await;
    let documents = victim.world.sound_documents().await;
    failed_messages_are_there(&documents);
    assert_eq!(trace(&documents, 14), doomed("FunctionTimeout"));
    assert_eq!(trace(&documents, 1), invocation("FunctionTimeout"));
}

/// A message that awaits is cancelled in time: the batch is answered, and the invocation succeeds.
#[tokio::test]
async fn message_past_the_deadline_margin_is_cancelled() {
    let victim = start(|function| function.timeout(TIMEOUT)).await;
    let mut batch = batch("wait", UNSAMPLED);
    batch["margin_seconds"] = (TIMEOUT / 2).as_secs().into();
    let outcome = victim.invoke_unsampled(1, batch).await;
    assert_eq!(failures(&outcome), ["m-12", "m-13", "m-14"]);
    victim.shutdown().await;
    let documents = victim.world.sound_documents().await;
    failed_messages_are_there(&documents);
    assert_eq!(trace(&documents, 14), doomed("Cancelled"));
    assert_eq!(trace(&documents, 1), [""; 0]);
}

/// The function itself sent the messages that failed. Its death must not reveal the others.
#[tokio::test]
async fn kill_after_the_reply_reveals_no_successful_message() {
    let victim = start(|function| function).await;
    let outcome = victim.invoke_unsampled(1, batch("return", UNSAMPLED)).await;
    assert_eq!(failures(&outcome), ["m-12", "m-13"]);
    victim.settled(1).await;
    assert!(victim.environment.kill_function().await);
    victim.shutdown().await;
    let documents = victim.world.sound_documents().await;
    failed_messages_are_there(&documents);
    for n in [1, 14] {
        assert_eq!(trace(&documents, n), [""; 0], "{n}");
    }
}

/// Such a message is part of the invocation, which fails with it although it was answered.
#[tokio::test]
async fn failed_message_without_a_context_makes_the_invocation_arrive() {
    let victim = start(|function| function).await;
    for (n, then) in [(1, "return"), (2, "fail")] {
        let records = [message(11, then, ""), message(12, "return", UNSAMPLED)];
        let outcome = victim.invoke_unsampled(n, json!({ "Records": records }));
        assert_eq!(failures(&outcome.await).len(), usize::from(then == "fail"));
    }
    victim.shutdown().await;
    let documents = victim.world.sound_documents().await;
    for n in [1, 11, 12] {
        assert_eq!(trace(&documents, n), [""; 0], "{n}");
    }
    let failed = [&STEPS[..], &["m-11: Error", "m-12", "victim"]].concat();
    let (mut found, mut failed) = (trace(&documents, 2), failed);
    found.sort_unstable();
    failed.sort_unstable();
    assert_eq!(found, failed);
}

/// Concurrent messages that succeed unless the function dies: messages that had not ended are
/// closed, and messages that had ended do not arrive.
#[tokio::test]
async fn function_with_concurrent_messages_is_killed_at_random_moments() {
    const MESSAGES: std::ops::Range<u64> = 11..14;
    let records: Vec<_> = MESSAGES.map(|n| message(n, "return", UNSAMPLED)).collect();
    let batch = json!({ "Records": records, "concurrency": records.len() });
    // Each message writes four lines for itself and fourteen for its step.
    let lines = 8 + MESSAGES.count() * 18;
    let mut rounds = Rounds::new("unsampled batch, killed", 6, 100);
    for number in rounds.numbers() {
        let moment = Moment::random(&mut rounds.random(number), lines);
        let pace = Victim::pace(number);
        let victim = start(|function| function.env("PACE_MICROS", pace)).await;
        for n in MESSAGES {
            victim.pen().note(Verb::Begin, n, "victim", "");
        }
        let strike = kill_function(&victim.environment);
        let striker = Striker::new(moment, &victim.journal, strike);
        let outcome = victim.invoke_unsampled(1, batch.clone()).await;
        striker.finish().await;
        victim.shutdown().await;
        rounds.struck(&victim);
        let problems = problems(&victim, &outcome, MESSAGES).await;
        assert!(problems.is_empty(), "{}\n{problems}", rounds.name(number));
    }
    rounds.report("");
}

/// Returns what is wrong with the documents; empty if nothing is.
async fn problems(victim: &Victim, outcome: &Outcome, messages: std::ops::Range<u64>) -> String {
    let documents = match victim.world.documents().await {
        Ok(documents) => documents,
        Err(problem) => return problem,
    };
    let entries = victim.journal.entries();
    for n in messages.chain([1]) {
        let mine: Vec<_> = entries.iter().filter(|e| e.invocation == n).collect();
        let ended = mine
            .iter()
            .any(|e| e.name == "victim" && e.verb == Verb::Finish);
        let silent = documents
            .iter()
            .all(|document| document.trace_id != root(n));
        // A kill after its last line may have come before its end or after it.
        if outcome.is_response() || (ended && silent) {
            for entry in mine {
                victim.pen().note(Verb::Absent, n, &entry.name, "");
            }
        }
    }
    // The journal has no entries of the messages' subsegments in the invocation.
    let (pointers, works): (Vec<_>, Vec<_>) = documents
        .into_iter()
        .partition(|document| document.name.starts_with("m-"));
    let mut problems = victim.oracle().problems(&works, "FunctionCrash");
    let handler = works
        .iter()
        .find(|document| document.trace_id == root(1) && document.name == "victim");
    for pointer in pointers {
        let parent = handler.map(|handler| handler.id.as_str());
        let cause = &pointer.body["cause"]["exceptions"][0]["type"];
        let ended = cause.is_null() || cause == "FunctionCrash";
        if pointer.trace_id != root(1) || pointer.parent_id.as_deref() != parent || !ended {
            problems.push(format!(
                "not a subsegment of the invocation: {}",
                pointer.body
            ));
        }
    }
    problems.join("\n")
}
