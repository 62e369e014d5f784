//! Batches of SQS messages, of a function that records what fails although it is not sampled
//! (`TRACESTITCH_ERRORS=always`): each message counts for itself. What failed arrives in its
//! producer's trace, what went well does not, also when the function dies in the middle of others;
//! and then the invocation arrives in its own trace.

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

/// More than the messages take that end: the stack of the panic alone may take a second.
const TIMEOUT: Duration = Duration::from_secs(8);

async fn start(configure: impl FnOnce(Function) -> Function) -> Victim {
    Victim::start_with(|function, _| configure(function.env("TRACESTITCH_ERRORS", "always"))).await
}

/// A message that ends so, in the trace of its producer, with this decision. Its queue has its
/// name: by that one knows the subsegment that the invocation's trace has of it.
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

/// One that goes well, one that fails, one that panics, and one that ends so.
fn batch(last: &str, decision: &str) -> Value {
    let ends = ["return", "fail", "panic", last];
    let messages = (11..).zip(ends).map(|(n, then)| message(n, then, decision));
    json!({ "Records": messages.collect::<Vec<_>>() })
}

/// The documents of a trace, each with the type of its cause, sorted. All but the outermost hang
/// under another.
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

/// The batch's messages that came back.
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
    assert_eq!(trace(documents, 11), [""; 0], "it went well");
    let failed = [&STEPS[..], &["victim: Error"]].concat();
    assert_eq!(trace(documents, 12), failed);
    let panicked = [&["doomed: panic"], &STEPS[..], &["victim: panic"]].concat();
    assert_eq!(trace(documents, 13), panicked);
}

/// Invokes it with the batch, and kills it in the last message. The messages come one after the
/// other: then the others are over.
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

/// What the invocation's trace has when it ended so in the last message, which ended so, too.
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
async fn killed_with_a_message_in_work() {
    let victim = start(|function| function).await;
    let documents = killed(&victim, UNSAMPLED).await;
    failed_messages_are_there(&documents);
    assert_eq!(trace(&documents, 14), doomed("FunctionCrash"));
    assert_eq!(trace(&documents, 1), invocation("FunctionCrash"));
}

/// Sampled ones arrive however they end, in an invocation that is not sampled and dies.
#[tokio::test]
async fn killed_with_a_sampled_message_in_work() {
    let victim = start(|function| function).await;
    let documents = killed(&victim, "Sampled=1").await;
    let good = [&STEPS[..], &["victim"]].concat();
    assert_eq!(trace(&documents, 11), good);
    assert_eq!(trace(&documents, 14), doomed("FunctionCrash"));
    assert_eq!(trace(&documents, 1), invocation("FunctionCrash"));
    // The subsegments of the invocation point to the segments of the messages.
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

/// Nothing gives up what blocks its thread.
#[tokio::test]
async fn timeout_with_a_message_in_work() {
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

/// What awaits is given up in time: the batch is answered, and the invocation ends well.
#[tokio::test]
async fn given_up_before_the_deadline() {
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

/// Those that failed were sent by the function; of the others nothing is left that its death
/// would bring to light.
#[tokio::test]
async fn killed_after_the_reply() {
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

/// It is work of the invocation, which has failed with it though it was answered.
#[tokio::test]
async fn a_message_without_a_context() {
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

/// All messages at once and none of them a failure but by the death of the function: those that
/// had not ended are closed, and of those that had there is nothing.
#[tokio::test]
async fn killed_at_random_moments() {
    const MESSAGES: std::ops::Range<u64> = 11..14;
    let records: Vec<_> = MESSAGES.map(|n| message(n, "return", UNSAMPLED)).collect();
    let batch = json!({ "Records": records, "concurrency": records.len() });
    // Of each message four lines of its own, and ten of its step.
    let lines = 8 + MESSAGES.count() * 14;
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
    rounds.tell("");
}

/// What is wrong with the documents, or nothing.
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
        // After its last line it may have been killed before it ended, or after.
        if outcome.is_response() || (ended && silent) {
            for entry in mine {
                victim.pen().note(Verb::Absent, n, &entry.name, "");
            }
        }
    }
    // The journal does not know of the invocation's subsegments of messages.
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
            problems.push(format!("not of the invocation: {}", pointer.body));
        }
    }
    problems.join("\n")
}
