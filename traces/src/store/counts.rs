//! Counters of a store since its start.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::incoming::Refused;

/// The number of refusals whose reason is kept.
const KEPT: usize = 100;

/// The counters of a store since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents that were stored.
    pub stored: u64,
    /// Documents that were refused, by the code of the reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Datagrams and documents that were lost because the store could not keep up or failed.
    pub lost: u64,
    /// The last error of the store, for which it lost documents.
    pub failure: Option<String>,
    /// The last refusals.
    pub reasons: VecDeque<Refused>,
}

/// Counters that several threads change.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Counts>);

impl Counters {
    pub(super) fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn read(&self) -> Counts {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Counts {
    pub(super) fn refuse(&mut self, refused: Refused) {
        *self.refused.entry(refused.code).or_default() += 1;
        if self.reasons.len() == KEPT {
            self.reasons.pop_front();
        }
        self.reasons.push_back(refused);
    }
}
