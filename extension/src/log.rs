//! Lines on stderr, which Lambda puts into the function's log.

use std::fmt::Display;
use std::io::{Write, stderr};
use std::panic::Location;
use std::str::FromStr;

/// How much is written. Each level includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing at all.
    Off,
    /// Why the process ends.
    Error,
    /// What is not as it should be, each thing once.
    Warn,
    /// The closing report, also when nothing was lost.
    Info,
    /// Each event of the lifecycle.
    Debug,
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [
            ("off", Self::Off),
            ("error", Self::Error),
            ("warn", Self::Warn),
            ("info", Self::Info),
            ("debug", Self::Debug),
        ]
        .into_iter()
        .find_map(|(name, level)| text.eq_ignore_ascii_case(name).then_some(level))
        .ok_or(())
    }
}

/// Writes what its level lets through. A closed stderr is ignored.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    level: Level,
}

impl Log {
    /// A log that writes `level` and the more urgent ones.
    pub fn new(level: Level) -> Self {
        Self { level }
    }

    /// True when lines of `level` are written.
    pub fn writes(self, level: Level) -> bool {
        level <= self.level
    }

    /// Why the process ends.
    pub fn error(self, message: impl Display) {
        self.line(Level::Error, "ERROR", message);
    }

    /// What is not as it should be and what happens now.
    pub fn warn(self, message: impl Display) {
        self.line(Level::Warn, "WARN", message);
    }

    /// One event of the lifecycle.
    pub fn debug(self, message: impl Display) {
        self.line(Level::Debug, "DEBUG", message);
    }

    /// `line` as it is, for a caller that has asked for the level.
    pub(crate) fn raw(self, line: &str) {
        // One write, so that lines of the function do not land in the middle.
        let _ = stderr().write_all(format!("{line}\n").as_bytes());
    }

    fn line(self, level: Level, name: &str, message: impl Display) {
        if self.writes(level) {
            self.raw(&format!("tracestitch-extension {name} {message}"));
        }
    }
}

/// Warnings that come once each, however often their reasons occur: one for each line of the
/// source that gives one.
#[derive(Debug)]
pub(crate) struct Warnings {
    log: Log,
    given: Vec<&'static Location<'static>>,
}

impl Warnings {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            given: Vec::new(),
        }
    }

    /// Warns, unless the same line has warned before.
    #[track_caller]
    pub(crate) fn give(&mut self, message: impl Display) {
        let line = Location::caller();
        if !self.given.contains(&line) {
            self.given.push(line);
            self.log.warn(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for (text, expected, reason) in [
            ("warn", Ok(Level::Warn), "as documented"),
            ("DEBUG", Ok(Level::Debug), "any case"),
            ("off", Ok(Level::Off), "silence"),
            ("trace", Err(()), "not a level"),
            ("", Err(()), "empty"),
        ] {
            assert_eq!(text.parse(), expected, "{reason}");
        }
    }

    #[test]
    fn each_line_warns_once() {
        let mut warnings = Warnings::new(Log::new(Level::Off));
        for _ in 0..3 {
            warnings.give("one");
            warnings.give("other");
        }
        assert_eq!(warnings.given.len(), 2);
    }

    #[test]
    fn a_level_includes_the_more_urgent_ones() {
        let log = Log::new(Level::Warn);
        assert!(log.writes(Level::Error) && log.writes(Level::Warn));
        assert!(!log.writes(Level::Info) && !log.writes(Level::Debug));
        assert!(!Log::new(Level::Off).writes(Level::Error));
    }
}
