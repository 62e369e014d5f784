//! The trace that came with an event or a message.

mod blocks;
mod cursor;
pub mod embed;
pub(crate) mod invocation;
pub(crate) mod json;
#[cfg(feature = "sqs")]
pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod shape;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;
pub(crate) mod text;
