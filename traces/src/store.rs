//! Documents in SQLite, in a file or in memory.
//!
//! The texts of the documents are stored as they arrived, beside the columns by which they are
//! found. Several processes may use one file at the same time. The file survives the death of a
//! process at any moment. All functions block; async callers use `spawn_blocking`.

mod counts;
mod database;
mod error;
mod incoming;
mod insert;
mod query;
mod transfer;

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::OptionalExtension;

pub use counts::Counts;
pub use error::StoreError;
pub use incoming::{DOCUMENT_LIMIT, Incoming, Indexed, Refused, normal_trace_id};
pub use insert::Limits;
pub use query::{Clock, Comparison, Condition, Position, Query, TraceRow};

use crate::model::Document;
use counts::Counters;
use database::Database;

/// The number of imported lines that are inserted in one transaction.
const IMPORTED_AT_ONCE: usize = 1_000;

/// Documents by trace.
///
/// ```
/// use tracestitch_traces::store::{Limits, Store};
///
/// let store = Store::memory(Limits::default())?;
/// let document = r#"{"trace_id": "1-581cf771-a006649127e371903a2de979",
///     "id": "70de5b6f19ff9a0a", "name": "shop", "start_time": 1.0, "end_time": 2.5}"#;
/// let refused = store.put(vec![document.to_owned(), "{}".to_owned()])?;
/// assert!(refused[0].is_none() && refused[1].is_some());
/// let (row, documents) = store.trace("1-581cf771-a006649127e371903a2de979")?.unwrap();
/// assert_eq!((row.end - row.start, documents[0].name.as_str()), (1.5, "shop"));
/// # Ok::<(), tracestitch_traces::store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct Store {
    database: Database,
    limits: Limits,
    counters: Counters,
}

/// The number of documents and traces in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// The number of traces.
    pub traces: u64,
    /// The number of documents.
    pub documents: u64,
    /// The sum of the documents' lengths in bytes.
    pub bytes: u64,
}

/// The result of an import.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The number of documents that were stored.
    pub documents: u64,
    /// The numbers of the lines that were refused, the first is 1, and the reasons.
    pub refused: Vec<(usize, Refused)>,
}

impl Store {
    /// Opens the store at `path`, or creates it.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened, is damaged or belongs to another program.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        Ok(Self::new(Database::file(path)?, limits))
    }

    /// Creates a store in memory.
    ///
    /// # Errors
    ///
    /// Fails if SQLite cannot allocate memory.
    pub fn memory(limits: Limits) -> Result<Self, StoreError> {
        Ok(Self::new(Database::memory()?, limits))
    }

    fn new(database: Database, limits: Limits) -> Self {
        Self {
            database,
            limits,
            counters: Counters::default(),
        }
    }

    /// Stores the texts of documents in one transaction, and returns for each the reason if it was
    /// refused. The documents are in the file when this function returns.
    ///
    /// # Errors
    ///
    /// Fails if SQLite does; then no document of the call is stored, and all count as lost.
    pub fn put(&self, texts: Vec<String>) -> Result<Vec<Option<Refused>>, StoreError> {
        let mut results: Vec<Option<Refused>> = Vec::with_capacity(texts.len());
        let mut valid = Vec::with_capacity(texts.len());
        for text in texts {
            results.push(match Incoming::read(text) {
                Ok(incoming) => {
                    valid.push(incoming);
                    None
                }
                Err(refused) => Some(refused),
            });
        }
        let inserted = self
            .database
            .write(|connection| insert::insert(connection, &valid, now(), self.limits));
        let inserted = inserted.inspect_err(|error| {
            self.counters.change(|counts| {
                counts.lost += valid.len() as u64;
                counts.failure = Some(error.to_string());
            });
        })?;
        let mut inserted = inserted.into_iter();
        for result in results.iter_mut().filter(|result| result.is_none()) {
            *result = inserted.next().flatten();
        }
        self.counters.change(|counts| {
            for result in &results {
                match result {
                    None => counts.stored += 1,
                    Some(refused) => counts.refuse(refused.clone()),
                }
            }
        });
        Ok(results)
    }

    /// Counts a datagram that contains no document.
    pub fn refuse(&self, refused: Refused) {
        self.counters.change(|counts| counts.refuse(refused));
    }

    /// Counts documents that were lost before they reached the store.
    pub fn lose(&self, count: u64) {
        self.counters.change(|counts| counts.lost += count);
    }

    /// Returns the counters since this store was opened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Returns the number of stored traces and documents.
    ///
    /// # Errors
    ///
    /// Fails if SQLite does.
    pub fn totals(&self) -> Result<Totals, StoreError> {
        let number = |value: i64| value.max(0).cast_unsigned();
        self.database.read(|connection| {
            connection.query_row("SELECT traces, documents, bytes FROM totals", [], |row| {
                Ok(Totals {
                    traces: number(row.get(0)?),
                    documents: number(row.get(1)?),
                    bytes: number(row.get(2)?),
                })
            })
        })
    }

    /// Returns the traces that `query` matches, newest first.
    ///
    /// # Errors
    ///
    /// Fails if SQLite does.
    pub fn find(&self, query: &Query) -> Result<Vec<TraceRow>, StoreError> {
        self.database
            .read(|connection| query::find(connection, query))
    }

    /// Returns a trace and its documents by start, or `None` for an unknown id.
    ///
    /// # Errors
    ///
    /// Fails if SQLite does.
    pub fn trace(&self, id: &str) -> Result<Option<(TraceRow, Vec<Document>)>, StoreError> {
        let id = id.to_ascii_lowercase();
        self.database.read(|connection| {
            let Some(row) = query::row(connection, &id)? else {
                return Ok(None);
            };
            let documents = query::documents(connection, row.key)?;
            Ok(Some((row, documents)))
        })
    }

    /// Returns the groups as JSON, by name.
    ///
    /// # Errors
    ///
    /// Fails if SQLite does.
    pub fn groups(&self) -> Result<Vec<String>, StoreError> {
        self.database.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT body FROM groups ORDER BY name")?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect()
        })
    }

    /// Changes the group `name` to the value that `change` makes of the present one; `None` is no
    /// group. Returns the present and the new one.
    ///
    /// # Errors
    ///
    /// Fails if SQLite does.
    pub fn change_group(
        &self,
        name: &str,
        change: impl FnOnce(Option<&str>) -> Option<String>,
    ) -> Result<(Option<String>, Option<String>), StoreError> {
        self.database.write(|connection| {
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let former: Option<String> = transaction
                .query_row("SELECT body FROM groups WHERE name = ?1", [name], |row| {
                    row.get(0)
                })
                .optional()?;
            let new = change(former.as_deref());
            match &new {
                Some(body) => transaction.execute(
                    "INSERT OR REPLACE INTO groups VALUES (?1, ?2)",
                    [name, body],
                )?,
                None => transaction.execute("DELETE FROM groups WHERE name = ?1", [name])?,
            };
            transaction.commit()?;
            Ok((former, new))
        })
    }

    /// Stores documents that are given as JSON lines. Empty lines are skipped.
    ///
    /// # Errors
    ///
    /// Fails if the input cannot be read or SQLite fails; the lines before that are stored.
    pub fn import(&self, mut input: impl BufRead) -> Result<Imported, StoreError> {
        let mut imported = Imported::default();
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        let mut number = 0;
        loop {
            let line = transfer::read_line(&mut input)?;
            let is_last = line.is_none();
            number += 1;
            if let Some(line) = line.filter(|line| !line.trim().is_empty()) {
                texts.push(line);
                numbers.push(number);
            }
            if texts.len() == IMPORTED_AT_ONCE || is_last {
                let results = self.put(std::mem::take(&mut texts))?;
                for (number, result) in numbers.drain(..).zip(results) {
                    match result {
                        None => imported.documents += 1,
                        Some(refused) => imported.refused.push((number, refused)),
                    }
                }
            }
            if is_last {
                return Ok(imported);
            }
        }
    }

    /// Writes all documents as JSON lines and returns their number.
    ///
    /// # Errors
    ///
    /// Fails if the output cannot be written or SQLite fails.
    pub fn export(&self, mut output: impl Write) -> Result<u64, StoreError> {
        let written = self
            .database
            .read(|connection| transfer::export(connection, &mut output))?;
        Ok(written?)
    }
}

/// Returns the current time in seconds since the epoch.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
