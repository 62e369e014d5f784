//! Crashes, timeouts and shutdowns under AWS's Runtime Interface Emulator, whose SIGTERM, timeout and
//! SHUTDOWN are AWS's own.

use std::path::PathBuf;
use std::time::Duration;

use e2e::binaries;
use e2e::invocation::{Answer, Invocation};
use e2e::journal::{self, Pen, Verb};
use e2e::oracle::{Oracle, PARENT, root};
use e2e::rie::Rie;
use e2e::wait::{self, PATIENCE, TIMEOUT};
use e2e::world::World;
use serde_json::json;
use tracestitch_local::store::Document;

use crate::ends::messages;

struct Emulated {
    world: World,
    rie: Rie,
    journal: PathBuf,
}

impl Emulated {
    async fn start(timeout: Duration) -> Self {
        let world = World::start().await;
        let function = world
            .function("victim", binaries::victim())
            .timeout(timeout)
            .env("JOURNAL", "/tmp/journal")
            .env("TRACESTITCH_ERRORS", "always");
        let rie = function.start().await;
        let journal = rie.directory().join("tmp/journal");
        Self {
            world,
            rie,
            journal,
        }
    }

    async fn invoke(&self, n: u64, then: &str, decision: &str) -> Answer {
        let event = json!({ "n": n, "steps": 2, "then": then }).to_string();
        let header = format!("Root={};Parent={PARENT};{decision}", root(n));
        self.rie
            .invoke(Invocation::new(event).trace_header_verbatim(header.as_bytes()))
            .await
    }

    fn journal(&self) -> Vec<journal::Entry> {
        journal::read(&std::fs::read_to_string(&self.journal).unwrap_or_default())
    }

    /// Returns the documents, which are exactly the expected ones.
    async fn documents(&self, why: &str) -> Vec<Document> {
        let documents = self.world.sound_documents().await;
        let problems = Oracle::new(&self.journal()).problems(&documents, why);
        assert!(
            problems.is_empty(),
            "{}\n{}",
            problems.join("\n"),
            self.rie.logs()
        );
        documents
    }
}

const SAMPLED: &str = "Sampled=1";
const UNSAMPLED: &str = "Sampled=0";

/// Runs an invocation that ends as `then` says, and a complete one after it.
async fn end(decision: &str, then: &str, status: u16, why: &str, words: &str) {
    let timeout = match why {
        "FunctionTimeout" => TIMEOUT,
        _ => PATIENCE,
    };
    let mut emulated = Emulated::start(timeout).await;
    let answer = emulated.invoke(1, then, decision).await;
    assert_eq!(
        answer.status,
        status,
        "{:?}\n{}",
        answer.body,
        emulated.rie.logs()
    );
    let next = emulated.invoke(2, "return", decision).await;
    assert_eq!(next.json()["n"], 2, "{}", emulated.rie.logs());
    emulated.rie.stop().await;
    let pen = Pen::new(&emulated.journal);
    pen.note(Verb::Over, 0, "", "");
    pen.note(Verb::Finished, 2, "victim", "");
    if decision == UNSAMPLED {
        // It succeeded, so nothing of it is recorded.
        let second = emulated.journal().into_iter();
        for entry in second.filter(|entry| entry.invocation == 2) {
            pen.note(Verb::Absent, 2, &entry.name, "");
        }
    }
    let documents = emulated.documents(why).await;
    let messages = messages(&documents);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages.iter().all(|message| message.contains(words)),
        "{messages:?}"
    );
}

/// The emulator answers a timeout with status 200 and a text.
#[tokio::test]
async fn timeout_with_a_blocked_thread_closes_open_documents() {
    end(SAMPLED, "block", 200, "FunctionTimeout", "timed out").await;
}

#[tokio::test]
async fn timeout_with_a_pending_await_closes_open_documents() {
    end(SAMPLED, "wait", 200, "FunctionTimeout", "timed out").await;
}

#[tokio::test]
async fn unsampled_timeout_arrives() {
    end(UNSAMPLED, "wait", 200, "FunctionTimeout", "timed out").await;
}

#[tokio::test]
async fn unsampled_exit_arrives() {
    end(UNSAMPLED, "exit", 502, "FunctionCrash", "exited").await;
}

#[tokio::test]
async fn exit_closes_open_documents() {
    end(SAMPLED, "exit", 502, "FunctionCrash", "exited").await;
}

#[tokio::test]
async fn abort_closes_open_documents() {
    end(SAMPLED, "abort", 502, "FunctionCrash", "crashed").await;
}

#[tokio::test]
async fn stack_overflow_closes_open_documents() {
    end(SAMPLED, "overflow", 502, "FunctionCrash", "crashed").await;
}

#[tokio::test]
async fn exhausted_memory_closes_open_documents() {
    end(
        SAMPLED,
        "allocate",
        502,
        "FunctionCrash",
        "ran out of memory",
    )
    .await;
}

/// SIGTERM in the middle of an invocation.
#[tokio::test]
async fn shutdown_during_an_invocation_closes_open_documents() {
    let mut emulated = Emulated::start(PATIENCE).await;
    let doomed = async {
        wait::until("the handler's last step", || {
            let journal = emulated.journal();
            let begun = |entry: &&journal::Entry| entry.verb == Verb::Begun;
            let mut begun = journal.iter().filter(begun);
            begun.any(|entry| entry.name == "doomed").then_some(())
        })
        .await;
    };
    tokio::select! {
        answer = emulated.invoke(1, "wait", SAMPLED) => panic!("{answer:?}"),
        () = doomed => {}
    }
    emulated.rie.stop_at_once().await;
    Pen::new(&emulated.journal).note(Verb::Over, 0, "", "");
    let documents = emulated.documents("FunctionStopped").await;
    let messages = messages(&documents);
    assert_eq!(messages.len(), 2, "{messages:?}");
}
