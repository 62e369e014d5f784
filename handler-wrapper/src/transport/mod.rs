//! Transport of documents out of the process.

mod counts;
mod direct;
pub(crate) mod dispatch;
mod handoff;
pub(crate) mod sink;
