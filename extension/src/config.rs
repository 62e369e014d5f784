//! Reads the environment. No other file does.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use http::Uri;
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::settings::{LAMBDA_DAEMON_ADDRESS, Shared};

use crate::log::Log;

/// Settings of the process.
///
/// | variable | value | default |
/// |---|---|---|
/// | `TRACESTITCH_ENABLED` | `true` or `false` | `true` |
/// | `TRACESTITCH_SOCKET` | path of the Unix socket, at most 107 bytes | `/tmp/.tracestitch/handoff.sock` |
/// | `TRACESTITCH_DAEMON_ADDRESS` | as `AWS_XRAY_DAEMON_ADDRESS` | the address that the function reports |
/// | `TRACESTITCH_LOG` | `off`, `error`, `warn`, `info` or `debug` | `warn` |
///
/// The function reads the same variables by the same rules ([`tracestitch_wire::settings`]). An
/// empty variable counts as unset. An invalid value gives one warning that names the variable, and
/// the default is used. `AWS_LAMBDA_RUNTIME_API` and `AWS_LAMBDA_INITIALIZATION_TYPE` come from
/// Lambda.
#[derive(Debug)]
pub struct Config {
    pub(crate) runtime_api: Option<Uri>,
    pub(crate) name: OsString,
    pub(crate) managed_instances: bool,
    /// Address that Lambda gives to functions. An extension has it only if a function started it,
    /// with `--check`.
    pub(crate) lambda_daemon: Option<DaemonAddress>,
    pub(crate) shared: Shared,
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Reads the environment and the name under which this process was started.
    ///
    /// An extension registers under its file name (AWS Lambda developer guide, "Lambda extensions
    /// API").
    pub fn from_env() -> Self {
        let started_as = std::env::args_os().next().map(PathBuf::from);
        let name = [started_as, std::env::current_exe().ok()]
            .into_iter()
            .flatten()
            .find_map(|path| path.file_name().map(OsStr::to_owned))
            .unwrap_or_else(|| "tracestitch".into());
        #[expect(
            clippy::disallowed_methods,
            reason = "no other place reads the environment"
        )]
        Self::read(name, |variable| std::env::var_os(variable))
    }

    /// Creates the log with the level of these settings.
    pub fn log(&self) -> Log {
        Log::new(self.shared.level)
    }

    pub(crate) fn read(name: OsString, look_up: impl Fn(&str) -> Option<OsString>) -> Self {
        let (shared, invalid) = Shared::read(&look_up);
        // Without an authority the client would panic at its first request.
        let is_usable = |uri: &Uri| uri.authority().is_some() && uri.query().is_none();
        let runtime_api = look_up("AWS_LAMBDA_RUNTIME_API")
            .and_then(|value| value.to_str()?.parse().ok())
            .filter(is_usable);
        Self {
            runtime_api,
            name,
            managed_instances: look_up("AWS_LAMBDA_INITIALIZATION_TYPE")
                .is_some_and(|kind| kind == "lambda-managed-instances"),
            lambda_daemon: LAMBDA_DAEMON_ADDRESS.read(&look_up).ok().flatten(),
            shared,
            warnings: invalid.iter().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Config {
        Config::read("tracestitch".into(), |name| {
            variables
                .iter()
                .find_map(|(variable, value)| (*variable == name).then(|| (*value).into()))
        })
    }

    #[test]
    fn empty_environment_gives_the_defaults() {
        let config = read(&[]);
        assert_eq!(config.shared, Shared::read(|_| None).0);
        assert!(!config.managed_instances);
        assert_eq!((config.runtime_api, config.lambda_daemon), (None, None));
        assert_eq!(config.warnings, Vec::<String>::new());
    }

    #[test]
    fn valid_values_are_read() {
        let config = read(&[
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "lambda-managed-instances"),
            ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
            ("TRACESTITCH_ENABLED", "False"),
        ]);
        assert_eq!(config.warnings, Vec::<String>::new());
        assert!(!config.shared.enabled && config.managed_instances);
        assert_eq!(config.lambda_daemon, "127.0.0.1:2000".parse().ok());
        assert!(config.runtime_api.is_some());
    }

    #[test]
    fn invalid_value_gives_one_warning() {
        let config = read(&[("TRACESTITCH_LOG", "loud")]);
        assert_eq!(config.warnings.len(), 1);
        assert!(config.warnings[0].starts_with("TRACESTITCH_LOG is not"));
    }

    #[test]
    fn runtime_api_needs_an_authority_and_no_query() {
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
}
