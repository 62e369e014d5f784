//! A walk over the traces of a period that tests each against a filter expression.

use std::collections::VecDeque;

use super::answer::Period;
use super::conditions::Conditions;
use super::error::ApiError;
use crate::filter::{self, Expression};
use crate::model::Trace;
use crate::store::{Clock, Position, Query, Store, TraceRow};

/// The number of rows that are read at once.
const ROWS: usize = 100;

/// One tested trace.
#[derive(Debug)]
pub(super) struct Step {
    /// Its place in the list.
    pub(super) position: Position,
    /// The trace, if it matches.
    pub(super) found: Option<Found>,
}

/// A trace that matches.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) row: TraceRow,
    /// The tree, if the test needed it.
    tree: Option<Trace>,
}

impl Found {
    /// Returns the tree; `None` if the trace has been deleted.
    pub(super) fn tree(self, store: &Store) -> Result<Option<Trace>, ApiError> {
        match self.tree {
            Some(tree) => Ok(Some(tree)),
            None => Ok(read(store, &self.row.id)?.map(|(_, tree)| tree)),
        }
    }
}

/// A walk over the traces of a period, newest first.
#[derive(Debug)]
pub(super) struct Search {
    query: Query,
    filter: Option<Expression>,
    /// True if every row that the query returns matches the filter.
    is_exact: bool,
    rows: VecDeque<TraceRow>,
    is_last: bool,
    tested: usize,
}

impl Search {
    /// Begins a search; without a filter every trace matches.
    pub(super) fn new(
        clock: Clock,
        period: Period,
        filter: Option<Expression>,
    ) -> Result<Self, ApiError> {
        let period = period.check()?;
        let all = Conditions {
            list: Vec::new(),
            is_exact: true,
        };
        let conditions = filter.as_ref().map_or(all, Conditions::of);
        Ok(Self {
            query: Query {
                clock,
                from: period.start_time,
                to: period.end_time,
                conditions: conditions.list,
                after: None,
                limit: ROWS,
            },
            filter,
            is_exact: conditions.is_exact,
            rows: VecDeque::new(),
            is_last: false,
            tested: 0,
        })
    }

    /// Continues after a place in the list.
    pub(super) fn after(mut self, after: Option<Position>) -> Self {
        self.query.after = after;
        self
    }

    /// Returns the number of traces that were tested.
    pub(super) fn tested(&self) -> usize {
        self.tested
    }

    /// Returns whether the test of a trace reads its documents.
    pub(super) fn reads_documents(&self) -> bool {
        !self.is_exact
    }

    /// Tests the next trace; returns `None` after the last one.
    pub(super) fn next(&mut self, store: &Store) -> Result<Option<Step>, ApiError> {
        if self.rows.is_empty() && !self.is_last {
            self.rows = store.find(&self.query)?.into();
            self.is_last = self.rows.len() < ROWS;
            let clock = self.query.clock;
            let last = self.rows.back().map(|last| last.position(clock));
            self.query.after = last.or(self.query.after);
        }
        let Some(row) = self.rows.pop_front() else {
            return Ok(None);
        };
        self.tested += 1;
        let position = row.position(self.query.clock);
        let found = if self.is_exact {
            Some(Found { row, tree: None })
        } else {
            self.test(store, &row.id)?
        };
        Ok(Some(Step { position, found }))
    }

    fn test(&self, store: &Store, id: &str) -> Result<Option<Found>, ApiError> {
        let Some((row, tree)) = read(store, id)? else {
            return Ok(None);
        };
        let filter = self.filter.as_ref();
        let matches = filter.is_none_or(|filter| filter::matches(filter, &tree));
        Ok(matches.then_some(Found {
            row,
            tree: Some(tree),
        }))
    }
}

/// Returns a trace; `None` if it has been deleted since its row was read.
fn read(store: &Store, id: &str) -> Result<Option<(TraceRow, Trace)>, ApiError> {
    Ok(store.trace(id)?.map(|(row, documents)| {
        let tree = Trace::build(row.id.as_str(), &documents);
        (row, tree)
    }))
}
