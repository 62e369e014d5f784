//! Inserting documents and deleting the oldest traces.

use std::collections::HashMap;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::incoming::{Incoming, Indexed, Refused};

/// Largest sum of the documents of one trace in bytes. X-Ray's own limit is 500 KB (X-Ray quotas);
/// this one bounds the cost of one answer.
const TRACE_LIMIT: i64 = 4 * 1024 * 1024;

/// The limits of a store. The traces that arrived first are deleted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest number of traces, at least 1.
    pub traces: u64,
    /// Largest sum of all documents in bytes. The file is larger, because of its indexes.
    pub bytes: u64,
}

impl Default for Limits {
    /// 10,000 traces and 1 GiB.
    fn default() -> Self {
        Self {
            traces: 10_000,
            bytes: 1 << 30,
        }
    }
}

/// The changes of one trace within one transaction.
#[derive(Debug)]
struct Change {
    key: i64,
    start: f64,
    end: Option<f64>,
    documents: i64,
    open: i64,
    failed: bool,
    bytes: i64,
    /// Bytes of the trace before the transaction.
    stored: i64,
    limited: bool,
}

/// Inserts documents that arrived at `now`, seconds since the epoch, and applies `limits`. Returns
/// one result for each document.
pub(super) fn insert(
    connection: &mut Connection,
    documents: &[Incoming],
    now: f64,
    limits: Limits,
) -> rusqlite::Result<Vec<Option<Refused>>> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut changes: HashMap<&str, Change> = HashMap::new();
    let mut refused = Vec::with_capacity(documents.len());
    let mut created = 0;
    for document in documents {
        let change = match changes.get_mut(document.trace_id.as_str()) {
            Some(change) => change,
            None => {
                let (change, is_new) = begin(&transaction, document, now)?;
                created += i64::from(is_new);
                changes.entry(&document.trace_id).or_insert(change)
            }
        };
        refused.push(insert_one(&transaction, document, change)?);
    }
    let (mut added, mut bytes) = (0, 0);
    for change in changes.values() {
        added += change.documents;
        bytes += change.bytes;
        end(&transaction, change, now)?;
    }
    transaction.prepare_cached(
        "UPDATE totals SET traces = traces + ?1, documents = documents + ?2, bytes = bytes + ?3",
    )?
    .execute(params![created, added, bytes])?;
    delete_oldest(&transaction, limits)?;
    transaction.commit()?;
    Ok(refused)
}

/// Finds the trace of a document, or creates it; returns true in the second case.
fn begin(
    transaction: &Transaction<'_>,
    document: &Incoming,
    now: f64,
) -> rusqlite::Result<(Change, bool)> {
    let found = transaction
        .prepare_cached("SELECT key, bytes FROM traces WHERE id = ?1")?
        .query_row([&document.trace_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (key, stored) = match found {
        Some(found) => found,
        None => {
            let start = document.start;
            transaction
                .prepare_cached(
                    "INSERT INTO traces VALUES (NULL, ?1, ?2, NULL, ?3, 0, 0, 0, 0, 0, 0)",
                )?
                .execute(params![document.trace_id, start, now])?;
            (transaction.last_insert_rowid(), 0)
        }
    };
    let change = Change {
        key,
        start: f64::INFINITY,
        end: None,
        documents: 0,
        open: 0,
        failed: false,
        bytes: 0,
        stored,
        limited: false,
    };
    Ok((change, found.is_none()))
}

/// Inserts one document. A complete document replaces the one with the same id; a document in
/// progress replaces nothing (X-Ray API, "Sending trace data").
fn insert_one(
    transaction: &Transaction<'_>,
    document: &Incoming,
    change: &mut Change,
) -> rusqlite::Result<Option<Refused>> {
    let length = i64::try_from(document.text.len()).unwrap_or(i64::MAX);
    if change.stored + change.bytes + length > TRACE_LIMIT {
        change.limited = true;
        return Ok(Some(Refused {
            id: Some(format!("{:016x}", document.id)),
            code: "TraceLimitExceeded",
            cause: format!(
                "the trace has {} bytes, expected at most {TRACE_LIMIT} with this document",
                change.stored + change.bytes
            ),
        }));
    }
    let former: Option<(bool, i64)> = transaction
        .prepare_cached(
            "SELECT in_progress, octet_length(body) FROM documents WHERE trace = ?1 AND id = ?2",
        )?
        .query_row([change.key, document.id], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    if former.is_some() && document.in_progress {
        return Ok(None);
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO documents VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)")?
        .execute(params![
            change.key,
            document.id,
            document.parent,
            document.name,
            document.start,
            document.end,
            document.in_progress,
            document.is_subsegment,
            document.text,
        ])?;
    for (name, value) in &document.annotations {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO annotations VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![name, kind(value), value, change.key])?;
    }
    let (was_open, had) = former.unwrap_or((false, 0));
    change.documents += i64::from(former.is_none());
    change.open += i64::from(document.in_progress) - i64::from(was_open);
    change.bytes += length - had;
    change.failed |= document.failed;
    change.start = change.start.min(document.start);
    if let Some(end) = document.end {
        change.end = Some(change.end.unwrap_or(end).max(end));
    }
    Ok(None)
}

fn end(transaction: &Transaction<'_>, change: &Change, now: f64) -> rusqlite::Result<()> {
    let changed = change.start.is_finite();
    transaction
        .prepare_cached(
            "UPDATE traces SET start = min(start, ?2), \
             end = coalesce(max(end, ?3), end, ?3), updated = ?4, documents = documents + ?5, \
             open = open + ?6, failed = max(failed, ?7), \
             bytes = bytes + ?8, limited = max(limited, ?9), revision = revision + 1 \
             WHERE key = ?1 AND (?10 OR ?9)",
        )?
        .execute(params![
            change.key,
            change.start,
            change.end,
            now,
            change.documents,
            change.open,
            change.failed,
            change.bytes,
            change.limited,
            changed,
        ])?;
    Ok(())
}

/// Deletes the traces that arrived first until the limits hold; the last one remains.
fn delete_oldest(transaction: &Transaction<'_>, limits: Limits) -> rusqlite::Result<()> {
    let most = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
    loop {
        let (traces, bytes): (i64, i64) = transaction
            .prepare_cached("SELECT traces, bytes FROM totals")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if traces <= 1 || (traces <= most(limits.traces.max(1)) && bytes <= most(limits.bytes)) {
            return Ok(());
        }
        let oldest: (i64, i64, i64) = transaction
            .prepare_cached("SELECT key, documents, bytes FROM traces ORDER BY key LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        for table in [
            "DELETE FROM traces WHERE key = ?1",
            "DELETE FROM documents WHERE trace = ?1",
            "DELETE FROM annotations WHERE trace = ?1",
        ] {
            transaction.prepare_cached(table)?.execute([oldest.0])?;
        }
        transaction
            .prepare_cached(
                "UPDATE totals SET traces = traces - 1, documents = documents - ?1, \
                 bytes = bytes - ?2",
            )?
            .execute([oldest.1, oldest.2])?;
    }
}

/// Returns the number that distinguishes texts, numbers and truth values in the index.
pub(super) fn kind(value: &Indexed) -> i64 {
    match value {
        Indexed::Text(_) => 0,
        Indexed::Number(_) => 1,
        Indexed::Flag(_) => 2,
    }
}

impl ToSql for Indexed {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Self::Text(text) => text.to_sql(),
            Self::Number(number) => number.to_sql(),
            Self::Flag(flag) => flag.to_sql(),
        }
    }
}
