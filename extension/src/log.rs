//! Writes lines to standard error, which Lambda puts into the function's log.
//!
//! A reader that stops would block the process in its next write, and with it every invocation.
//! So a separate thread writes. It starts with the first line, because most processes write none.
//! Lines for which it has no room are dropped and counted.

use std::fmt::Display;
use std::io::{Write, stderr};
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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

static WRITER: OnceLock<Writer> = OnceLock::new();

/// The thread's inbox.
#[derive(Debug)]
struct Writer {
    jobs: SyncSender<Job>,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Job {
    Write(String),
    /// Confirm that everything before this was written.
    Confirm(SyncSender<()>),
}

impl Writer {
    fn start() -> Self {
        let (jobs, inbox) = sync_channel(MAX_LINES);
        // Without a thread the receiver is dropped, and every line counts as dropped.
        let _ = thread::Builder::new()
            .name("tracestitch-log".to_owned())
            .stack_size(STACK)
            .spawn(move || write_all(&inbox));
        Self {
            jobs,
            dropped: AtomicU64::new(0),
        }
    }

    fn write(&self, line: String) {
        if self.jobs.try_send(Job::Write(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(inbox: &Receiver<Job>) {
    for job in inbox {
        let dropped = WRITER
            .get()
            .map_or(0, |writer| writer.dropped.swap(0, Ordering::Relaxed));
        if dropped > 0 {
            write(&format!(
                "tracestitch-extension WARN {dropped} lines were dropped: standard error was not read"
            ));
        }
        match job {
            Job::Write(line) => write(&line),
            // The process may have stopped waiting.
            Job::Confirm(done) => drop(done.send(())),
        }
    }
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
        let Some(writer) = WRITER.get() else {
            return;
        };
        let (done, confirmed) = sync_channel(1);
        if writer.jobs.try_send(Job::Confirm(done)).is_ok() {
            // Nothing is lost by a timeout that the process could still save.
            let _ = confirmed.recv_timeout(FLUSH);
        }
    }

    /// Writes `line` unchanged; the caller has checked the level.
    pub(crate) fn raw(self, mut line: String) {
        line.truncate(line.floor_char_boundary(MAX_LINE - 1));
        WRITER.get_or_init(Writer::start).write(line);
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
        let (jobs, inbox) = sync_channel(2);
        let dropped = AtomicU64::new(0);
        let writer = Writer { jobs, dropped };
        (0..5).for_each(|n| writer.write(n.to_string()));
        assert_eq!(writer.dropped.load(Ordering::Relaxed), 3);
        drop(inbox);
        writer.write("no thread".to_owned());
        assert_eq!(writer.dropped.load(Ordering::Relaxed), 4);
    }
}
