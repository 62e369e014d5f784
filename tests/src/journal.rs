//! The record of what happened in a run, kept outside of the tracer by the function and the test.
//!
//! The journal is one file. Each step appends one line with one write, so the order of the lines
//! is the order of the steps, also between processes, and a kill leaves a line whole or absent.
//!
//! A line is `MICROS VERB INVOCATION NAME DETAIL`, where the detail may be empty:
//!
//! | verb | meaning | detail |
//! |---|---|---|
//! | `begin` | the work called NAME is about to begin | name of the work around it |
//! | `begun` | its subsegment has begun | id of the subsegment |
//! | `fact` | facts are about to be put on its subsegment | the facts, see [`facts`](crate::facts) |
//! | `kept` | a closed document has the facts put so far | |
//! | `finish` | it is about to end | |
//! | `finished` | it has ended | |
//! | `held` | its document is held back until the invocation begins | name of the work around it |
//! | `absent` | this invocation has no such work | |
//! | `settled` | the extension has sent everything that this invocation handed over | |
//! | `gone` | the extension has ended, perhaps with documents that it had not sent | |
//! | `struck` | the test has killed or stopped a process | |
//! | `over` | the environment has ended, and with it everything that was still open | |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tempfile::NamedTempFile;
use tracestitch_wire::time::Timestamp;

/// The kind of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// The work is about to begin.
    Begin,
    /// The work has begun.
    Begun,
    /// Facts are about to be put on the work's subsegment.
    Fact,
    /// The facts put so far survive a kill.
    Kept,
    /// The work is about to end.
    Finish,
    /// The work has ended.
    Finished,
    /// The work has ended and its document is held back.
    Held,
    /// The invocation has no such work.
    Absent,
    /// Function and extension have asked for their next event.
    Settled,
    /// The extension has ended.
    Gone,
    /// The test has killed or stopped a process.
    Struck,
    /// The environment has ended.
    Over,
}

impl Verb {
    const ALL: [(Self, &str); 12] = [
        (Self::Begin, "begin"),
        (Self::Begun, "begun"),
        (Self::Fact, "fact"),
        (Self::Kept, "kept"),
        (Self::Finish, "finish"),
        (Self::Finished, "finished"),
        (Self::Held, "held"),
        (Self::Absent, "absent"),
        (Self::Settled, "settled"),
        (Self::Gone, "gone"),
        (Self::Struck, "struck"),
        (Self::Over, "over"),
    ];

    fn read(text: &str) -> Option<Self> {
        let known = Self::ALL.iter().find(|(_, word)| *word == text);
        known.map(|(verb, _)| *verb)
    }

    fn word(self) -> &'static str {
        let known = Self::ALL.iter().find(|(verb, _)| *verb == self);
        known.map_or("", |(_, word)| word)
    }
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Microseconds since the epoch.
    pub at: u64,
    /// The kind of step.
    pub verb: Verb,
    /// Number of the invocation.
    pub invocation: u64,
    /// Name of the work.
    pub name: String,
    /// The rest of the line; its meaning depends on the verb.
    pub detail: String,
}

/// Reads the entries of `text`.
///
/// # Panics
/// When a line does not have the form that the module describes.
pub fn read(text: &str) -> Vec<Entry> {
    text.lines()
        .map(|line| {
            let mut words = line.splitn(5, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (at, verb, invocation) = (word().parse(), Verb::read(word()), word().parse());
            let (name, detail) = (word().to_owned(), word().to_owned());
            match (at, verb, invocation) {
                (Ok(at), Some(verb), Ok(invocation)) => Entry {
                    at,
                    verb,
                    invocation,
                    name,
                    detail,
                },
                _ => panic!("not a line of a journal: {line:?}"),
            }
        })
        .collect()
}

/// A journal. Dropping it removes the file.
#[derive(Debug)]
pub struct Journal {
    file: NamedTempFile,
}

impl Journal {
    /// Creates an empty journal.
    ///
    /// # Panics
    /// When no temporary file can be created.
    pub fn new() -> Self {
        let file = NamedTempFile::new().expect("a temporary file can be created");
        Self { file }
    }

    /// Path of the file, for the function's variable `JOURNAL`.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Returns a writer for the test's own entries.
    pub fn pen(&self) -> Pen {
        Pen::new(self.path())
    }

    /// Returns the entries written so far.
    ///
    /// # Panics
    /// When the file is missing or contains an invalid line.
    pub fn entries(&self) -> Vec<Entry> {
        read(&fs::read_to_string(self.path()).expect("the journal's file exists"))
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

/// A writer of journal entries.
#[derive(Debug, Clone)]
pub struct Pen(PathBuf);

impl Pen {
    /// Creates a writer for the journal at `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Appends an entry.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn note(&self, verb: Verb, invocation: u64, name: &str, detail: &str) {
        let micros = Timestamp::from(SystemTime::now()).as_micros();
        let line = format!("{micros} {} {invocation} {name} {detail}\n", verb.word());
        self.append(&line)
            .unwrap_or_else(|error| panic!("{}: {error}", self.0.display()));
    }

    fn append(&self, line: &str) -> io::Result<()> {
        let mut file: File = OpenOptions::new().append(true).create(true).open(&self.0)?;
        file.write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_entries_are_read_back() {
        let journal = Journal::new();
        let pen = journal.pen();
        pen.note(Verb::Begin, 1, "step-0", "victim");
        pen.note(Verb::Begun, 1, "step-0", "53995c3f42cd8ad8");
        pen.note(Verb::Fact, 1, "step-0", r#"{"metadata": {"a b": 1}}"#);
        let entries = journal.entries();
        let verbs: Vec<_> = entries.iter().map(|entry| entry.verb).collect();
        assert_eq!(verbs, [Verb::Begin, Verb::Begun, Verb::Fact]);
        assert_eq!(entries[1].name, "step-0");
        let details: Vec<_> = entries.iter().map(|entry| &*entry.detail).collect();
        let expected = ["victim", "53995c3f42cd8ad8", r#"{"metadata": {"a b": 1}}"#];
        assert_eq!(details, expected);
        assert!(entries[1].at >= entries[0].at);
    }

    #[test]
    #[should_panic(expected = "not a line of a journal")]
    fn incomplete_line_is_refused() {
        read("123 beg");
    }
}
