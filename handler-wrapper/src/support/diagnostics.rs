//! Warnings of tracing, as lines on standard error, which Lambda puts into the function's log.
//!
//! They are written without a subscriber, so that every function shows them, and without
//! `eprintln!`, which panics if standard error is closed.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;

pub(crate) use tracestitch_wire::log::Level;
use tracestitch_wire::{log, settings};

use super::environment;

/// Target of the events of `tracing` that report failed messages. They are no causes: the documents
/// have those already.
#[cfg(feature = "tracing")]
pub(crate) const REPORTS: &str = "tracestitch::batch";

pub(crate) fn warn(message: fmt::Arguments<'_>) {
    write(Level::Warn, message);
}

pub(crate) fn debug(message: fmt::Arguments<'_>) {
    write(Level::Debug, message);
}

/// True if lines of `level` are written.
pub(crate) fn writes(level: Level) -> bool {
    // Read at the first line, so that it holds for that, too. The reader of all settings warns about
    // an invalid value.
    static THRESHOLD: OnceLock<Level> = OnceLock::new();
    THRESHOLD
        .get_or_init(|| {
            let threshold = settings::LOG.read(environment::variable);
            threshold.ok().flatten().unwrap_or_default()
        })
        .includes(level)
}

/// Writes `line` without a label, for readers of JSON.
pub(crate) fn raw(level: Level, line: fmt::Arguments<'_>) {
    if writes(level) {
        // One write for the whole line, so that lines of several threads do not mix. A failure of
        // standard error cannot be reported anywhere.
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
}

fn write(level: Level, message: fmt::Arguments<'_>) {
    raw(
        level,
        format_args!("tracestitch {} {message}", level.label()),
    );
}

/// A warning that is given once in the life of the process, however often its reason occurs.
#[derive(Debug)]
pub(crate) struct Once(log::Once);

impl Once {
    pub(crate) const fn new() -> Self {
        Self(log::Once::new())
    }

    pub(crate) fn warn(&self, message: fmt::Arguments<'_>) {
        if self.0.is_first() {
            warn(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The level belongs to a whole process, so this test runs once more in other processes.
    #[test]
    fn level_holds_for_warnings_before_the_settings_are_read() {
        const INSIDE: &str = "TRACESTITCH_TEST_LEVEL";
        const WARNING: &str = "given before the settings are read";
        if environment::variable(INSIDE).is_some() {
            return warn(format_args!("{WARNING}"));
        }
        for (level, expected) in [
            ("off", false),
            ("error", false),
            ("warn", true),
            ("", true),
            ("loud", true),
        ] {
            let inside = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--nocapture"])
                .arg(concat!(
                    "support::diagnostics::tests::",
                    "level_holds_for_warnings_before_the_settings_are_read"
                ))
                .env(INSIDE, "1")
                .env(settings::LOG.name(), level)
                .output()
                .unwrap();
            let (out, log) = (inside.stdout, String::from_utf8_lossy(&inside.stderr));
            assert!(String::from_utf8_lossy(&out).contains("1 passed"), "{log}");
            assert_eq!(log.contains(WARNING), expected, "{level:?}: {log}");
        }
    }
}
