//! Errors of the store, each with the next step for the user.

use std::fmt;
use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

/// An error of the store.
#[derive(Debug)]
pub enum StoreError {
    /// The disk or the file's size limit is exhausted.
    Full(String),
    /// The file is damaged, or another program wrote it.
    Damaged(String),
    /// The file or its folder cannot be opened or written.
    Inaccessible(String),
    /// Another process locked the file for longer than the store waits.
    Locked(String),
    /// Reading or writing an exchanged file failed.
    Io(io::Error),
    /// Any other error of SQLite.
    Other(String),
}

impl StoreError {
    /// Translates an error of SQLite about the file at `path`.
    pub(super) fn new(error: &rusqlite::Error, path: &Path) -> Self {
        let file = path.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(format!(
                "{file}: the disk is full ({error}). Free space or choose another --store; nothing \
                 is stored until then, and the stored traces remain readable"
            )),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(format!(
                "{file}: damaged, or not a store of traces ({error}). Move the file away to start \
                 with an empty store; `sqlite3 {file} .recover` may save its documents"
            )),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Inaccessible(format!(
                    "{file}: cannot be opened or written ({error}). The folder must exist, and this \
                 user must be allowed to write the file and its folder"
                ))
            }
            Some(ErrorCode::SystemIoFailure) => Self::Inaccessible(format!(
                "{file}: reading or writing failed ({error}). Check the disk and its free space"
            )),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked(format!(
                "{file}: locked by another process ({error}). End that process or try again"
            )),
            _ => Self::Other(format!("{file}: {error}")),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(text)
            | Self::Damaged(text)
            | Self::Inaccessible(text)
            | Self::Locked(text)
            | Self::Other(text) => f.write_str(text),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
