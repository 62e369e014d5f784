//! Diagnostics for `--check`: settings, socket and daemon as this process sees them.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;

use tracestitch_wire::daemon::{DaemonAddress, local_for, preferred};

use crate::config::Config;

/// Diagnosis of an environment in which traces are missing, line by line: the output of
/// `tracestitch-extension --check`.
///
/// A check changes and sends nothing, so it does not disturb a working extension beside it.
///
/// ```
/// use tracestitch_extension::{Check, Config};
///
/// let check = Check::of(&Config::from_env());
/// assert!(check.to_string().starts_with("ok       version"));
/// ```
#[derive(Debug, Default)]
pub struct Check {
    lines: Vec<(Finding, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Ok,
    Note,
    Problem,
}

impl Check {
    /// Examines the settings, the socket and the daemon's address.
    pub fn of(config: &Config) -> Self {
        let mut check = Self::default();
        check.add(
            Finding::Ok,
            format!(
                "version {} for {}, registers as {:?}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::ARCH,
                config.name
            ),
        );
        for warning in &config.warnings {
            check.add(Finding::Problem, warning.clone());
        }
        check.lambda(config);
        check.socket(&config.shared.socket);
        check.daemon(config);
        check
    }

    /// Returns true if something keeps documents from being delivered.
    pub fn has_problems(&self) -> bool {
        self.lines
            .iter()
            .any(|(finding, _)| *finding == Finding::Problem)
    }

    fn add(&mut self, finding: Finding, line: impl Into<String>) {
        self.lines.push((finding, line.into()));
    }

    fn lambda(&mut self, config: &Config) {
        match &config.runtime_api {
            Some(uri) => self.add(Finding::Ok, format!("runtime API at {uri}")),
            None => self.add(
                Finding::Note,
                "AWS_LAMBDA_RUNTIME_API names no runtime API: this is not Lambda",
            ),
        }
        if config.managed_instances {
            self.add(
                Finding::Note,
                "managed instances: documents are sent as they arrive",
            );
        }
        if !config.shared.enabled {
            self.add(
                Finding::Problem,
                "TRACESTITCH_ENABLED is false: nothing is recorded",
            );
        }
    }

    fn socket(&mut self, path: &Path) {
        match UnixStream::connect(path) {
            Ok(_) => self.add(
                Finding::Ok,
                format!("socket {path:?}: an extension listens"),
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => self.add(
                Finding::Note,
                format!("socket {path:?}: does not exist, so no extension runs here now"),
            ),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.add(
                Finding::Note,
                format!("socket {path:?}: left by an extension that has ended"),
            ),
            Err(error) => self.add(
                Finding::Problem,
                format!("socket {path:?}: {error} (TRACESTITCH_SOCKET)"),
            ),
        }
    }

    fn daemon(&mut self, config: &Config) {
        let (address, from) = match (&config.shared.daemon, &config.lambda_daemon) {
            (Some(address), _) => (address, "TRACESTITCH_DAEMON_ADDRESS"),
            (None, Some(address)) => (address, "AWS_XRAY_DAEMON_ADDRESS"),
            (None, None) => {
                return self.add(
                    Finding::Note,
                    "no daemon address here: the function reports it, because extensions do not \
                     get AWS_XRAY_DAEMON_ADDRESS",
                );
            }
        };
        match route(address) {
            Ok(to) => self.add(
                Finding::Ok,
                format!("daemon at {to} ({from}); it never answers, so this is only a route"),
            ),
            Err(error) => self.add(
                Finding::Problem,
                format!("daemon {address} cannot be reached: {error} ({from})"),
            ),
        }
    }
}

/// Returns the address to which a datagram would go.
fn route(address: &DaemonAddress) -> io::Result<SocketAddr> {
    let addresses = (address.host(), address.port()).to_socket_addrs()?;
    let to = preferred(addresses).ok_or(ErrorKind::AddrNotAvailable)?;
    UdpSocket::bind(local_for(to))?.connect(to)?;
    Ok(to)
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (finding, line) in &self.lines {
            let finding = match finding {
                Finding::Ok => "ok",
                Finding::Note => "note",
                Finding::Problem => "problem",
            };
            writeln!(f, "{finding:<8} {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn check(variables: &[(&str, &str)]) -> Check {
        Check::of(&Config::read("tracestitch".into(), |name| {
            variables
                .iter()
                .find_map(|(variable, value)| (*variable == name).then(|| (*value).into()))
        }))
    }

    #[test]
    fn findings() {
        let folder = tempfile::tempdir().unwrap();
        let free = folder.path().join("free");
        let live = folder.path().join("live");
        let _listener = UnixListener::bind(&live).unwrap();
        let left = folder.path().join("left");
        drop(UnixListener::bind(&left).unwrap());
        let [free, live, left] = [&free, &live, &left].map(|path| path.to_str().unwrap());
        let long = format!("/{}", "x".repeat(200));
        for (variables, expected, problem, reason) in [
            (vec![], "this is not Lambda", false, "a laptop"),
            (vec![], "the function reports it", false, "as in Lambda"),
            (
                vec![("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")],
                "runtime API at",
                false,
                "in Lambda",
            ),
            (
                vec![("TRACESTITCH_ENABLED", "false")],
                "nothing is recorded",
                true,
                "switched off",
            ),
            (
                vec![("TRACESTITCH_LOG", "loud")],
                "TRACESTITCH_LOG is not",
                true,
                "a bad value",
            ),
            (vec![], "an extension listens", false, "it runs"),
            (
                vec![("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000")],
                "daemon at 127.0.0.1:2000 (AWS_XRAY_DAEMON_ADDRESS)",
                false,
                "started by the function",
            ),
            (
                vec![
                    ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
                    ("TRACESTITCH_DAEMON_ADDRESS", "127.0.0.1:2001"),
                ],
                "daemon at 127.0.0.1:2001 (TRACESTITCH_DAEMON_ADDRESS)",
                false,
                "ours wins",
            ),
            (
                vec![("TRACESTITCH_DAEMON_ADDRESS", "nowhere.invalid:2000")],
                "cannot be reached",
                true,
                "a name that does not resolve",
            ),
        ] {
            let mut variables = variables;
            variables.push(("TRACESTITCH_SOCKET", live));
            let check = check(&variables);
            assert!(check.to_string().contains(expected), "{reason}: {check}");
            assert_eq!(check.has_problems(), problem, "{reason}: {check}");
        }
        for (socket, expected, problem) in [
            (free, "does not exist", false),
            (left, "has ended", false),
            (&long, "1 to 107 bytes", true),
        ] {
            let check = check(&[("TRACESTITCH_SOCKET", socket)]);
            assert!(check.to_string().contains(expected), "{check}");
            assert_eq!(check.has_problems(), problem, "{check}");
        }
        assert!(Path::new(left).exists(), "a check changes nothing");
    }
}
