//! Settings from the environment.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use tracestitch_wire::{
    daemon::DaemonAddress,
    settings::{self, Shared, Variable},
};

use super::{carriers::Carriers, sampling::SamplingRules};
use crate::support::{diagnostics, environment};

const TRANSPORT: Variable<Route> = Variable::new(
    "TRACESTITCH_TRANSPORT",
    "auto, extension or direct",
    parse_route,
);

const IGNORE: Variable<u8> = Variable::new(
    "TRACESTITCH_IGNORE",
    "http, sqs, attribute, envelope, embedded, w3c, joined by commas",
    Carriers::parse_ignored,
);

const PATHS: Variable<Vec<String>> = Variable::new(
    "TRACESTITCH_PATHS",
    "fields joined by commas, each of keys joined by dots",
    Carriers::parse_paths,
);

const SAMPLING: Variable<SamplingRules> = Variable::new(
    "TRACESTITCH_SAMPLING",
    "rules of function=, source=, path=, reservoir=<number>, rate=<0 to 1>, such as \
     \"path=/health; reservoir=1 rate=0.05\"",
    |rules| rules.parse().ok(),
);

const ERRORS: Variable<bool> =
    Variable::new("TRACESTITCH_ERRORS", "sampled or always", parse_errors);

/// Set by Lambda: how this environment came to be (AWS Lambda developer guide, "Defined runtime
/// environment variables").
const INITIALIZATION: Variable<Initialization> = Variable::new(
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "on-demand, provisioned-concurrency, snap-start or lambda-managed-instances",
    parse_initialization,
);

/// Set by Lambda on Managed Instances: invocations that share this process at once.
const MAX_CONCURRENCY: Variable<u32> =
    Variable::new("AWS_LAMBDA_MAX_CONCURRENCY", "a number", |limit| {
        limit.parse().ok()
    });

/// Set by Lambda: level of the function's log lines.
#[cfg(feature = "tracing")]
const LAMBDA_LOG_LEVEL: Variable<tracing::Level> = Variable::new(
    "AWS_LAMBDA_LOG_LEVEL",
    "TRACE, DEBUG, INFO, WARN, ERROR or FATAL",
    parse_log_level,
);

/// All variables of tracestitch.
const KNOWN: [&str; 9] = [
    settings::DAEMON_ADDRESS.name(),
    settings::ENABLED.name(),
    ERRORS.name(),
    IGNORE.name(),
    settings::LOG.name(),
    PATHS.name(),
    SAMPLING.name(),
    settings::SOCKET.name(),
    TRANSPORT.name(),
];

/// The way of finished documents out of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the extension if it is there, else to the daemon.
    Auto,
    /// To the extension only.
    Extension,
    /// To the daemon only.
    Direct,
}

/// Kinds of environments, by the time at which they are initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initialization {
    /// For an invocation that waits, as a rule.
    OnDemand,
    /// Once, in another process, whose snapshot is resumed for an invocation.
    SnapStart,
    /// Before any invocation: provisioned concurrency, Managed Instances.
    Ahead,
}

/// All settings of the environment. Unset and invalid ones have their default.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) enabled: bool,
    pub(crate) function_name: String,
    pub(crate) socket: PathBuf,
    pub(crate) daemon: Option<DaemonAddress>,
    pub(crate) route: Route,
    /// True if several invocations share this process at once, which makes `_X_AMZN_TRACE_ID`
    /// meaningless.
    pub(crate) concurrent: bool,
    /// True if this process is resumed from a snapshot.
    pub(crate) snapshot: bool,
    pub(crate) carriers: Carriers,
    pub(crate) sampling: SamplingRules,
    /// True if unsampled work is recorded in case it fails.
    pub(crate) errors_always: bool,
}

impl Config {
    /// Reads the environment. Warns once about each invalid value and about each unknown variable
    /// that begins with `TRACESTITCH_`: its name is misspelt.
    pub(crate) fn from_env() -> Self {
        let config = Self::read(environment::variable);
        for name in environment::names().filter(|name| is_unknown(name)) {
            diagnostics::warn(format_args!(
                "{} is not a variable of tracestitch: it is ignored. Known are {}",
                name.to_string_lossy().escape_debug(),
                KNOWN.join(", ")
            ));
        }
        config
    }

    /// Settings of a function whose extension listens at `socket`.
    #[cfg(test)]
    pub(crate) fn of_tests(socket: &std::path::Path) -> Self {
        Self {
            enabled: true,
            function_name: "f".to_owned(),
            socket: socket.to_owned(),
            daemon: Some("127.0.0.1:2000".parse().unwrap()),
            route: Route::Auto,
            concurrent: false,
            snapshot: false,
            carriers: Carriers::default(),
            sampling: SamplingRules::default(),
            errors_always: false,
        }
    }

    fn read(look_up: impl Fn(&str) -> Option<OsString>) -> Self {
        let (shared, invalid) = Shared::read(&look_up);
        for error in invalid {
            diagnostics::warn(format_args!("{error}"));
        }
        let function_name = look_up("AWS_LAMBDA_FUNCTION_NAME").filter(|name| !name.is_empty());
        let lambda_daemon = || read(&settings::LAMBDA_DAEMON_ADDRESS, &look_up);
        let ignored = read(&IGNORE, &look_up).unwrap_or_default();
        let paths = read(&PATHS, &look_up).unwrap_or_default();
        Self {
            enabled: shared.enabled,
            function_name: function_name.map_or_else(
                || "function".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            socket: shared.socket,
            daemon: shared.daemon.or_else(lambda_daemon),
            route: read(&TRANSPORT, &look_up).unwrap_or(Route::Auto),
            concurrent: read(&MAX_CONCURRENCY, &look_up).is_some_and(|limit| limit > 1),
            snapshot: read_initialization(&look_up) == Initialization::SnapStart,
            carriers: Carriers::new(ignored, paths),
            sampling: read(&SAMPLING, &look_up).unwrap_or_default(),
            errors_always: read(&ERRORS, &look_up).unwrap_or_default(),
        }
    }
}

/// Reads one variable. Warns if its value is invalid.
fn read<T>(variable: &Variable<T>, look_up: impl FnOnce(&str) -> Option<OsString>) -> Option<T> {
    variable.read(look_up).unwrap_or_else(|error| {
        diagnostics::warn(format_args!("{error}"));
        None
    })
}

fn is_unknown(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b"TRACESTITCH_") && !KNOWN.iter().any(|known| known.as_bytes() == bytes)
}

fn parse_route(text: &str) -> Option<Route> {
    Some(match text.to_ascii_lowercase().as_str() {
        "auto" => Route::Auto,
        "extension" => Route::Extension,
        "direct" => Route::Direct,
        _ => return None,
    })
}

fn parse_errors(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "always" => Some(true),
        "sampled" => Some(false),
        _ => None,
    }
}

/// Kinds that Lambda may add later count as on demand.
fn parse_initialization(text: &str) -> Option<Initialization> {
    Some(match text {
        "snap-start" => Initialization::SnapStart,
        "provisioned-concurrency" | "lambda-managed-instances" => Initialization::Ahead,
        _ => Initialization::OnDemand,
    })
}

fn read_initialization(look_up: impl FnOnce(&str) -> Option<OsString>) -> Initialization {
    read(&INITIALIZATION, look_up).unwrap_or(Initialization::OnDemand)
}

/// Returns how this environment came to be.
pub(crate) fn initialization() -> Initialization {
    read_initialization(environment::variable)
}

/// Returns the trace header that `lambda_runtime` put into the environment for this invocation.
/// Valid only while one invocation runs at a time.
pub(crate) fn trace_header_variable() -> Option<String> {
    environment::variable("_X_AMZN_TRACE_ID")?
        .into_string()
        .ok()
}

/// Returns true if there is an init phase to record: in Lambda, unless tracing is switched off.
///
/// A snapshot was initialised once for all processes that are resumed from it, and an environment
/// that is made ahead long before its first invocation.
pub(crate) fn has_init_phase() -> bool {
    let enabled = settings::ENABLED.read(environment::variable);
    environment::variable("AWS_LAMBDA_RUNTIME_API").is_some()
        && initialization() == Initialization::OnDemand
        && enabled != Ok(Some(false))
}

/// Returns the least severe level of log lines that the function's configuration asks for.
#[cfg(feature = "tracing")]
pub(crate) fn log_level() -> tracing::Level {
    read(&LAMBDA_LOG_LEVEL, environment::variable).unwrap_or(tracing::Level::INFO)
}

#[cfg(feature = "tracing")]
fn parse_log_level(text: &str) -> Option<tracing::Level> {
    if text.eq_ignore_ascii_case("fatal") {
        return Some(tracing::Level::ERROR);
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use tracestitch_wire::handoff;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Config {
        Config::read(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        })
    }

    #[test]
    fn defaults() {
        let config = read(&[]);
        assert!(config.enabled && !config.concurrent);
        assert_eq!(config.socket, PathBuf::from(handoff::DEFAULT_SOCKET));
        assert_eq!((config.route, config.daemon), (Route::Auto, None));
    }

    #[test]
    fn variable_that_is_not_read_is_unknown() {
        let asked = std::cell::RefCell::new(Vec::new());
        Config::read(|name| {
            asked.borrow_mut().push(name.to_owned());
            None
        });
        let mut asked = asked.into_inner();
        asked.retain(|name| name.starts_with("TRACESTITCH_"));
        asked.sort();
        assert_eq!(asked, KNOWN);
        for (name, unknown, reason) in [
            (KNOWN[2], false, "read"),
            (concat!("TRACESTITCH_", "ERROR"), true, "misspelt"),
            ("TRACESTITCH", false, "without the prefix"),
            ("PATH", false, "of another program"),
        ] {
            assert_eq!(is_unknown(OsStr::new(name)), unknown, "{name}: {reason}");
        }
    }

    #[test]
    fn values() {
        let config = read(&[
            ("TRACESTITCH_ENABLED", "FALSE"),
            ("TRACESTITCH_SOCKET", "/tmp/a/b.sock"),
            ("TRACESTITCH_TRANSPORT", "direct"),
            ("TRACESTITCH_DAEMON_ADDRESS", "127.0.0.1:3000"),
            ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
            ("AWS_LAMBDA_FUNCTION_NAME", "order-api"),
            ("AWS_LAMBDA_MAX_CONCURRENCY", "16"),
        ]);
        assert!(!config.enabled && config.concurrent);
        assert_eq!(config.socket, PathBuf::from("/tmp/a/b.sock"));
        assert_eq!(config.route, Route::Direct);
        assert_eq!(config.daemon.unwrap().port(), 3000, "ours wins");
        assert_eq!(config.function_name, "order-api");
    }

    #[test]
    fn environments_are_told_apart_by_the_time_of_their_init_phase() {
        for (value, expected) in [
            ("on-demand", Initialization::OnDemand),
            ("snap-start", Initialization::SnapStart),
            ("provisioned-concurrency", Initialization::Ahead),
            ("lambda-managed-instances", Initialization::Ahead),
            ("a kind to come", Initialization::OnDemand),
            ("", Initialization::OnDemand),
        ] {
            let found = read_initialization(|_| Some(value.into()));
            assert_eq!(found, expected, "{value}");
        }
        assert_eq!(read_initialization(|_| None), Initialization::OnDemand);
    }

    #[test]
    fn invalid_values_become_defaults() {
        for (name, value, reason) in [
            ("TRACESTITCH_ENABLED", "maybe", "not a boolean"),
            ("TRACESTITCH_SOCKET", "relative", "not absolute"),
            (
                "TRACESTITCH_SOCKET",
                &format!("/{}", "x".repeat(200)),
                "too long",
            ),
            ("TRACESTITCH_TRANSPORT", "pigeon", "unknown"),
            ("TRACESTITCH_DAEMON_ADDRESS", "nowhere", "no port"),
        ] {
            let config = read(&[(name, value)]);
            assert!(config.enabled, "{reason}");
            assert_eq!(
                config.socket,
                PathBuf::from(handoff::DEFAULT_SOCKET),
                "{reason}"
            );
            assert_eq!(
                (config.route, config.daemon),
                (Route::Auto, None),
                "{reason}"
            );
        }
    }

    #[test]
    fn invalid_daemon_address_leaves_the_address_of_lambda() {
        let config = read(&[
            ("TRACESTITCH_DAEMON_ADDRESS", "nowhere"),
            ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
        ]);
        assert_eq!(config.daemon.unwrap().port(), 2000);
    }
}
