//! The context of every operation: the store and the summaries that are kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::store::{Store, TraceRow};

/// Largest number of kept summaries, each of a few kilobytes.
const KEPT: usize = 2_000;

/// The store of a server and its kept summaries.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) store: Arc<Store>,
    /// By trace: the revision and its summary.
    summaries: Mutex<HashMap<i64, (i64, Value)>>,
}

impl Context {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            store,
            summaries: Mutex::default(),
        }
    }

    /// Returns the kept summary of this revision of a trace.
    pub(super) fn summary(&self, row: &TraceRow) -> Option<Value> {
        let summaries = self
            .summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (revision, summary) = summaries.get(&row.key)?;
        (*revision == row.revision).then(|| summary.clone())
    }

    /// Keeps the summary of this revision of a trace.
    pub(super) fn keep(&self, row: &TraceRow, summary: &Value) {
        let mut summaries = self
            .summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if summaries.len() >= KEPT {
            summaries.clear();
        }
        summaries.insert(row.key, (row.revision, summary.clone()));
    }
}
