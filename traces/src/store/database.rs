//! Opening a SQLite database: settings, tables and connections.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::Mutex as FairMutex;

use super::error::StoreError;

/// Marks a file as a store of traces (`PRAGMA application_id`): "xray" in ASCII.
const APPLICATION: i32 = 0x7872_6179;
/// Version of the tables (`PRAGMA user_version`).
const VERSION: i32 = 1;
/// The time for which a connection waits for another process.
const BUSY: Duration = Duration::from_secs(10);
/// The time between two attempts to prepare a file.
const PAUSE: Duration = Duration::from_millis(5);
/// Page cache of one connection in KiB.
const CACHE_KIB: i32 = 8 * 1024;

const TABLES: &str = "
CREATE TABLE traces (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    start REAL NOT NULL,
    end REAL,
    updated REAL NOT NULL,
    documents INTEGER NOT NULL,
    open INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    limited INTEGER NOT NULL,
    revision INTEGER NOT NULL
);
CREATE INDEX traces_by_start ON traces (start);
CREATE INDEX traces_by_end ON traces (end);
CREATE INDEX traces_by_update ON traces (updated);
CREATE TABLE documents (
    trace INTEGER NOT NULL,
    id INTEGER NOT NULL,
    parent INTEGER,
    name TEXT NOT NULL,
    start REAL NOT NULL,
    end REAL,
    in_progress INTEGER NOT NULL,
    subsegment INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (trace, id)
) WITHOUT ROWID;
CREATE TABLE annotations (
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    value ANY NOT NULL,
    trace INTEGER NOT NULL,
    PRIMARY KEY (name, kind, value, trace)
) STRICT, WITHOUT ROWID;
CREATE INDEX annotations_by_trace ON annotations (trace);
CREATE TABLE totals (traces INTEGER NOT NULL, documents INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals VALUES (0, 0, 0);
CREATE TABLE groups (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
";

/// The connections to one database. All of them may be used at the same time; one of them writes.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// Serves waiting callers in their order, so that a flood of datagrams delays another writer
    /// by one batch.
    writer: FairMutex<Connection>,
    /// Idle connections for reading; `None` if the database is in memory, where the writing
    /// connection is the only one.
    readers: Option<Mutex<Vec<Connection>>>,
}

impl Database {
    /// Opens or creates the file at `path`.
    pub(super) fn file(path: &Path) -> Result<Self, StoreError> {
        let opened = open_file(path).map_err(|error| StoreError::new(&error, path))?;
        Ok(Self {
            path: path.to_owned(),
            writer: FairMutex::new(check(opened, path)?),
            readers: Some(Mutex::new(Vec::new())),
        })
    }

    /// Creates a database in memory.
    pub(super) fn memory() -> Result<Self, StoreError> {
        let path = Path::new(":memory:");
        let opened = Connection::open_in_memory().map_err(|error| StoreError::new(&error, path))?;
        Ok(Self {
            path: path.to_owned(),
            writer: FairMutex::new(check(opened, path)?),
            readers: None,
        })
    }

    /// Calls `work` with the connection that writes. Blocks while another caller uses it.
    pub(super) fn write<R>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<R>,
    ) -> Result<R, StoreError> {
        work(&mut self.writer.blocking_lock()).map_err(|error| StoreError::new(&error, &self.path))
    }

    /// Calls `work` with a connection that reads one state of the database.
    pub(super) fn read<R>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R, StoreError> {
        let translate = |error| StoreError::new(&error, &self.path);
        let Some(readers) = &self.readers else {
            return work(&self.writer.blocking_lock()).map_err(translate);
        };
        let idle = readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => open_file(&self.path).map_err(translate)?,
        };
        let result = connection
            .transaction()
            .and_then(|transaction| work(&transaction))
            .map_err(translate);
        readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        result
    }
}

fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    // No SQLITE_OPEN_URI: a path that begins with "file:" is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Creates the tables in an empty database, and refuses any other database than a store.
fn check(mut connection: Connection, path: &Path) -> Result<Connection, StoreError> {
    // SQLite does not wait when two processes switch one new file to its write-ahead log.
    let deadline = Instant::now() + BUSY;
    let found = loop {
        match prepare(&mut connection) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(PAUSE);
            }
            other => break other.map_err(|error| StoreError::new(&error, path))?,
        }
    };
    let file = path.display();
    match found {
        (APPLICATION, VERSION) => Ok(connection),
        (APPLICATION, other) => Err(StoreError::Damaged(format!(
            "{file}: version {other} of the store, expected {VERSION}. Another version of this \
             program wrote it; choose another --store"
        ))),
        _ => Err(StoreError::Damaged(format!(
            "{file}: a database of another program, not a store of traces. Choose another --store"
        ))),
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<(i32, i32)> {
    let number = |connection: &Connection, name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0))
    };
    let state = |connection: &Connection| -> rusqlite::Result<(i32, i32)> {
        Ok((
            number(connection, "application_id")?,
            number(connection, "user_version")?,
        ))
    };
    let empty = |connection: &Connection| {
        connection.query_row(
            "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)",
            [],
            |row| row.get::<_, bool>(0),
        )
    };
    if state(connection)? == (0, 0) && empty(connection)? {
        // Survives the death of the process at any moment; the loss of power may cost the last
        // transactions (SQLite, "Write-Ahead Logging").
        connection.pragma_update(None, "journal_mode", "wal")?;
        // Another process may create the tables at the same time.
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        if empty(&transaction)? {
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
    }
    connection.pragma_update(None, "synchronous", "normal")?;
    state(connection)
}
