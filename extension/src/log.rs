//! Writes lines to standard error, which Lambda puts into the function's log.
//!
//! A reader that stops would block the process in its next write, and with it every invocation.
//! So a separate thread writes. It starts with the first line, because most processes write none.
//! Lines for which it has no room are dropped and counted.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{Write, stderr};
use std::panic::Location;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub use tracestitch_wire::log::Level;

/// Most lines that wait for the thread.
const MAX_LINES: usize = 256;

/// Most bytes of a line: Linux writes as many to a pipe in one piece (`PIPE_BUF`, pipe(7)), so
/// lines of the function do not land in the middle.
const MAX_LINE: usize = 4096;

/// Longest wait at the end of the process for lines that have not been written.
const FLUSH: Duration = Duration::from_millis(100);

/// Stack of the thread. It only formats a number and writes.
const STACK: usize = 64 * 1024;

static QUEUE: Queue = Queue::new();

/// Lines that wait for the thread. A channel of the standard library would do the same in more
/// code, and each kilobyte of the program costs time in a cold start.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// A line was added, or the last one was written.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<String>,
    dropped: u64,
    has_thread: bool,
    is_writing: bool,
}

impl Queue {
    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                lines: VecDeque::new(),
                dropped: 0,
                has_thread: false,
                is_writing: false,
            }),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line, or counts it as dropped. Returns true if a thread has to be started.
    fn add(&self, line: String) -> bool {
        let mut state = self.state();
        if state.lines.len() < MAX_LINES {
            state.lines.push_back(line);
        } else {
            state.dropped += 1;
        }
        self.changed.notify_all();
        !std::mem::replace(&mut state.has_thread, true)
    }

    /// Waits for the next line. Returns it with the number of lines that were dropped before.
    fn next(&self) -> (String, u64) {
        let mut state = self.state();
        state.is_writing = false;
        self.changed.notify_all();
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.is_writing = true;
                return (line, std::mem::take(&mut state.dropped));
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn flush(&self) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        // After a timeout there is nothing more to do for the lines.
        let _ = self
            .changed
            .wait_timeout_while(self.state(), FLUSH, is_busy);
    }
}

fn start_thread() {
    let thread = thread::Builder::new().stack_size(STACK);
    // Without a thread, lines wait in vain and are dropped.
    let _ = thread.spawn(|| {
        loop {
            let (line, dropped) = QUEUE.next();
            if dropped > 0 {
                write(&format!(
                    "tracestitch-extension WARN {dropped} lines were dropped: \
                     standard error was not read"
                ));
            }
            write(&line);
        }
    });
}

fn write(line: &str) {
    // One write for each line. A closed standard error is ignored.
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// Writes lines up to a level. Never blocks and never fails.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    level: Level,
}

impl Log {
    /// Creates a log that writes lines of `level` and more severe ones.
    pub fn new(level: Level) -> Self {
        Self { level }
    }

    /// Returns true if lines of `level` are written.
    pub fn writes(self, level: Level) -> bool {
        self.level.includes(level)
    }

    /// Writes the reason why the process ends.
    pub fn error(self, message: impl Display) {
        self.line(Level::Error, message);
    }

    /// Writes what is wrong and what happens now.
    pub fn warn(self, message: impl Display) {
        self.line(Level::Warn, message);
    }

    /// Writes one event of the lifecycle.
    pub fn debug(self, message: impl Display) {
        self.line(Level::Debug, message);
    }

    /// Waits until the lines so far are written, for at most 100 ms.
    pub fn flush(self) {
        QUEUE.flush();
    }

    /// Writes `line` unchanged; the caller has checked the level.
    pub(crate) fn raw(self, mut line: String) {
        line.truncate(line.floor_char_boundary(MAX_LINE - 1));
        if QUEUE.add(line) {
            start_thread();
        }
    }

    fn line(self, level: Level, message: impl Display) {
        if self.writes(level) {
            self.raw(format!("tracestitch-extension {} {message}", level.label()));
        }
    }
}

/// Gives each warning once, however often its reason occurs. Warnings from one line of the source
/// count as the same.
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

    /// Writes a warning unless the same line of the source has written one before.
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
    fn each_line_of_the_source_warns_once() {
        let mut warnings = Warnings::new(Log::new(Level::Off));
        for _ in 0..3 {
            warnings.give("one");
            warnings.give("other");
        }
        assert_eq!(warnings.given.len(), 2);
    }

    #[test]
    fn lines_without_room_are_dropped_and_counted() {
        let queue = Queue::new();
        let starts: Vec<_> = (0..MAX_LINES + 3)
            .map(|n| queue.add(n.to_string()))
            .collect();
        assert!(starts[0] && !starts[1..].contains(&true));
        assert_eq!(queue.next(), ("0".to_owned(), 3));
        assert_eq!(queue.next(), ("1".to_owned(), 0));
        assert_eq!(queue.state().lines.len(), MAX_LINES - 2);
    }
}
