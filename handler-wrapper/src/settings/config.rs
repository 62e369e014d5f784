//! The only reader of the environment.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use tracestitch_wire::{daemon::DaemonAddress, handoff};

use super::{carriers::Carriers, sampling::SamplingRules};
use crate::support::diagnostics::{self, Level};

/// All variables of tracestitch.
const KNOWN: [&str; 9] = [
    "TRACESTITCH_DAEMON_ADDRESS",
    "TRACESTITCH_ENABLED",
    "TRACESTITCH_ERRORS",
    "TRACESTITCH_IGNORE",
    "TRACESTITCH_LOG",
    "TRACESTITCH_PATHS",
    "TRACESTITCH_SAMPLING",
    "TRACESTITCH_SOCKET",
    "TRACESTITCH_TRANSPORT",
];

/// How finished documents leave the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the extension where there is one, else to the daemon.
    Auto,
    /// To the extension only.
    Extension,
    /// To the daemon only.
    Direct,
}

/// What the environment says, with defaults where it says nothing or nothing valid.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) enabled: bool,
    pub(crate) function_name: String,
    pub(crate) socket: PathBuf,
    pub(crate) daemon: Option<DaemonAddress>,
    pub(crate) route: Route,
    /// Whether several invocations share this process at once, which makes `_X_AMZN_TRACE_ID`
    /// meaningless.
    pub(crate) concurrent: bool,
    /// Whether this process is made from a snapshot of another that was initialised.
    pub(crate) snapshot: bool,
    pub(crate) carriers: Carriers,
    pub(crate) sampling: SamplingRules,
    /// Whether what is not sampled is recorded all the same when it fails.
    pub(crate) errors_always: bool,
}

impl Config {
    /// Reads the environment; each bad value is named in one warning and its default used. So is
    /// a variable that means nothing: its name is misspelt.
    pub(crate) fn from_env() -> Self {
        let config = Self::read(|name| env::var_os(name));
        for (name, _) in env::vars_os().filter(|(name, _)| is_unknown(name)) {
            diagnostics::warn(format_args!(
                "{} is no variable of tracestitch: it is ignored. Known are {}",
                name.to_string_lossy().escape_debug(),
                KNOWN.join(", ")
            ));
        }
        config
    }

    fn read(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| {
            let value = variable(name)?;
            (!value.is_empty()).then(|| value.to_string_lossy().into_owned())
        };
        // First, so that it holds for the warnings about the others.
        let level = parse(
            text,
            "TRACESTITCH_LOG",
            "off, error, warn, info or debug",
            Level::parse,
        );
        diagnostics::set_level(level.unwrap_or(Level::Warn));

        let enabled = parse(text, "TRACESTITCH_ENABLED", "true or false", parse_bool);
        let route = parse(
            text,
            "TRACESTITCH_TRANSPORT",
            "auto, extension or direct",
            |value| {
                Some(match value.to_ascii_lowercase().as_str() {
                    "auto" => Route::Auto,
                    "extension" => Route::Extension,
                    "direct" => Route::Direct,
                    _ => return None,
                })
            },
        );
        let socket = parse(
            text,
            "TRACESTITCH_SOCKET",
            "an absolute path of 1 to 107 bytes",
            |value| {
                (value.starts_with('/') && value.len() <= handoff::MAX_SOCKET_PATH)
                    .then(|| PathBuf::from(value))
            },
        );
        let address = "host:port or tcp:host:port udp:host:port";
        let daemon = parse(text, "TRACESTITCH_DAEMON_ADDRESS", address, |value| {
            value.parse().ok()
        })
        .or_else(|| {
            parse(text, "AWS_XRAY_DAEMON_ADDRESS", address, |value| {
                value.parse().ok()
            })
        });
        let ignored = parse(
            text,
            "TRACESTITCH_IGNORE",
            "http, sqs, attribute, envelope, embedded, w3c, joined by commas",
            Carriers::parse_ignored,
        );
        let paths = parse(
            text,
            "TRACESTITCH_PATHS",
            "fields joined by commas, each of keys joined by dots",
            Carriers::parse_paths,
        );
        let sampling = parse(
            text,
            "TRACESTITCH_SAMPLING",
            "rules of function=, source=, path=, reservoir=<number>, rate=<0 to 1>, such as \
             \"path=/health; reservoir=1 rate=0.05\"",
            |value| value.parse().ok(),
        );
        let errors_always =
            parse(
                text,
                "TRACESTITCH_ERRORS",
                "sampled or always",
                |value| match value.to_ascii_lowercase().as_str() {
                    "always" => Some(true),
                    "sampled" => Some(false),
                    _ => None,
                },
            );
        Self {
            enabled: enabled.unwrap_or(true),
            function_name: text("AWS_LAMBDA_FUNCTION_NAME")
                .unwrap_or_else(|| "function".to_owned()),
            socket: socket.unwrap_or_else(|| handoff::DEFAULT_SOCKET.into()),
            daemon,
            route: route.unwrap_or(Route::Auto),
            concurrent: text("AWS_LAMBDA_MAX_CONCURRENCY")
                .and_then(|value| value.parse::<u32>().ok())
                .is_some_and(|limit| limit > 1),
            snapshot: text("AWS_LAMBDA_INITIALIZATION_TYPE")
                .is_some_and(|kind| kind == "snap-start"),
            sampling: sampling.unwrap_or_default(),
            errors_always: errors_always.unwrap_or_default(),
            carriers: Carriers::new(ignored.unwrap_or_default(), paths.unwrap_or_default()),
        }
    }
}

fn is_unknown(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    bytes.starts_with(b"TRACESTITCH_") && !KNOWN.iter().any(|known| known.as_bytes() == bytes)
}

fn parse_bool(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn parse<T>(
    text: impl Fn(&str) -> Option<String>,
    name: &str,
    expected: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let value = text(name)?;
    let parsed = read(value.trim());
    if parsed.is_none() {
        // The value is not shown: what does not belong there may be a secret.
        diagnostics::warn(format_args!(
            "{name} is not {expected}: it is ignored and the default holds"
        ));
    }
    parsed
}

/// The trace header that `lambda_runtime` put into the environment for this invocation. Valid
/// only while one invocation runs at a time.
pub(crate) fn trace_header_variable() -> Option<String> {
    env::var("_X_AMZN_TRACE_ID").ok()
}

/// Whether there is an init phase to record: in Lambda, unless tracing is switched off. What a
/// snapshot holds was done once for all processes that are made from it, at another time.
pub(crate) fn has_init_phase() -> bool {
    let enabled = env::var("TRACESTITCH_ENABLED").ok();
    env::var_os("AWS_LAMBDA_RUNTIME_API").is_some()
        && env::var_os("AWS_LAMBDA_INITIALIZATION_TYPE").is_none_or(|kind| kind != "snap-start")
        && enabled.and_then(|value| parse_bool(value.trim())) != Some(false)
}

/// The least severe level of log lines that the function's configuration wants.
#[cfg(feature = "tracing")]
pub(crate) fn log_level() -> tracing::Level {
    let expected = "TRACE, DEBUG, INFO, WARN, ERROR or FATAL";
    let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    parse(text, "AWS_LAMBDA_LOG_LEVEL", expected, |level| {
        if level.eq_ignore_ascii_case("fatal") {
            return Some(tracing::Level::ERROR);
        }
        level.parse().ok()
    })
    .unwrap_or(tracing::Level::INFO)
}

#[cfg(test)]
mod tests {
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
    fn a_variable_that_is_not_read_is_unknown() {
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
            ("TRACESTITCH", false, "of somebody else"),
            ("PATH", false, "of somebody else"),
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
    fn bad_values_become_defaults() {
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
    fn a_bad_address_of_ours_leaves_that_of_lambda() {
        let config = read(&[
            ("TRACESTITCH_DAEMON_ADDRESS", "nowhere"),
            ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
        ]);
        assert_eq!(config.daemon.unwrap().port(), 2000);
    }
}
