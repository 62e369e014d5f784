//! Finds the trace that came with an event.

mod blocks;
mod cursor;
pub(crate) mod invocation;
pub(crate) mod json;
pub(crate) mod kind;
#[cfg(feature = "sqs")]
pub(crate) mod message;
#[cfg(test)]
mod mutations;
pub(crate) mod names;
pub(crate) mod sources;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;
pub(crate) mod text;
