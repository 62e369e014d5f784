//! Severity of log lines, and warnings that are given once.
//!
//! Function and extension write to standard error, which Lambda collects in one log group. Both
//! use the same levels and the same setting ([`LOG`](crate::settings::LOG)).

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::Error;

/// A threshold for log lines, or the severity of one line. Each level includes the ones above it
/// in this list.
///
/// ```
/// use tracestitch_wire::log::Level;
///
/// let threshold: Level = "info".parse()?;
/// assert!(threshold.includes(Level::Warn));
/// assert!(!threshold.includes(Level::Debug));
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Level {
    /// No lines. As a threshold only.
    Off,
    /// Reasons why the process ends.
    Error,
    /// Conditions that lose documents or ignore a setting, each reported once.
    #[default]
    Warn,
    /// The closing report, even if nothing was lost.
    Info,
    /// Each event of the lifecycle.
    Debug,
}

impl Level {
    const ALL: [Self; 5] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Returns true if a process with this threshold writes lines of severity `line`.
    pub fn includes(self, line: Self) -> bool {
        line != Self::Off && line <= self
    }

    /// Upper-case name, as it appears in a log line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// The level as a number that fits an `AtomicU8`.
    pub const fn as_u8(self) -> u8 {
        self as u8
    }

    /// The level with this number. Numbers that no level has give [`Level::Debug`].
    pub fn from_u8(number: u8) -> Self {
        let level = Self::ALL.get(usize::from(number));
        level.copied().unwrap_or(Self::Debug)
    }
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|level| text.eq_ignore_ascii_case(level.label()))
            .ok_or_else(|| Error::expected("off, error, warn, info or debug", text))
    }
}

/// A flag that is raised by the first of several events.
///
/// Its owner gives a warning the first time and stays silent afterwards, however often the reason
/// occurs. Safe to use from several threads: exactly one of them is first.
///
/// ```
/// use tracestitch_wire::log::Once;
///
/// static DAEMON_AWAY: Once = Once::new();
/// assert!(DAEMON_AWAY.is_first());
/// assert!(!DAEMON_AWAY.is_first());
/// ```
#[derive(Debug, Default)]
pub struct Once(AtomicBool);

impl Once {
    /// A flag that has not been raised.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Raises the flag. Returns true if it had not been raised before.
    pub fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_in_any_case() {
        for (text, expected, reason) in [
            ("warn", Some(Level::Warn), "as documented"),
            ("DEBUG", Some(Level::Debug), "upper case"),
            ("Off", Some(Level::Off), "mixed case"),
            ("trace", None, "not a level"),
            (" info", None, "white space"),
            ("", None, "empty"),
        ] {
            assert_eq!(text.parse().ok(), expected, "{reason}");
        }
    }

    #[test]
    fn threshold_includes_more_severe_lines_and_off_includes_none() {
        let lines = [Level::Error, Level::Warn, Level::Info, Level::Debug];
        for (threshold, written) in [
            (Level::Off, 0),
            (Level::Error, 1),
            (Level::Warn, 2),
            (Level::Info, 3),
            (Level::Debug, 4),
        ] {
            let included = lines.map(|line| threshold.includes(line));
            let expected = [0, 1, 2, 3].map(|index| index < written);
            assert_eq!(included, expected, "{threshold:?}");
            assert!(!threshold.includes(Level::Off), "{threshold:?}");
        }
    }

    #[test]
    fn numbers_and_levels_are_inverse() {
        for level in Level::ALL {
            assert_eq!(Level::from_u8(level.as_u8()), level);
        }
        assert_eq!(Level::from_u8(u8::MAX), Level::Debug);
    }

    #[test]
    fn exactly_one_thread_is_first() {
        let once = Once::new();
        let firsts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| once.is_first())).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.filter(|first| *first).count()
        });
        assert_eq!(firsts, 1);
    }
}
