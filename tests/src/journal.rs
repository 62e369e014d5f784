//! What happened in a run, written down outside of the tracer, by the function itself and by the
//! test: one file, to which each step appends one line with one write. The order of the lines is
//! the order of the steps, also between processes, and a kill leaves a line whole or out.
//!
//! A line is `MICROS VERB INVOCATION NAME ID`, with an empty id where there is none:
//!
//! | verb | meaning |
//! |---|---|
//! | `begin` | the work called NAME is about to begin |
//! | `begun` | its subsegment has begun, with this id |
//! | `finish` | it is about to end |
//! | `finished` | it has ended |
//! | `held` | it ended before the invocation; its document is held back until that begins |
//! | `absent` | there is no such work in this invocation |
//! | `settled` | the extension has sent all that this invocation handed over |
//! | `gone` | the extension has ended, and with it may have what it had not sent |
//! | `struck` | the test has done to a process what it is about |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::NamedTempFile;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// About to begin.
    Begin,
    /// Has begun.
    Begun,
    /// About to end.
    Finish,
    /// Has ended.
    Finished,
    /// Ended, with its document held back.
    Held,
    /// Does not happen.
    Absent,
    /// All of the invocation was sent.
    Settled,
    /// The extension has ended.
    Gone,
    /// The test has struck.
    Struck,
}

impl Verb {
    const ALL: [(Self, &str); 9] = [
        (Self::Begin, "begin"),
        (Self::Begun, "begun"),
        (Self::Finish, "finish"),
        (Self::Finished, "finished"),
        (Self::Held, "held"),
        (Self::Absent, "absent"),
        (Self::Settled, "settled"),
        (Self::Gone, "gone"),
        (Self::Struck, "struck"),
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

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Microseconds since the epoch.
    pub at: u64,
    /// What happened.
    pub verb: Verb,
    /// In which invocation.
    pub invocation: u64,
    /// To which work.
    pub name: String,
    /// The id of its subsegment, or nothing.
    pub id: String,
}

/// The entries of `text`.
///
/// # Panics
/// When a line is not in the form that the module describes.
pub fn read(text: &str) -> Vec<Entry> {
    text.lines()
        .map(|line| {
            let mut words = line.splitn(5, ' ');
            let mut word = || words.next().unwrap_or_default();
            let (at, verb, invocation) = (word().parse(), Verb::read(word()), word().parse());
            let (name, id) = (word().to_owned(), word().to_owned());
            match (at, verb, invocation) {
                (Ok(at), Some(verb), Ok(invocation)) => Entry {
                    at,
                    verb,
                    invocation,
                    name,
                    id,
                },
                _ => panic!("no line of a journal: {line:?}"),
            }
        })
        .collect()
}

/// A journal; the file goes when it is dropped.
#[derive(Debug)]
pub struct Journal {
    file: NamedTempFile,
}

impl Journal {
    /// An empty one.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    pub fn new() -> Self {
        let file = NamedTempFile::new().expect("there is a place for temporary files");
        Self { file }
    }

    /// The file, for the function's variable `JOURNAL`.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// For the test's own entries.
    pub fn pen(&self) -> Pen {
        Pen::new(self.path())
    }

    /// Length of the file in bytes: it grows with each entry.
    pub fn length(&self) -> u64 {
        fs::metadata(self.path()).map_or(0, |metadata| metadata.len())
    }

    /// The entries up to now.
    ///
    /// # Panics
    /// When the file is gone, or has a line that is none.
    pub fn entries(&self) -> Vec<Entry> {
        read(&fs::read_to_string(self.path()).expect("the journal is there"))
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes to a journal.
#[derive(Debug, Clone)]
pub struct Pen(PathBuf);

impl Pen {
    /// For the journal at `path`.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Appends an entry.
    ///
    /// # Panics
    /// When the file cannot be written to.
    pub fn note(&self, verb: Verb, invocation: u64, name: &str, id: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = now.unwrap_or_default().as_micros();
        let line = format!("{micros} {} {invocation} {name} {id}\n", verb.word());
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
    fn what_is_written_is_read() {
        let journal = Journal::new();
        journal.pen().note(Verb::Begin, 1, "step-0", "");
        journal
            .pen()
            .note(Verb::Begun, 1, "step-0", "53995c3f42cd8ad8");
        let entries = journal.entries();
        let verbs: Vec<_> = entries.iter().map(|entry| entry.verb).collect();
        assert_eq!(verbs, [Verb::Begin, Verb::Begun]);
        assert_eq!(entries[1].name, "step-0");
        assert_eq!(entries[1].id, "53995c3f42cd8ad8");
        assert!(entries[1].at >= entries[0].at);
    }

    #[test]
    #[should_panic(expected = "no line of a journal")]
    fn half_a_line_is_none() {
        read("123 beg");
    }
}
