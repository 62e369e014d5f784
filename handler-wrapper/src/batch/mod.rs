//! Batches of items, each item in its producer's trace.

pub(crate) mod item;
mod lanes;
pub(crate) mod report;
pub(crate) mod schedule;
pub(crate) mod stitch;
