//! What the environment says: the only reader of it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use http::Uri;
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::handoff::{DEFAULT_SOCKET, MAX_SOCKET_PATH};

use crate::{Level, Log};

/// Settings of the process.
///
/// | variable | value | default |
/// |---|---|---|
/// | `TRACESTITCH_ENABLED` | `true` or `false` | `true` |
/// | `TRACESTITCH_SOCKET` | path of the Unix socket, at most 107 bytes | `/tmp/.tracestitch/handoff.sock` |
/// | `TRACESTITCH_DAEMON_ADDRESS` | as `AWS_XRAY_DAEMON_ADDRESS` | what the function says |
/// | `TRACESTITCH_LOG` | `off`, `error`, `warn`, `info` or `debug` | `warn` |
///
/// The function reads the same variables: what is a good value to one is one to the other, or the
/// two would go different ways. An empty variable counts as unset. A bad value gives one warning
/// that names the variable, and the default holds. `AWS_LAMBDA_RUNTIME_API` and `AWS_LAMBDA_INITIALIZATION_TYPE` come from
/// Lambda.
#[derive(Debug)]
pub struct Config {
    pub(crate) runtime_api: Option<Uri>,
    pub(crate) name: OsString,
    pub(crate) enabled: bool,
    pub(crate) managed_instances: bool,
    pub(crate) socket: PathBuf,
    pub(crate) daemon: Option<DaemonAddress>,
    /// What Lambda tells the function; an extension has it only in [`crate::Check`], started by
    /// a function.
    pub(crate) lambda_daemon: Option<DaemonAddress>,
    pub(crate) level: Level,
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Reads the environment and the name under which this process was started.
    ///
    /// Lambda knows an extension by its file name (AWS Lambda developer guide, "Lambda
    /// extensions API").
    pub fn from_env() -> Self {
        let started_as = std::env::args_os().next().map(PathBuf::from);
        let name = [started_as, std::env::current_exe().ok()]
            .into_iter()
            .flatten()
            .find_map(|path| path.file_name().map(OsStr::to_owned))
            .unwrap_or_else(|| "tracestitch".into());
        Self::read(name, |variable| std::env::var_os(variable))
    }

    /// The log that these settings ask for.
    pub fn log(&self) -> Log {
        Log::new(self.level)
    }

    pub(crate) fn read(name: OsString, get: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut warnings = Vec::new();
        let set = |variable: &str| get(variable).filter(|value| !value.is_empty());
        let mut parse = |variable: &str, expected: &str, accept: &mut dyn FnMut(&str) -> bool| {
            if let Some(value) = set(variable)
                && !value.to_str().map(str::trim).is_some_and(accept)
            {
                warnings.push(format!(
                    "{variable} is not {expected}: it is ignored and the default holds"
                ));
            }
        };

        let mut enabled = true;
        parse("TRACESTITCH_ENABLED", "true or false", &mut |text| {
            let is_one_of = |words: [&str; 4]| words.iter().any(|w| text.eq_ignore_ascii_case(w));
            let off = is_one_of(["false", "0", "no", "off"]);
            enabled = !off;
            off || is_one_of(["true", "1", "yes", "on"])
        });
        let mut daemon = None;
        parse(
            "TRACESTITCH_DAEMON_ADDRESS",
            "a daemon address host:port or tcp:host:port udp:host:port",
            &mut |text| {
                daemon = text.parse().ok();
                daemon.is_some()
            },
        );
        let mut level = Level::Warn;
        parse(
            "TRACESTITCH_LOG",
            "off, error, warn, info or debug",
            &mut |text| text.parse().map(|found| level = found).is_ok(),
        );
        let mut socket = PathBuf::from(DEFAULT_SOCKET);
        parse(
            "TRACESTITCH_SOCKET",
            "an absolute path of 1 to 107 bytes",
            &mut |text| {
                let usable = text.starts_with('/') && text.len() <= MAX_SOCKET_PATH;
                if usable {
                    socket = text.into();
                }
                usable
            },
        );
        // Without an authority the client would panic at its first request.
        let usable = |uri: &Uri| uri.authority().is_some() && uri.query().is_none();
        let runtime_api = set("AWS_LAMBDA_RUNTIME_API")
            .and_then(|value| value.to_str()?.parse().ok())
            .filter(usable);
        Self {
            runtime_api,
            name,
            enabled,
            managed_instances: set("AWS_LAMBDA_INITIALIZATION_TYPE")
                .is_some_and(|kind| kind == "lambda-managed-instances"),
            socket,
            daemon,
            lambda_daemon: set("AWS_XRAY_DAEMON_ADDRESS")
                .and_then(|value| value.to_str()?.parse().ok()),
            level,
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Config {
        Config::read("tracestitch".into(), |name| {
            variables
                .iter()
                .find_map(|(variable, value)| (*variable == name).then(|| (*value).into()))
        })
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let config = read(&[]);
        assert!(config.enabled && !config.managed_instances);
        assert_eq!(config.socket, Path::new(DEFAULT_SOCKET));
        assert_eq!((config.daemon, config.level), (None, Level::Warn));
        assert_eq!(config.warnings, Vec::<String>::new());
    }

    #[test]
    fn good_values() {
        let config = read(&[
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"),
            ("TRACESTITCH_ENABLED", "False"),
            ("TRACESTITCH_SOCKET", "/tmp/x/y.sock"),
            ("TRACESTITCH_DAEMON_ADDRESS", "127.0.0.1:2000"),
            ("TRACESTITCH_LOG", "info"),
        ]);
        assert_eq!(config.warnings, Vec::<String>::new());
        assert!(!config.enabled && config.managed_instances);
        assert_eq!(config.socket, Path::new("/tmp/x/y.sock"));
        assert_eq!(config.daemon, "127.0.0.1:2000".parse().ok());
        assert_eq!(config.level, Level::Info);
        assert!(config.runtime_api.is_some());
    }

    /// What `handler-wrapper/src/config.rs` accepts.
    #[test]
    fn what_the_function_accepts_is_accepted() {
        for (value, enabled) in [
            ("true", true),
            ("YES", true),
            ("on", true),
            ("1", true),
            (" false ", false),
            ("No", false),
            ("off", false),
            ("0", false),
        ] {
            let config = read(&[("TRACESTITCH_ENABLED", value)]);
            assert_eq!(config.warnings, Vec::<String>::new(), "{value:?}");
            assert_eq!(config.enabled, enabled, "{value:?}");
        }
        for (value, level) in [("off", Level::Off), (" Info", Level::Info)] {
            let config = read(&[("TRACESTITCH_LOG", value)]);
            assert_eq!(config.warnings, Vec::<String>::new(), "{value:?}");
            assert_eq!(config.level, level, "{value:?}");
        }
        let longest = format!("/{}", "x".repeat(MAX_SOCKET_PATH - 1));
        let config = read(&[("TRACESTITCH_SOCKET", &longest)]);
        assert_eq!(config.socket, Path::new(&longest));
    }

    #[test]
    fn a_bad_value_gives_one_warning_with_its_name() {
        let long = format!("/{}", "x".repeat(MAX_SOCKET_PATH));
        for (variable, value, reason) in [
            ("TRACESTITCH_ENABLED", "maybe", "not a boolean"),
            ("TRACESTITCH_SOCKET", "relative.sock", "not absolute"),
            ("TRACESTITCH_SOCKET", &long, "more than an address holds"),
            ("TRACESTITCH_DAEMON_ADDRESS", "127.0.0.1", "no port"),
            ("TRACESTITCH_LOG", "loud", "not a level"),
        ] {
            let config = read(&[(variable, value)]);
            assert_eq!(config.warnings.len(), 1, "{reason}");
            assert!(config.warnings[0].starts_with(variable), "{reason}");
            assert!(!config.warnings[0].contains(value), "{reason}: value shown");
            assert!(config.enabled && config.daemon.is_none(), "{reason}");
            assert_eq!(config.socket, Path::new(DEFAULT_SOCKET), "{reason}");
        }
    }

    #[test]
    fn runtime_api() {
        for (text, usable, reason) in [
            ("127.0.0.1:9001", true, "as Lambda sets it"),
            (
                "http://127.0.0.1:9001/.rt",
                true,
                "scheme and path, as emulators set it",
            ),
            ("localhost:1", true, "a name"),
            ("/only/a/path", false, "no authority"),
            ("127.0.0.1:9001/?a=b", false, "a query"),
            ("a b", false, "not a URI"),
            ("", false, "empty"),
        ] {
            let config = read(&[("AWS_LAMBDA_RUNTIME_API", text)]);
            assert_eq!(config.runtime_api.is_some(), usable, "{reason}");
        }
    }

    #[test]
    fn empty_counts_as_unset() {
        let config = read(&[("TRACESTITCH_LOG", ""), ("TRACESTITCH_SOCKET", "")]);
        assert_eq!(config.warnings, Vec::<String>::new());
    }
}
