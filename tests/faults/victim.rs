//! The function under test with its journal, extension, daemon and AWS endpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use e2e::binaries;
use e2e::journal::{Entry, Journal, Pen, Verb};
use e2e::oracle::{Oracle, PARENT, root};
use e2e::wait;
use e2e::world::World;
use serde_json::{Value, json};
use tracestitch_local::emulator::{self, Environment, InvocationResult, Invoke, Outcome, Tracing};
use tracestitch_local::store::Document;
use tracestitch_wire::header::Sampling;
use tracestitch_wire::time::Timestamp;

use crate::moments::PACE_MICROS;

/// An environment that runs `victim`.
pub(crate) struct Victim {
    pub(crate) world: World,
    pub(crate) journal: Journal,
    pub(crate) environment: Arc<Environment>,
    /// Holds the files that the function waits for.
    pub(crate) folder: tempfile::TempDir,
}

impl Victim {
    pub(crate) async fn start() -> Self {
        Self::start_with(|function, _| function).await
    }

    /// Starts it with pauses between its steps in every other run.
    pub(crate) async fn at_pace(number: u64) -> Self {
        let pace = Self::pace(number);
        Self::start_with(|function, _| function.env("PACE_MICROS", pace)).await
    }

    pub(crate) fn pace(number: u64) -> &'static str {
        if number.is_multiple_of(2) {
            PACE_MICROS
        } else {
            "0"
        }
    }

    pub(crate) async fn start_with(
        configure: impl FnOnce(emulator::Function, &World) -> emulator::Function,
    ) -> Self {
        Self::start_as(binaries::victim(), configure).await
    }

    pub(crate) async fn start_as(
        program: &Path,
        configure: impl FnOnce(emulator::Function, &World) -> emulator::Function,
    ) -> Self {
        let world = World::start().await;
        let function = world.emulated("victim", program);
        Self::start_in(world, function, configure).await
    }

    /// Starts it without the extension.
    pub(crate) async fn start_alone(
        configure: impl FnOnce(emulator::Function, &World) -> emulator::Function,
    ) -> Self {
        let world = World::start().await;
        let function = world.emulated_alone("victim", binaries::victim());
        Self::start_in(world, function, configure).await
    }

    async fn start_in(
        world: World,
        function: emulator::Function,
        configure: impl FnOnce(emulator::Function, &World) -> emulator::Function,
    ) -> Self {
        let journal = Journal::new();
        // Lambda sends no segments, so all documents are ours.
        let function = function
            .tracing(Tracing::PassThrough)
            .timeout(wait::PATIENCE)
            .env("JOURNAL", journal.path().to_string_lossy());
        let function = configure(function, &world);
        let environment = function.start().await.expect("the programs are there");
        Self {
            world,
            journal,
            environment: Arc::new(environment),
            folder: tempfile::tempdir().expect("there is a place for temporary files"),
        }
    }

    pub(crate) fn pen(&self) -> Pen {
        self.journal.pen()
    }

    /// Returns the path of a file that does not exist yet.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until the journal has `times` such entries.
    pub(crate) async fn noted(&self, verb: Verb, n: u64, name: &str, times: usize) {
        let wanted = |e: &&Entry| e.verb == verb && e.invocation == n && e.name == name;
        wait::until(&format!("{verb:?} {name} of invocation {n}"), || {
            let count = self.journal.entries().iter().filter(wanted).count();
            (count >= times).then_some(())
        })
        .await;
    }

    /// Invokes it with `work` in a new trace, and notes the steps that the function cannot note.
    pub(crate) async fn invoke(&self, n: u64, work: Value) -> Outcome {
        self.invoke_with(n, work, "Sampled=1").await
    }

    /// Invokes it as [`Victim::invoke`], in a trace that is not sampled.
    pub(crate) async fn invoke_unsampled(&self, n: u64, work: Value) -> Outcome {
        self.invoke_with(n, work, "Sampled=0").await
    }

    async fn invoke_with(&self, n: u64, work: Value, decision: &str) -> Outcome {
        let header = format!("Root={};Parent={PARENT};{decision}", root(n));
        let pen = self.pen();
        pen.note(Verb::Held, n, "init", "");
        pen.note(Verb::Held, n, "settings", "init");
        pen.note(Verb::Begin, n, "victim", "");
        let outcome = self.untraced(n, work, Some(header)).await;
        match outcome.result {
            // The handler's subsegment ends before the reply is posted.
            InvocationResult::Response(_) => pen.note(Verb::Finished, n, "victim", ""),
            InvocationResult::FunctionError { .. } => {}
            InvocationResult::TimedOut { .. } | InvocationResult::Crashed { .. } => {
                pen.note(Verb::Over, 0, "", "");
            }
        }
        outcome
    }

    /// Invokes it with this trace header, without journal entries of the test.
    pub(crate) async fn untraced(
        &self,
        n: u64,
        mut work: Value,
        header: Option<String>,
    ) -> Outcome {
        work["n"] = n.into();
        let invoke = Invoke::new(work.to_string()).trace_header(header.unwrap_or_default());
        self.environment.invoke(invoke).await
    }

    /// Invokes it `count` times, with time between the invocations in which it is frozen.
    pub(crate) async fn invoke_all(&self, count: u64) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for n in 1..=count {
            outcomes.push(self.invoke(n, plenty()).await);
            self.settled(n).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        outcomes
    }

    /// Returns the number of lines in the journal of an undisturbed run.
    pub(crate) async fn lines(count: u64) -> usize {
        let victim = Self::start().await;
        let outcomes = victim.invoke_all(count).await;
        assert!(outcomes.iter().all(Outcome::is_response), "{outcomes:?}");
        let documents = victim.end("nothing").await;
        assert_eq!(documents.len(), victim.oracle().certain());
        victim.journal.entries().len()
    }

    /// Waits until function and extension have asked for their next event.
    pub(crate) async fn settled(&self, n: u64) {
        self.environment.settled().await;
        self.pen().note(Verb::Settled, n, "", "");
    }

    /// Waits until the documents of the invocations up to `last` are exactly the expected ones.
    pub(crate) async fn arrived(&self, last: u64) {
        let mut entries = self.journal.entries();
        entries.retain(|entry| entry.invocation <= last);
        let oracle = Oracle::new(&entries);
        let roots: Vec<_> = (1..=last).map(root).collect();
        let mut problems = Vec::new();
        let arrived = self.world.daemon.wait_for(
            |store| {
                let documents = store.documents();
                let documents = documents.filter(|document| roots.contains(&document.trace_id));
                problems = oracle.problems(&documents.cloned().collect::<Vec<_>>(), "nothing");
                problems.is_empty()
            },
            wait::PATIENCE,
        );
        if let Err(late) = arrived.await {
            panic!("{late}: {}", problems.join("\n"));
        }
    }

    /// Ends the environment.
    pub(crate) async fn shutdown(&self) {
        self.environment.shutdown().await;
        self.pen().note(Verb::Over, 0, "", "");
    }

    /// Ends the environment and returns the documents, which are exactly the expected ones. Work that
    /// did not end by itself was closed with an exception of type `why`.
    #[track_caller]
    pub(crate) fn end(&self, why: &str) -> impl Future<Output = Vec<Document>> {
        let place = std::panic::Location::caller();
        async move {
            self.shutdown().await;
            self.documents(why)
                .await
                .unwrap_or_else(|problems| panic!("at {place}\n{problems}"))
        }
    }

    /// Returns the documents, or what is wrong with them.
    pub(crate) async fn documents(&self, why: &str) -> Result<Vec<Document>, String> {
        let problems = match self.world.documents().await {
            Ok(documents) => {
                let problems = self.oracle().problems(&documents, why);
                if problems.is_empty() {
                    return Ok(documents);
                }
                problems.join("\n")
            }
            Err(problem) => problem,
        };
        let logs = self.environment.logs();
        let logs: Vec<_> = logs
            .iter()
            .map(|line| format!("{}: {}", line.source, line.text))
            .collect();
        let journal = std::fs::read_to_string(self.journal.path()).unwrap_or_default();
        let logs = logs.join("\n");
        Err(format!(
            "{problems}\n--- journal\n{journal}--- logs\n{logs}"
        ))
    }

    /// Returns the expectations of the journal and of the AWS endpoint's requests.
    pub(crate) fn oracle(&self) -> Oracle {
        let mut oracle = Oracle::new(&self.journal.entries());
        for request in self.world.aws.received() {
            let header = request
                .trace_header()
                .expect("each call carries a valid trace header");
            let root = header.root.to_string();
            let (_, invocation) = root.rsplit_once('-').unwrap_or_default();
            let invocation = u64::from_str_radix(invocation, 16).unwrap_or_default();
            // An unsampled trace passes on the id that it came with.
            let id = header
                .parent
                .filter(|_| header.sampling == Sampling::Sampled);
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            let at = Timestamp::from(request.at).as_micros();
            oracle.was_called(invocation, "DynamoDB", &id, at);
        }
        oracle
    }
}

/// Returns work with many steps.
pub(crate) fn plenty() -> Value {
    json!({ "steps": 3, "call": true })
}
