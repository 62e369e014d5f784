//! Trace context that arrives with an event or a message.

pub mod embed;
#[cfg(any(feature = "sqs", feature = "streams"))]
pub(crate) mod fields;
pub(crate) mod invocation;
#[cfg(feature = "sqs")]
pub(crate) mod message;
pub(crate) mod names;
mod places;
pub(crate) mod search;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;
pub(crate) mod text;
