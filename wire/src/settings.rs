//! Environment variables that function and extension both read, and the rules for their values.
//!
//! Both processes see the same environment. A value that one accepts and the other rejects would
//! make them look for each other in different places, so the rules are here. Nothing here reads the
//! environment: callers pass a lookup such as `std::env::var_os`.
//!
//! | variable | value | default |
//! |---|---|---|
//! | `TRACESTITCH_ENABLED` | `true`, `1`, `yes`, `on` or `false`, `0`, `no`, `off`, in any case | `true` |
//! | `TRACESTITCH_SOCKET` | absolute path of at most 107 bytes | [`DEFAULT_SOCKET`] |
//! | `TRACESTITCH_DAEMON_ADDRESS` | `host:port` or `tcp:host:port udp:host:port` | none |
//! | `TRACESTITCH_LOG` | `off`, `error`, `warn`, `info` or `debug`, in any case | `warn` |
//!
//! An empty value counts as unset, and white space around a value is ignored.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::daemon::DaemonAddress;
use crate::handoff::{DEFAULT_SOCKET, MAX_SOCKET_PATH};
use crate::log::Level;

const ADDRESS_FORM: &str = "host:port or tcp:host:port udp:host:port";

/// Switch for recording and sending documents.
pub const ENABLED: Variable<bool> =
    Variable::new("TRACESTITCH_ENABLED", "true or false", parse_bool);

/// Path of the Unix socket on which the extension listens.
pub const SOCKET: Variable<PathBuf> = Variable::new(
    "TRACESTITCH_SOCKET",
    "an absolute path of 1 to 107 bytes",
    parse_socket,
);

/// Address of the X-Ray daemon; takes precedence over [`LAMBDA_DAEMON_ADDRESS`].
pub const DAEMON_ADDRESS: Variable<DaemonAddress> =
    Variable::new("TRACESTITCH_DAEMON_ADDRESS", ADDRESS_FORM, parse_address);

/// Address of the X-Ray daemon as Lambda sets it for functions. Extensions do not get it (AWS
/// Lambda developer guide, "Lambda extensions API").
pub const LAMBDA_DAEMON_ADDRESS: Variable<DaemonAddress> =
    Variable::new("AWS_XRAY_DAEMON_ADDRESS", ADDRESS_FORM, parse_address);

/// The least severe log lines that are written.
pub const LOG: Variable<Level> = Variable::new(
    "TRACESTITCH_LOG",
    "off, error, warn, info or debug",
    parse_level,
);

/// One environment variable: its name, and how its value is parsed.
///
/// ```
/// use tracestitch_wire::settings::{ENABLED, Variable};
///
/// assert_eq!(ENABLED.read(|_| Some(" off ".into())), Ok(Some(false)));
/// assert_eq!(ENABLED.read(|_| None), Ok(None));
///
/// const ERRORS: Variable<bool> = Variable::new("TRACESTITCH_ERRORS", "sampled or always", |text| {
///     match text {
///         "always" => Some(true),
///         "sampled" => Some(false),
///         _ => None,
///     }
/// });
/// let invalid = ERRORS.read(|_| Some("never".into())).unwrap_err();
/// assert_eq!(
///     invalid.to_string(),
///     "TRACESTITCH_ERRORS is not sampled or always: the value is ignored and the default is used",
/// );
/// ```
pub struct Variable<T> {
    name: &'static str,
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Variable<T> {
    /// A variable whose value is parsed by `parse`. `expected` completes the sentence "the value
    /// is not ..".
    pub const fn new(
        name: &'static str,
        expected: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Self {
        Self {
            name,
            expected,
            parse,
        }
    }

    /// Name of the variable.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Looks the variable up and parses its value. Returns `None` if it is unset or empty.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not UTF-8 or does not parse.
    pub fn read(
        &self,
        look_up: impl FnOnce(&str) -> Option<OsString>,
    ) -> Result<Option<T>, InvalidValue> {
        let Some(value) = look_up(self.name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let parsed = value.to_str().and_then(|text| (self.parse)(text.trim()));
        parsed.map(Some).ok_or(InvalidValue {
            variable: self.name,
            expected: self.expected,
        })
    }
}

impl<T> fmt::Debug for Variable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Variable").field(&self.name).finish()
    }
}

/// A value that its variable does not allow.
///
/// The message names the variable and what was expected. It does not contain the value, which may
/// be a secret that was put into the wrong variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidValue {
    variable: &'static str,
    expected: &'static str,
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not {}: the value is ignored and the default is used",
            self.variable, self.expected
        )
    }
}

impl std::error::Error for InvalidValue {}

/// The settings that both processes share, with their defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// [`ENABLED`]; true by default.
    pub enabled: bool,
    /// [`SOCKET`]; [`DEFAULT_SOCKET`] by default.
    pub socket: PathBuf,
    /// [`DAEMON_ADDRESS`]; `None` by default.
    pub daemon: Option<DaemonAddress>,
    /// [`LOG`]; [`Level::Warn`] by default.
    pub level: Level,
}

impl Shared {
    /// Reads the four variables through `look_up`. Returns the settings and one error for each
    /// invalid value, whose default is used.
    ///
    /// ```
    /// use tracestitch_wire::settings::Shared;
    ///
    /// let (settings, invalid) = Shared::read(|name| {
    ///     (name == "TRACESTITCH_ENABLED").then(|| "perhaps".into())
    /// });
    /// assert!(settings.enabled);
    /// assert!(invalid[0].to_string().starts_with("TRACESTITCH_ENABLED is not true or false"));
    /// ```
    pub fn read(look_up: impl Fn(&str) -> Option<OsString>) -> (Self, Vec<InvalidValue>) {
        let mut invalid = Vec::new();
        let settings = Self {
            enabled: read(&ENABLED, &look_up, &mut invalid).unwrap_or(true),
            socket: read(&SOCKET, &look_up, &mut invalid).unwrap_or_else(|| DEFAULT_SOCKET.into()),
            daemon: read(&DAEMON_ADDRESS, &look_up, &mut invalid),
            level: read(&LOG, &look_up, &mut invalid).unwrap_or(Level::Warn),
        };
        (settings, invalid)
    }
}

fn read<T>(
    variable: &Variable<T>,
    look_up: impl Fn(&str) -> Option<OsString>,
    invalid: &mut Vec<InvalidValue>,
) -> Option<T> {
    variable.read(look_up).unwrap_or_else(|error| {
        invalid.push(error);
        None
    })
}

fn parse_bool(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "1", "yes", "on"]) {
        Some(true)
    } else if is_one_of(["false", "0", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}

fn parse_socket(text: &str) -> Option<PathBuf> {
    (text.starts_with('/') && text.len() <= MAX_SOCKET_PATH).then(|| text.into())
}

fn parse_address(text: &str) -> Option<DaemonAddress> {
    text.parse().ok()
}

fn parse_level(text: &str) -> Option<Level> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read(variable: &'static str, value: &str) -> (Shared, Vec<InvalidValue>) {
        Shared::read(|name| (name == variable).then(|| value.into()))
    }

    fn defaults() -> Shared {
        Shared {
            enabled: true,
            socket: DEFAULT_SOCKET.into(),
            daemon: None,
            level: Level::Warn,
        }
    }

    #[test]
    fn empty_environment_gives_the_defaults() {
        assert_eq!(Shared::read(|_| None), (defaults(), Vec::new()));
    }

    #[test]
    fn valid_values_replace_the_defaults() {
        let longest = format!("/{}", "x".repeat(MAX_SOCKET_PATH - 1));
        let enabled = |enabled| Shared {
            enabled,
            ..defaults()
        };
        let socket = |path: &str| Shared {
            socket: path.into(),
            ..defaults()
        };
        let level = |level| Shared {
            level,
            ..defaults()
        };
        for (variable, value, expected) in [
            ("TRACESTITCH_ENABLED", "true", enabled(true)),
            ("TRACESTITCH_ENABLED", "YES", enabled(true)),
            ("TRACESTITCH_ENABLED", "on", enabled(true)),
            ("TRACESTITCH_ENABLED", "1", enabled(true)),
            ("TRACESTITCH_ENABLED", " false ", enabled(false)),
            ("TRACESTITCH_ENABLED", "No", enabled(false)),
            ("TRACESTITCH_ENABLED", "off", enabled(false)),
            ("TRACESTITCH_ENABLED", "0", enabled(false)),
            ("TRACESTITCH_SOCKET", "/a/b", socket("/a/b")),
            ("TRACESTITCH_SOCKET", &longest, socket(&longest)),
            ("TRACESTITCH_LOG", " Info", level(Level::Info)),
            ("TRACESTITCH_LOG", "off", level(Level::Off)),
            (
                "TRACESTITCH_DAEMON_ADDRESS",
                "tcp:127.0.0.1:1 udp:127.0.0.1:2000",
                Shared {
                    daemon: "127.0.0.1:2000".parse().ok(),
                    ..defaults()
                },
            ),
            ("TRACESTITCH_ENABLED", "", defaults()),
            ("TRACESTITCH_SOCKET", "", defaults()),
            ("TRACESTITCH_LOG", "", defaults()),
            ("TRACESTITCH_DAEMON_ADDRESS", "", defaults()),
        ] {
            let read = read(variable, value);
            assert_eq!(read, (expected, Vec::new()), "{variable}={value:?}");
        }
    }

    #[test]
    fn invalid_value_is_named_without_showing_it_and_the_default_is_used() {
        let long = format!("/{}", "x".repeat(MAX_SOCKET_PATH));
        for (variable, value, reason) in [
            ("TRACESTITCH_ENABLED", "maybe", "not a boolean"),
            ("TRACESTITCH_ENABLED", " ", "white space only"),
            ("TRACESTITCH_SOCKET", "relative.sock", "not absolute"),
            ("TRACESTITCH_SOCKET", &long, "longer than a socket address"),
            ("TRACESTITCH_DAEMON_ADDRESS", "127.0.0.1", "no port"),
            ("TRACESTITCH_LOG", "loud", "not a level"),
        ] {
            let (settings, invalid) = read(variable, value);
            assert_eq!(settings, defaults(), "{reason}");
            let [invalid] = &invalid[..] else {
                panic!("{reason}: expected one error, found {invalid:?}");
            };
            let message = invalid.to_string();
            assert!(message.starts_with(variable), "{reason}: {message}");
            assert!(
                value == " " || !message.contains(value),
                "{reason}: {message}"
            );
        }
    }

    /// A lossy conversion would give the path of another file.
    #[test]
    fn value_that_is_not_utf_8_is_invalid() {
        let value = || Some(OsString::from_vec(b"/tmp/\xff".to_vec()));
        assert!(SOCKET.read(|_| value()).is_err());
    }
}
