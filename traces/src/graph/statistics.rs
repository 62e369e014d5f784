//! Counts and times of segments or calls.

use serde::Serialize;

use crate::model::Node;

/// Counts of outcomes. One segment or call is counted once: as a fault, else as an error, else as
/// ok. A throttle is one kind of error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Statistics {
    /// The number of successes.
    pub ok: u64,
    /// The number of errors that are not throttles.
    pub error: u64,
    /// The number of throttles.
    pub throttle: u64,
    /// The number of faults.
    pub fault: u64,
    /// The number of all.
    pub total: u64,
    /// The sum of all durations in seconds.
    pub time: f64,
}

impl Statistics {
    /// Adds a segment or call; returns false for one in progress, which is not counted.
    pub fn add(&mut self, node: &Node) -> bool {
        let Some(duration) = node.duration() else {
            return false;
        };
        let count = match (node.fault, node.throttle, node.error) {
            (true, ..) => &mut self.fault,
            (_, true, _) => &mut self.throttle,
            (.., true) => &mut self.error,
            _ => &mut self.ok,
        };
        *count += 1;
        self.total += 1;
        self.time += duration;
        true
    }
}
