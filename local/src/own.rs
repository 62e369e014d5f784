//! A function of the user's own, under the emulator: run once for each event, or kept up behind
//! HTTP.
//!
//! It gets the variables that Lambda documents, with credentials that nobody knows, and those that
//! it is given: `AWS_ENDPOINT_URL` leads its calls to an emulator of AWS, `AWS_ACCESS_KEY_ID` and
//! the like to AWS itself.

mod arguments;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tracestitch_wire::header::{Sampling, TraceHeader};

use crate::api_gateway::ApiGateway;
use crate::daemon::Daemon;
use crate::emulator::{Environment, Function, Invoke, Outcome, Tracing};
use crate::error::Result;
use crate::programs;
use crate::store::Store;
use crate::tree::Trace;
use crate::view::Viewer;

/// For the init phase (AWS Lambda developer guide, "Execution environment lifecycle"), or the
/// timeout when that is longer: whoever gives a function more time gives it to both.
const INIT: Duration = Duration::from_secs(10);
/// For documents that are still on their way when the processes have ended.
const ARRIVAL: Duration = Duration::from_secs(10);

/// A function to run, and what it gets to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// What would be `bootstrap` on Lambda.
    pub program: PathBuf,
    /// Files with one event each, in JSON. Without any the function is kept up behind HTTP.
    pub events: Vec<PathBuf>,
    /// Environment variables beside those that Lambda sets.
    pub variables: Vec<(String, String)>,
    /// The function's timeout.
    pub timeout: Duration,
    /// The caller's `X-Amzn-Trace-Id`; `None` has Lambda begin a trace that is recorded.
    pub trace_header: Option<String>,
    /// The program of the extension; `None` has cargo build it in the workspace.
    pub extension: Option<PathBuf>,
}

impl Own {
    /// Runs it. What the processes write goes to standard error, answers and traces go to `out`.
    /// True when every event was answered.
    ///
    /// Without events it stays up, with a [`Viewer`], until the future is dropped.
    ///
    /// # Errors
    ///
    /// An event that is no JSON, a part that cannot be started.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let events = self.events.iter().map(|path| Ok((path, read(path)?)));
        let events = events.collect::<Result<Vec<_>, String>>()?;
        let extension = match &self.extension {
            Some(path) => path.clone(),
            None => programs::extension().await?,
        };
        let (_layer, extension) = programs::layer(&extension)?;
        let daemon = Arc::new(Daemon::start()?);
        let mut function = Function::new(name(&self.program), &self.program)
            .extension(extension)
            .tracing(Tracing::Active)
            .xray_daemon(daemon.address())
            .timeout(self.timeout)
            .init_limit(self.timeout.max(INIT))
            .echo(true);
        for (name, value) in &self.variables {
            function = function.env(name, value);
        }
        let environment = function.start().await?;
        if events.is_empty() {
            return serve(environment, daemon, out).await;
        }
        self.once_each(&events, &environment, &daemon, out).await
    }

    async fn once_each(
        &self,
        events: &[(&PathBuf, String)],
        environment: &Environment,
        daemon: &Daemon,
        out: &mut impl Write,
    ) -> Result<bool> {
        let mut outcomes = Vec::new();
        for (path, event) in events {
            let header = self.trace_header.as_deref().unwrap_or_default();
            let invoke = Invoke::new(event.clone()).trace_header(header);
            let outcome = environment.invoke(invoke).await;
            let payload = outcome.payload();
            let failed = if outcome.is_response() { "" } else { "FAILED " };
            let payload = String::from_utf8_lossy(&payload);
            writeln!(out, "{}: {failed}{payload}", path.display())?;
            outcomes.push(outcome);
        }
        environment.shutdown().await;
        let complete = |store: &Store| outcomes.iter().all(|outcome| is_complete(store, outcome));
        // What has not come by now is missing below, where it can be seen.
        let _ = daemon.wait_for(complete, ARRIVAL).await;
        let (traces, refused, untraced) = daemon.read(|store| {
            let untraced = outcomes.iter().any(|outcome| is_untraced(store, outcome));
            (Trace::all(store), store.refused().to_vec(), untraced)
        });
        for trace in traces {
            writeln!(out, "\n{trace}")?;
        }
        for refused in refused {
            let (field, reason) = (refused.field, refused.reason);
            writeln!(out, "X-Ray would refuse a document: {field} {reason}")?;
        }
        if untraced {
            writeln!(
                out,
                "The function itself recorded nothing: tracing is switched off, or its handler is run \
                 by something else than tracestitch::run, tracestitch::http::run or a TraceLayer."
            )?;
        }
        Ok(outcomes.iter().all(Outcome::is_response))
    }
}

/// The function's name: that of the program, or of its folder where it has the name that Lambda
/// wants, as in `target/lambda/orders/bootstrap`.
fn name(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name);
    let name = match program.file_name() {
        Some(name) if name == "bootstrap" => folder.unwrap_or(name),
        name => name.unwrap_or_default(),
    };
    name.to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read the event {}: {error}", path.display()))?;
    // What is no JSON would fail in the function, with an error that does not name the file.
    match serde_json::from_str::<Value>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("the event {} is no JSON: {error}", path.display())),
    }
}

/// The trace of an invocation that is recorded.
fn trace_of(outcome: &Outcome) -> Option<String> {
    let header: TraceHeader = outcome.trace_header.as_ref()?.parse().ok()?;
    (header.sampling == Sampling::Sampled).then(|| header.root.to_string())
}

/// Lambda's own two segments are there, and nothing is in progress.
fn is_complete(store: &Store, outcome: &Outcome) -> bool {
    trace_of(outcome).is_none_or(|id| {
        let documents = || store.trace(&id);
        let service = documents().find(|document| document.body["origin"] == "AWS::Lambda");
        service.is_some_and(|service| {
            documents().any(|document| {
                !document.is_subsegment && document.parent_id.as_ref() == Some(&service.id)
            })
        }) && documents().all(|document| !document.in_progress)
    })
}

/// Lambda's own two segments hold all that an unwrapped function leaves.
fn is_untraced(store: &Store, outcome: &Outcome) -> bool {
    outcome.is_response()
        && trace_of(outcome)
            .is_some_and(|id| !store.trace(&id).any(|document| document.is_subsegment))
}

async fn serve(
    environment: Environment,
    daemon: Arc<Daemon>,
    out: &mut impl Write,
) -> Result<bool> {
    let viewer = Viewer::start(daemon).await?;
    let gateway = ApiGateway::start(Arc::new(environment)).await?;
    writeln!(
        out,
        "function: {} (a request becomes an event of API Gateway, payload format 2.0)\n\
         viewer: {}\n\
         Ctrl-C ends it.",
        gateway.url(),
        viewer.url(),
    )?;
    std::future::pending().await
}

#[cfg(test)]
mod tests;
