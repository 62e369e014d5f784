//! A function of the user's under the emulator: invoked once for each event, or kept up behind
//! HTTP.
//!
//! The function gets the variables that Lambda documents, with invalid credentials, and the
//! user's: `AWS_ENDPOINT_URL` directs its calls to an emulator of AWS, `AWS_ACCESS_KEY_ID` and
//! the other credentials to AWS itself.

mod event;
mod options;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracestitch_wire::header::{Sampling, TraceHeader};

use crate::api_gateway::ApiGateway;
use crate::daemon::Daemon;
use crate::emulator::{Environment, Function, Invoke, Outcome, Tracing};
use crate::error::Result;
use crate::programs;
use crate::store::Store;
use crate::view::Viewer;
use event::Event;
pub use options::RunOptions;

/// Limit of the init phase (AWS Lambda developer guide, "Execution environment lifecycle"); a
/// longer timeout of the function applies to the init phase too.
const INIT: Duration = Duration::from_secs(10);
/// Time for documents to arrive after the processes have ended.
const ARRIVAL: Duration = Duration::from_secs(10);

impl RunOptions {
    /// Runs the function. Writes answers and traces to `out`, and the output of the processes to
    /// standard error. Returns whether every event was answered.
    ///
    /// Without events the function remains up, with a [`Viewer`], until the future is dropped.
    ///
    /// # Errors
    ///
    /// Fails if an event is not JSON or if a part cannot be started.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let mut events = Vec::new();
        for path in &self.events {
            events.push(Event::read(path).await?);
        }
        let extension = match &self.extension {
            Some(path) => path.clone(),
            None => programs::extension()?,
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
        self.invoke_for_each(&events, &environment, &daemon, out)
            .await
    }

    async fn invoke_for_each(
        &self,
        events: &[Event],
        environment: &Environment,
        daemon: &Daemon,
        out: &mut impl Write,
    ) -> Result<bool> {
        let mut outcomes = Vec::new();
        for event in events {
            let header = self.trace_header.as_deref().unwrap_or_default();
            let invoke = Invoke::new(event.json.clone()).trace_header(header);
            let outcome = environment.invoke(invoke).await;
            let payload = outcome.payload();
            let failed = if outcome.is_response() { "" } else { "FAILED " };
            let payload = String::from_utf8_lossy(&payload);
            writeln!(out, "{}: {failed}{payload}", event.name)?;
            outcomes.push(outcome);
        }
        environment.shutdown().await;
        let is_complete = |store: &Store| outcomes.iter().all(|o| is_complete(store, o));
        // A document that is still missing after this is missing from the output, too.
        let _ = daemon.wait_for(is_complete, ARRIVAL).await;
        let (traces, refused, untraced) = daemon.read(|store| {
            let untraced = outcomes.iter().any(|outcome| is_untraced(store, outcome));
            (store.traces(), store.refused().to_vec(), untraced)
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
                "The function itself recorded nothing: tracing is switched off, or the handler \
                 does not run under tracestitch::run, tracestitch::http::run or a TraceLayer."
            )?;
        }
        Ok(outcomes.iter().all(Outcome::is_response))
    }
}

/// Returns the function's name: the program's, or its folder's for a program with the name that
/// Lambda requires, as in `target/lambda/orders/bootstrap`.
fn name(program: &Path) -> String {
    let folder = program.parent().and_then(Path::file_name);
    let name = match program.file_name() {
        Some(name) if name == "bootstrap" => folder.unwrap_or(name),
        name => name.unwrap_or_default(),
    };
    name.to_string_lossy().into_owned()
}

/// Returns the trace id of an invocation, if it is sampled.
fn sampled_trace(outcome: &Outcome) -> Option<String> {
    let header: TraceHeader = outcome.trace_header.as_ref()?.parse().ok()?;
    (header.sampling == Sampling::Sampled).then(|| header.root.to_string())
}

/// Returns whether Lambda's own two segments have arrived and no document is in progress.
fn is_complete(store: &Store, outcome: &Outcome) -> bool {
    sampled_trace(outcome).is_none_or(|id| {
        let documents = || store.trace(&id);
        let service = documents().find(|document| document.body["origin"] == "AWS::Lambda");
        service.is_some_and(|service| {
            documents().any(|document| {
                !document.is_subsegment && document.parent_id.as_ref() == Some(&service.id)
            })
        }) && documents().all(|document| !document.in_progress)
    })
}

/// Returns whether an answered invocation left nothing but Lambda's own two segments.
fn is_untraced(store: &Store, outcome: &Outcome) -> bool {
    outcome.is_response()
        && sampled_trace(outcome)
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
mod tests {
    use super::*;

    #[test]
    fn function_is_named_after_program_or_folder() {
        for (program, expected) in [
            ("target/debug/orders", "orders"),
            ("target/lambda/orders/bootstrap", "orders"),
            ("bootstrap", "bootstrap"),
        ] {
            assert_eq!(name(Path::new(program)), expected);
        }
    }
}
