//! The output of the processes.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Number of lines kept; older ones are dropped.
const CAPACITY: usize = 10_000;

/// An output of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line that a process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// `function`, or the extension's name.
    pub source: String,
    /// The output.
    pub stream: Stream,
    /// The time at which the line was read.
    pub time: SystemTime,
    /// The line without its end, invalid UTF-8 replaced.
    pub text: String,
}

#[derive(Debug)]
pub(super) struct Logs {
    lines: Mutex<VecDeque<LogLine>>,
    echo: bool,
}

impl Logs {
    pub(super) fn new(echo: bool) -> Self {
        Self {
            lines: Mutex::default(),
            echo,
        }
    }

    pub(super) fn push(&self, source: &str, stream: Stream, text: String) {
        if self.echo {
            // Fails without a standard error; the line is kept anyway.
            let _ = writeln!(std::io::stderr().lock(), "[{source}] {text}");
        }
        let line = LogLine {
            source: source.into(),
            stream,
            time: SystemTime::now(),
            text,
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == CAPACITY {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(super) fn lines(&self) -> Vec<LogLine> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}
