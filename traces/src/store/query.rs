//! Finding traces and reading their documents.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::incoming::Indexed;
use super::insert::kind;
use crate::model::Document;

/// Largest number of traces with an annotation for which the index of annotations is read first. A
/// more frequent annotation is looked up for each trace of the period instead.
const RARE: i64 = 5_000;

/// The time of a trace that a period refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The start of the earliest document.
    Start,
    /// The end of the latest document.
    End,
    /// The arrival of the last document.
    Arrival,
}

/// A comparison with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>=`
    AtLeast,
    /// `>`
    MoreThan,
    /// `<=`
    AtMost,
    /// `<`
    LessThan,
}

/// A condition that every result meets.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A document of the trace has this annotation.
    Annotation(String, Indexed),
    /// The seconds from the trace's start to its end compare with a number in this way.
    Lasts(Comparison, f64),
    /// A segment or subsegment has a flag of failure.
    Failed,
}

/// A place in a list of traces, newest first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// The trace's time, seconds since the epoch.
    pub at: f64,
    /// The trace's key.
    pub key: i64,
}

/// A search for traces.
#[derive(Debug, Clone)]
pub struct Query {
    /// The time that `from` and `to` refer to.
    pub clock: Clock,
    /// The first second of the period, since the epoch.
    pub from: f64,
    /// The last second of the period, since the epoch.
    pub to: f64,
    /// All of these hold.
    pub conditions: Vec<Condition>,
    /// The last result of the former page.
    pub after: Option<Position>,
    /// Largest number of results.
    pub limit: usize,
}

/// One trace without its documents.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceRow {
    /// The number of the trace in the store, in order of arrival.
    pub key: i64,
    /// The trace id, in lower case.
    pub id: String,
    /// The earliest start, seconds since the epoch.
    pub start: f64,
    /// The latest end, or the earliest start if nothing has ended.
    pub end: f64,
    /// The arrival of the last document.
    pub updated: f64,
    /// The number of documents in progress.
    pub open: u64,
    /// True if documents were refused because the trace was too large.
    pub limited: bool,
    /// Grows with every change.
    pub revision: i64,
}

impl TraceRow {
    /// Returns the place of this trace in a list that is ordered by `clock`.
    #[must_use]
    pub fn position(&self, clock: Clock) -> Position {
        let at = match clock {
            Clock::Start => self.start,
            Clock::End => self.end,
            Clock::Arrival => self.updated,
        };
        Position { at, key: self.key }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            id: row.get(1)?,
            start: row.get(2)?,
            end: row.get(3)?,
            updated: row.get(4)?,
            open: row.get::<_, i64>(5)?.max(0).cast_unsigned(),
            limited: row.get(6)?,
            revision: row.get(7)?,
        })
    }
}

const COLUMNS: &str = "key, id, start, coalesce(end, start), updated, open, limited, revision";

/// Returns the traces that a query matches, newest first.
pub(super) fn find(connection: &Connection, query: &Query) -> rusqlite::Result<Vec<TraceRow>> {
    let clock = match query.clock {
        Clock::Start => "start",
        Clock::End => "end",
        Clock::Arrival => "updated",
    };
    let mut text = format!("SELECT {COLUMNS} FROM traces WHERE {clock} BETWEEN ? AND ?");
    let mut values = vec![Sql::from(query.from), Sql::from(query.to)];
    for condition in &query.conditions {
        match condition {
            Condition::Annotation(name, value) => {
                text.push_str(if is_rare(connection, name, value)? {
                    " AND key IN (SELECT trace FROM annotations \
                     WHERE name = ? AND kind = ? AND value = ?)"
                } else {
                    " AND EXISTS (SELECT 1 FROM annotations \
                     WHERE name = ? AND kind = ? AND value = ? AND trace = traces.key)"
                });
                values.extend([Sql::from(name.clone()), kind(value).into(), sql(value)]);
            }
            Condition::Lasts(comparison, seconds) => {
                text.push_str(match comparison {
                    Comparison::AtLeast => " AND max(coalesce(end, start) - start, 0) >= ?",
                    Comparison::MoreThan => " AND max(coalesce(end, start) - start, 0) > ?",
                    Comparison::AtMost => " AND max(coalesce(end, start) - start, 0) <= ?",
                    Comparison::LessThan => " AND max(coalesce(end, start) - start, 0) < ?",
                });
                values.push((*seconds).into());
            }
            Condition::Failed => text.push_str(" AND failed"),
        }
    }
    if let Some(after) = query.after {
        text.push_str(&format!(" AND ({clock}, key) < (?, ?)"));
        values.extend([Sql::from(after.at), Sql::from(after.key)]);
    }
    text.push_str(&format!(" ORDER BY {clock} DESC, key DESC LIMIT ?"));
    values.push(i64::try_from(query.limit).unwrap_or(i64::MAX).into());
    let mut statement = connection.prepare_cached(&text)?;
    let rows = statement.query_map(params_from_iter(values), TraceRow::read)?;
    rows.collect()
}

fn is_rare(connection: &Connection, name: &str, value: &Indexed) -> rusqlite::Result<bool> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM annotations \
             WHERE name = ?1 AND kind = ?2 AND value = ?3 LIMIT ?4)",
        )?
        .query_row(params![name, kind(value), value, RARE + 1], |row| {
            row.get(0)
        })?;
    Ok(count <= RARE)
}

fn sql(value: &Indexed) -> Sql {
    match value {
        Indexed::Text(text) => text.clone().into(),
        Indexed::Number(number) => (*number).into(),
        Indexed::Flag(flag) => (*flag).into(),
    }
}

/// Returns the trace with this id, in lower case.
pub(super) fn row(connection: &Connection, id: &str) -> rusqlite::Result<Option<TraceRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM traces WHERE id = ?1"))?
        .query_row([id], TraceRow::read)
        .optional()
}

/// Returns the documents of one trace, by start.
pub(super) fn documents(connection: &Connection, key: i64) -> rusqlite::Result<Vec<Document>> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM documents WHERE trace = ?1 ORDER BY start, id")?;
    let mut rows = statement.query([key])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(0)?.as_str()?;
        // Every stored text was read before it was stored.
        found.extend(serde_json::from_str(text).ok().and_then(Document::read));
    }
    Ok(found)
}
