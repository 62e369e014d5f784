//! Batches of items, each item in its producer's trace.

pub(crate) mod consumer;
pub(crate) mod item;
mod lanes;
pub(crate) mod stitch;
