//! What tracing has to say of itself: one line on standard error, which Lambda puts into the
//! function's log. It is written without a subscriber, so that it is seen in every function, and
//! without `eprintln!`, which panics when standard error is closed.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "off" => Self::Off,
            "error" => Self::Error,
            "warn" => Self::Warn,
            "info" => Self::Info,
            "debug" => Self::Debug,
            _ => return None,
        })
    }
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Warn as u8);

pub(crate) fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

pub(crate) fn warn(message: fmt::Arguments<'_>) {
    write(Level::Warn, "WARN", message);
}

pub(crate) fn debug(message: fmt::Arguments<'_>) {
    write(Level::Debug, "DEBUG", message);
}

/// True when lines of `level` are written.
pub(crate) fn writes(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// `line` as it is, for those who read JSON.
pub(crate) fn raw(level: Level, line: fmt::Arguments<'_>) {
    if writes(level) {
        // One write for the whole line, so that lines of several threads do not mix. Nobody is
        // left to tell when standard error fails.
        let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
}

fn write(level: Level, label: &str, message: fmt::Arguments<'_>) {
    raw(level, format_args!("tracestitch {label} {message}"));
}

/// A warning that is given once in the life of the process, however often its reason occurs.
#[derive(Debug)]
pub(crate) struct Once(AtomicBool);

impl Once {
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn warn(&self, message: fmt::Arguments<'_>) {
        if !self.0.swap(true, Ordering::Relaxed) {
            warn(message);
        }
    }
}
