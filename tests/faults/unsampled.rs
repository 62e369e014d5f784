//! Unsampled invocations under `TRACESTITCH_ERRORS=always`: an invocation that crashes or times out
//! arrives as if it had been sampled. A successful invocation does not arrive, however its process
//! ends later.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use e2e::binaries;
use e2e::fake_aws::Reaction;
use e2e::journal::Verb;
use e2e::oracle::{PARENT, root};
use e2e::wait::{PATIENCE, TIMEOUT};
use e2e::world::World;
use serde_json::{Value, json};
use tracestitch_local::emulator::{Function, InvocationResult, Outcome};
use tracestitch_local::store::Document;

use crate::ends::messages;
use crate::moments::{Moment, PACE_MICROS, Striker};
use crate::rounds::Rounds;
use crate::strikes::{kill_function, stop_extension};
use crate::victim::{Victim, plenty};

async fn start(configure: impl FnOnce(Function, &World) -> Function) -> Victim {
    Victim::start_with(|function, world| configure(errors_always(function), world)).await
}

fn errors_always(function: Function) -> Function {
    function.env("TRACESTITCH_ERRORS", "always")
}

/// Returns work that ends as `end` says.
fn then(end: impl Into<Value>) -> Value {
    let mut work = plenty();
    work["then"] = end.into();
    work
}

/// Ends the environment and returns the documents of the invocations that were not answered,
/// as if these had been sampled, and no others.
async fn end(victim: &Victim, outcomes: &[Outcome], why: &str) -> Result<Vec<Document>, String> {
    victim.shutdown().await;
    let received = victim.world.documents().await?;
    let entries = victim.journal.entries();
    for (n, outcome) in (1..).zip(outcomes) {
        let mut mine = entries.iter().filter(|entry| entry.invocation == n);
        let ending = |verb| matches!(verb, Verb::Finish | Verb::Finished);
        let handled = mine.any(|entry| entry.name == "victim" && ending(entry.verb));
        let silent = received.iter().all(|document| document.trace_id != root(n));
        // A kill between the handler's end and the reply may come after the tracer has discarded the
        // success, which is not in the journal.
        if outcome.is_response() || (handled && silent) {
            for entry in entries.iter().filter(|entry| entry.invocation == n) {
                victim.pen().note(Verb::Absent, n, &entry.name, "");
            }
        }
    }
    let documents = victim.documents(why).await?;
    for document in &documents {
        let segment = !document.is_subsegment;
        let sound = match document.name.as_str() {
            "victim" => segment && document.body["fault"] == true,
            "init" => segment,
            _ => document.parent_id.is_some(),
        };
        let marked = document.body["annotations"]["unsampled"] == true;
        if !sound || marked != segment || document.parent_id.as_deref() == Some(PARENT) {
            return Err(format!(
                "not a document of an unsampled trace: {}",
                document.body
            ));
        }
    }
    Ok(documents)
}

/// Returns the documents, of which the extension closed `closed`.
async fn dead(victim: &Victim, outcomes: &[Outcome], why: &str, closed: usize) -> Vec<Document> {
    let documents = end(victim, outcomes, why).await;
    let documents = documents.unwrap_or_else(|problems| panic!("{problems}"));
    let messages = messages(&documents);
    assert_eq!(messages.len(), closed, "{messages:?}");
    documents
}

async fn nothing(victim: &Victim, outcomes: &[Outcome]) {
    let answered = outcomes.iter().all(Outcome::is_response);
    assert!(answered, "{outcomes:?}");
    dead(victim, outcomes, "nothing", 0).await;
    let documents = victim.world.sound_documents().await;
    assert!(documents.is_empty(), "{documents:?}");
}

/// Runs an invocation that ends as `how` says between two that succeed.
async fn crash(how: &str, code: Option<i32>, signal: Option<i32>) {
    let victim = start(|function, _| function).await;
    let outcomes = [
        victim.invoke_unsampled(1, plenty()).await,
        victim.invoke_unsampled(2, then(how)).await,
        victim.invoke_unsampled(3, plenty()).await,
    ];
    let InvocationResult::Crashed {
        status: Some(status),
        ..
    } = &outcomes[1].result
    else {
        panic!("{how}: {outcomes:?}");
    };
    assert_eq!((status.code(), status.signal()), (code, signal), "{how}");
    let documents = dead(&victim, &outcomes, "FunctionCrash", 2).await;
    let mut names: Vec<_> = documents.iter().map(|d| d.name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "DynamoDB", "doomed", "inner-0", "inner-1", "inner-2", "step-0", "step-1", "step-2",
        "victim",
    ];
    assert_eq!(names, expected, "{how}");
}

#[tokio::test]
async fn exit_arrives() {
    crash("exit", Some(3), None).await;
}

#[tokio::test]
async fn abort_arrives() {
    crash("abort", None, Some(6)).await;
}

/// The first invocation includes the init phase.
#[tokio::test]
async fn killed_first_invocation_arrives_with_the_init_phase() {
    let victim = start(|function, _| function).await;
    let (outcome, ()) = tokio::join!(victim.invoke_unsampled(1, then("wait")), async {
        victim.noted(Verb::Begun, 1, "doomed", 1).await;
        assert!(victim.environment.kill_function().await);
    });
    let documents = dead(&victim, &[outcome], "FunctionCrash", 2).await;
    assert_eq!(documents.len(), 9 + 2, "with the init phase: {documents:?}");
}

#[tokio::test]
async fn timeout_arrives() {
    let victim = start(|function, _| function.timeout(TIMEOUT)).await;
    let outcome = victim.invoke_unsampled(1, then("wait")).await;
    let timed_out = InvocationResult::TimedOut { after: TIMEOUT };
    assert_eq!(outcome.result, timed_out);
    dead(&victim, &[outcome], "FunctionTimeout", 2).await;
}

#[tokio::test]
async fn timeout_in_an_aws_call_arrives() {
    let victim = start(|function, _| function.timeout(TIMEOUT)).await;
    victim.world.aws.script("GetItem", [Reaction::Hang]);
    let outcome = victim.invoke_unsampled(1, plenty()).await;
    let documents = dead(&victim, &[outcome], "FunctionTimeout", 2).await;
    let call = documents.iter().find(|d| d.name == "DynamoDB").unwrap();
    assert_eq!(call.body["fault"], true, "{}", call.body);
    assert_eq!(call.body["aws"]["operation"], "GetItem", "{}", call.body);
}

#[tokio::test]
async fn panic_that_aborts_arrives() {
    let victim = Victim::start_as(binaries::aborting(), |function, _| errors_always(function));
    let victim = victim.await;
    let outcome = victim.invoke_unsampled(1, json!({})).await;
    dead(&victim, &[outcome], "FunctionCrash", 2).await;
}

/// A panic unwinds, and the function itself sends the documents.
#[tokio::test]
async fn panic_arrives() {
    let victim = start(|function, _| function).await;
    let outcome = victim.invoke_unsampled(1, then("panic")).await;
    assert!(
        matches!(outcome.result, InvocationResult::FunctionError { .. }),
        "{outcome:?}"
    );
    // It was answered with an error, so all of it arrives.
    victim.shutdown().await;
    let documents = victim.documents("panic").await;
    let documents = documents.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(messages(&documents).len(), 2);
}

#[tokio::test]
async fn kill_between_invocations_reveals_no_success() {
    let victim = start(|function, _| function).await;
    let mut outcomes = Vec::new();
    for n in 1..=2 {
        outcomes.push(victim.invoke_unsampled(n, plenty()).await);
        victim.settled(n).await;
    }
    assert!(victim.environment.kill_function().await);
    nothing(&victim, &outcomes).await;
}

/// The function dies after the reply, before the tracer signals the end.
#[tokio::test]
async fn kill_right_after_the_reply_reveals_no_success() {
    let victim = start(|function, _| function.env("MAY_HANG", "1")).await;
    let outcome = victim.invoke_unsampled(1, then("hang_after_reply")).await;
    assert!(victim.environment.kill_function().await);
    nothing(&victim, &[outcome]).await;
}

/// The function ends right after the reply, while the stopped extension has read neither all open
/// documents nor that they are discarded.
#[tokio::test]
async fn full_socket_reveals_no_success() {
    let victim = start(|function, _| {
        let slow = function
            .env("MAY_HANG", "1")
            .env("PACE_MICROS", PACE_MICROS);
        slow.timeout(TIMEOUT)
    })
    .await;
    let large = json!({ "steps": 60, "bytes": 8000, "then": "hang_after_reply" });
    let (outcome, ()) = tokio::join!(victim.invoke_unsampled(1, large), async {
        victim.noted(Verb::Begun, 1, "step-0", 1).await;
        stop_extension(&victim.environment).await;
    });
    nothing(&victim, &[outcome]).await;
}

/// Work that continues after the reply of a successful invocation is part of it, also when the
/// process dies or is shut down during that work.
#[tokio::test]
async fn open_work_after_a_success_does_not_arrive() {
    for kill in [true, false] {
        let victim = start(|function, _| function).await;
        let never = victim.file("never");
        let outcome = victim
            .invoke_unsampled(1, then(json!({ "later": never })))
            .await;
        victim.settled(1).await;
        assert!(!kill || victim.environment.kill_function().await);
        nothing(&victim, &[outcome]).await;
    }
}

/// The work ends in the next invocation, during which the process dies.
#[tokio::test]
async fn finished_work_after_a_success_does_not_arrive() {
    let victim = start(|function, _| function).await;
    let done = victim.file("done");
    let first = victim
        .invoke_unsampled(1, then(json!({ "later": done })))
        .await;
    victim.settled(1).await;
    fs::write(&done, "").unwrap();
    let (second, ()) = tokio::join!(victim.invoke_unsampled(2, then("wait")), async {
        victim.noted(Verb::Finished, 1, "later", 1).await;
        victim.noted(Verb::Begun, 2, "doomed", 1).await;
        assert!(victim.environment.kill_function().await);
    });
    let documents = dead(&victim, &[first, second], "FunctionCrash", 2).await;
    assert_eq!(documents.len(), 9, "{documents:?}");
}

#[tokio::test]
async fn concurrent_sampled_invocation_arrives() {
    let victim = start(|function, _| function.managed_instances(4)).await;
    let (unsampled, sampled) = (victim.file("unsampled"), victim.file("sampled"));
    let (first, second, ()) = tokio::join!(
        victim.invoke_unsampled(1, then(json!({ "await": unsampled }))),
        victim.invoke(2, then(json!({ "await": sampled }))),
        async {
            for n in 1..=2 {
                victim.noted(Verb::Begun, n, "doomed", 1).await;
            }
            fs::write(&unsampled, "").unwrap();
            victim.noted(Verb::Finish, 1, "victim", 1).await;
            fs::write(&sampled, "").unwrap();
        }
    );
    assert!(first.is_response() && second.is_response());
    victim.shutdown().await;
    let documents = victim.world.sound_documents().await;
    let second = root(2);
    assert!(documents.iter().all(|d| d.trace_id == second));
    assert!(documents.len() >= 9, "{documents:?}");
}

#[tokio::test]
async fn function_is_killed_at_random_moments() {
    let lines = Victim::lines(2).await;
    let mut rounds = Rounds::new("unsampled, killed", 8, 200);
    for number in rounds.numbers() {
        let moment = Moment::random(&mut rounds.random(number), lines);
        let pace = Victim::pace(number);
        let victim = start(|function, _| function.env("PACE_MICROS", pace)).await;
        let strike = kill_function(&victim.environment);
        let striker = Striker::new(moment, &victim.journal, strike);
        let mut outcomes = Vec::new();
        for n in 1..=2 {
            outcomes.push(victim.invoke_unsampled(n, plenty()).await);
            victim.settled(n).await;
        }
        striker.finish().await;
        rounds.struck(&victim);
        let ended = end(&victim, &outcomes, "FunctionCrash").await;
        ended.unwrap_or_else(|problems| panic!("{}\n{problems}", rounds.name(number)));
    }
    rounds.report("");
}

/// The extension gets no event when one of the concurrent invocations begins.
#[tokio::test]
async fn function_with_concurrent_invocations_is_killed_at_random_moments() {
    const AT_ONCE: usize = 4;
    let lines = Victim::lines(AT_ONCE as u64).await;
    let mut rounds = Rounds::new("unsampled, killed with many at work", 4, 100);
    for number in rounds.numbers() {
        let moment = Moment::random(&mut rounds.random(number), lines);
        let pace = Victim::pace(number);
        let concurrent = |function: Function| function.managed_instances(AT_ONCE);
        let victim = start(|function, _| concurrent(function.env("PACE_MICROS", pace))).await;
        let strike = kill_function(&victim.environment);
        let striker = Striker::new(moment, &victim.journal, strike);
        let (one, two, three, four) = tokio::join!(
            victim.invoke_unsampled(1, plenty()),
            victim.invoke_unsampled(2, plenty()),
            victim.invoke_unsampled(3, plenty()),
            victim.invoke_unsampled(4, plenty()),
        );
        striker.finish().await;
        rounds.struck(&victim);
        let outcomes = [one, two, three, four];
        let ended = end(&victim, &outcomes, "FunctionCrash").await;
        ended.unwrap_or_else(|problems| panic!("{}\n{problems}", rounds.name(number)));
    }
    rounds.report("one of four in ");
}

/// Before or after the reply: SIGTERM, then SHUTDOWN.
#[tokio::test]
async fn function_times_out_at_random_moments() {
    let rounds = Rounds::new("unsampled, timeout", 6, 100);
    for number in rounds.numbers() {
        let timeout = Duration::from_micros(rounds.random(number).u64(1_000..30_000));
        let pace = Victim::pace(number);
        let victim = start(|function, _| function.env("PACE_MICROS", pace).timeout(timeout)).await;
        let mut outcomes = Vec::new();
        for n in 1..=2 {
            outcomes.push(victim.invoke_unsampled(n, plenty()).await);
            victim.settled(n).await;
        }
        let ended = end(&victim, &outcomes, "FunctionTimeout").await;
        ended.unwrap_or_else(|problems| panic!("{}\n{problems}", rounds.name(number)));
    }
    rounds.report("");
}

/// Without the extension a failure arrives; a success and a crash do not.
#[tokio::test]
async fn only_failures_arrive_without_the_extension() {
    let victim = Victim::start_alone(|function, _| errors_always(function).timeout(PATIENCE)).await;
    let good = victim.invoke_unsampled(1, plenty()).await;
    assert!(good.is_response());
    victim.invoke_unsampled(2, then("exit")).await;
    victim.settled(2).await;
    let documents = victim.world.sound_documents().await;
    assert!(documents.is_empty(), "{documents:?}");
    victim.invoke_unsampled(3, then("panic")).await;
    victim.shutdown().await;
    let documents = victim.world.sound_documents().await;
    let third = root(3);
    assert!(documents.iter().all(|d| d.trace_id == third));
    assert_eq!(messages(&documents).len(), 2, "{documents:?}");
}
