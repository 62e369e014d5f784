//! Options of a run, and their command line.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tracestitch_wire::header::TraceHeader;

/// The default timeout. Lambda's own of 3 seconds is short for a debug build.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A function to run, and its settings.
///
/// ```
/// use std::time::Duration;
/// use tracestitch_local::run::RunOptions;
///
/// let mut options = RunOptions::new("target/debug/orders");
/// options.events.push("event.json".into());
/// options.timeout = Duration::from_secs(3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RunOptions {
    /// The function's program, the `bootstrap` on Lambda
    #[arg(value_name = "PROGRAM")]
    pub program: PathBuf,
    /// Files with one event each, in JSON; - is standard input. Without one the function is kept
    /// up behind HTTP, with a trace viewer
    #[arg(value_name = "EVENT")]
    pub events: Vec<PathBuf>,
    /// An environment variable of the function; without VALUE it is copied from here. The function
    /// has only Lambda's variables besides, with invalid credentials
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = variable)]
    pub variables: Vec<(String, String)>,
    /// The function's timeout
    #[arg(long, value_name = "SECONDS", value_parser = timeout, default_value = "10")]
    pub timeout: Duration,
    /// The caller's X-Amzn-Trace-Id; without one Lambda starts a trace that is recorded
    #[arg(long = "trace", value_name = "HEADER", value_parser = trace_header)]
    pub trace_header: Option<String>,
    /// The extension's program; by default this program is it
    #[arg(long, value_name = "PATH")]
    pub extension: Option<PathBuf>,
}

impl RunOptions {
    /// Creates the options for a program, without events and with the command line's defaults.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            events: Vec::new(),
            variables: Vec::new(),
            timeout: TIMEOUT,
            trace_header: None,
            extension: None,
        }
    }
}

/// Reads `NAME=VALUE`, or the name of a variable of this process.
fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => match env::var(text) {
            Ok(value) => Ok((text.to_owned(), value)),
            Err(error) => Err(format!("it has no value, and here: {error}")),
        },
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.ok_or("expected whole seconds, at least 1")?;
    Ok(Duration::from_secs(seconds))
}

fn trace_header(text: &str) -> Result<String, String> {
    match text.parse::<TraceHeader>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
