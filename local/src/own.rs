//! A function of the user's own, under the emulator: run once for each event, or kept up behind
//! HTTP.
//!
//! It gets the variables that Lambda documents, with credentials that nobody knows, and those that
//! it is given: `AWS_ENDPOINT_URL` leads its calls to an emulator of AWS, `AWS_ACCESS_KEY_ID` and
//! the like to AWS itself.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tracestitch_wire::header::{Sampling, TraceHeader};

use crate::api_gateway::ApiGateway;
use crate::daemon::Daemon;
use crate::demo::{Result, programs};
use crate::emulator::{Environment, Function, Invoke, Outcome, Tracing};
use crate::store::Store;
use crate::target::Target;
use crate::tree::Trace;
use crate::view::Viewer;

/// That of the example functions; Lambda's own default of 3 seconds is little for a debug build.
const TIMEOUT: Duration = Duration::from_secs(10);
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
    /// The function that these arguments describe:
    /// `[--env NAME[=VALUE]]... [--timeout SECONDS] [--trace HEADER] [--extension PATH] PROGRAM
    /// [EVENT]...`
    ///
    /// A variable without a value gets the one that it has here.
    ///
    /// ```
    /// use tracestitch_local::own::Own;
    ///
    /// let own = Own::from_arguments(&["--env", "TABLE_NAME=orders", "bootstrap", "event.json"])?;
    /// assert_eq!(own.variables, [("TABLE_NAME".to_owned(), "orders".to_owned())]);
    /// # Ok::<(), String>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What was expected in place of an argument that cannot be read.
    pub fn from_arguments(arguments: &[&str]) -> Result<Self, String> {
        let mut own = Self {
            program: PathBuf::new(),
            events: Vec::new(),
            variables: Vec::new(),
            timeout: TIMEOUT,
            trace_header: None,
            extension: None,
        };
        let mut arguments = arguments.iter().copied();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} lacks its value"))
            };
            match argument {
                "--env" => own.variables.push(variable(value()?)?),
                "--timeout" => {
                    let text = value()?;
                    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
                    let seconds = seconds
                        .ok_or_else(|| format!("--timeout is {text:?}, expected whole seconds"))?;
                    own.timeout = Duration::from_secs(seconds);
                }
                "--trace" => {
                    let text = value()?;
                    if let Err(error) = text.parse::<TraceHeader>() {
                        return Err(format!("--trace: {error}"));
                    }
                    own.trace_header = Some(text.to_owned());
                }
                "--extension" => own.extension = Some(value()?.into()),
                option if option.starts_with("--") => {
                    return Err(format!(
                        "{option} is unknown, expected --env, --timeout, --trace or --extension"
                    ));
                }
                program if own.program.as_os_str().is_empty() => own.program = program.into(),
                event => own.events.push(event.into()),
            }
        }
        if own.program.as_os_str().is_empty() {
            return Err("no program is named, expected the path of a function's binary".to_owned());
        }
        Ok(own)
    }

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

/// `NAME=VALUE`, or the name of a variable of this process.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match env::var(text) {
            Ok(value) => Ok((text.to_owned(), value)),
            Err(error) => Err(format!("--env {text} has no value, and here: {error}")),
        },
    }
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

/// A function whose failures are told on standard error: the gateway's client gets none of them.
struct Told(Environment);

impl Target for Told {
    async fn invoke(&self, event: Bytes, trace_header: Option<String>) -> Result<Bytes, Bytes> {
        let answer = Target::invoke(&self.0, event, trace_header).await;
        if let Err(failure) = &answer {
            // Without a standard error there is nobody to tell.
            let _ = writeln!(io::stderr(), "FAILED {}", String::from_utf8_lossy(failure));
        }
        answer
    }
}

async fn serve(
    environment: Environment,
    daemon: Arc<Daemon>,
    out: &mut impl Write,
) -> Result<bool> {
    let viewer = Viewer::start(daemon).await?;
    let gateway = ApiGateway::start(Arc::new(Told(environment))).await?;
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
    use std::sync::Mutex;

    use super::*;
    use crate::client;

    const HEADER: &str =
        "Root=1-581cf771-a006649127e371903a2de979;Parent=70de5b6f19ff9a0a;Sampled=1";

    #[test]
    fn arguments_that_are_understood() {
        let own = Own::from_arguments(&[
            "--timeout",
            "3",
            "--env",
            "A=b=c",
            "--trace",
            HEADER,
            "target/debug/mine",
            "--extension",
            "ext",
            "--env",
            "PATH",
            "one.json",
            "two.json",
        ]);
        let path = env::var("PATH").unwrap();
        let variables = [("A", "b=c"), ("PATH", &*path)];
        let expected = Own {
            program: "target/debug/mine".into(),
            events: vec!["one.json".into(), "two.json".into()],
            variables: variables.map(|(n, v)| (n.into(), v.into())).to_vec(),
            timeout: Duration::from_secs(3),
            trace_header: Some(HEADER.to_owned()),
            extension: Some("ext".into()),
        };
        assert_eq!(own, Ok(expected));
    }

    #[test]
    fn arguments_that_are_not() {
        for (arguments, said) in [
            (&[][..], "no program"),
            (&["--env"], "--env lacks its value"),
            (&["--env", "NOT_SET_ANYWHERE", "p"], "NOT_SET_ANYWHERE"),
            (&["--timeout", "1.5", "p"], "expected whole seconds"),
            (&["--timeout", "0", "p"], "expected whole seconds"),
            (&["--trace", "1-2", "p"], "--trace: expected"),
            (&["--sam", "p"], "--sam is unknown, expected --env"),
        ] {
            let error = Own::from_arguments(arguments).unwrap_err();
            assert!(error.contains(said), "{arguments:?}: {error}");
        }
    }

    /// Programs of the emulator's tests, which need python3.
    fn program(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs")).join(name)
    }

    #[tokio::test]
    async fn answers_and_traces_are_printed() {
        let folder = tempfile::tempdir().unwrap();
        let event = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let good = event("good.json", r#"{"do":"echo","n":7}"#);
        let bad = event("bad.json", r#"{"do":"exit","status":3}"#);
        let own = Own {
            program: program("bootstrap"),
            events: vec![good.clone()],
            variables: Vec::new(),
            timeout: Duration::from_secs(30),
            trace_header: None,
            extension: Some(program("extension")),
        };
        let mut out = Vec::new();
        assert!(own.run(&mut out).await.unwrap(), "all were answered");
        let out = String::from_utf8(out).unwrap();
        for said in [
            "good.json: {\"do\": \"echo\", \"n\": 7}",
            "\ntrace 1-",
            "programs  [AWS::Lambda::Function]",
            "The function itself recorded nothing",
        ] {
            assert!(out.contains(said), "{said}: {out}");
        }

        let own = Own {
            events: vec![bad, good],
            ..own
        };
        let own = Own {
            trace_header: Some(HEADER.to_owned()),
            ..own
        };
        let mut out = Vec::new();
        assert!(!own.run(&mut out).await.unwrap(), "one was not");
        let out = String::from_utf8(out).unwrap();
        for said in [
            "bad.json: FAILED {",
            "exit status: 3",
            "good.json: {",
            "FAULT",
            "\ntrace 1-581cf771-a006649127e371903a2de979",
        ] {
            assert!(out.contains(said), "{said}: {out}");
        }
    }

    /// What was printed so far.
    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Printed {
        /// The URL behind `what`, as soon as all has been printed.
        async fn url(&self, what: &str) -> String {
            loop {
                let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
                if text.contains("Ctrl-C") {
                    let rest = text.split_once(what).unwrap().1;
                    return rest.split_whitespace().next().unwrap().to_owned();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    #[tokio::test]
    async fn without_events_it_stays_up_behind_http() {
        let own = Own {
            program: program("bootstrap"),
            events: Vec::new(),
            variables: Vec::new(),
            timeout: Duration::from_secs(30),
            trace_header: None,
            extension: Some(program("extension")),
        };
        let printed = Printed::default();
        let mut out = printed.clone();
        let ask = async {
            // The function finds no `do` in an event of API Gateway, and ends.
            let answer = client::get(&printed.url("function: ").await).await.unwrap();
            assert_eq!(answer.status, 500);
            let page = format!("{}/traces", printed.url("viewer: ").await);
            let traces = client::get(&page).await.unwrap();
            assert_eq!(traces.body["refused"], serde_json::json!([]));
        };
        tokio::select! {
            ended = own.run(&mut out) => panic!("it ended: {ended:?}"),
            asked = tokio::time::timeout(Duration::from_secs(60), ask) => asked.unwrap(),
        }
    }

    #[tokio::test]
    async fn programs_that_are_not_there_are_named() {
        let own = |program: PathBuf, extension: PathBuf| Own {
            program,
            extension: Some(extension),
            events: Vec::new(),
            variables: Vec::new(),
            timeout: TIMEOUT,
            trace_header: None,
        };
        let (function, extension) = (program("bootstrap"), program("extension"));
        for (own, said) in [
            (
                own("/nowhere/mine".into(), extension),
                "run /nowhere/mine as function: No such",
            ),
            (
                own(function, "/nowhere/ext".into()),
                "run /nowhere/ext as extension: No such",
            ),
        ] {
            let error = own.run(&mut Vec::new()).await.unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_function_is_called_by_its_program_or_folder() {
        for (program, expected) in [
            ("target/debug/orders", "orders"),
            ("target/lambda/orders/bootstrap", "orders"),
            ("bootstrap", "bootstrap"),
        ] {
            assert_eq!(name(Path::new(program)), expected);
        }
    }

    #[test]
    fn events_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        let missing = read(&path).unwrap_err();
        fs::write(&path, "{").unwrap();
        let broken = read(&path).unwrap_err();
        for (error, said) in [(missing, "No such file"), (broken, "is no JSON: EOF")] {
            assert!(
                error.contains("event.json") && error.contains(said),
                "{error}"
            );
        }
    }
}
