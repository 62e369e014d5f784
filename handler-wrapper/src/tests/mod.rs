//! Helpers of this crate's tests, and tests across its modules.

pub(crate) mod alone;
pub(crate) mod carrying;
pub(crate) mod extension;
pub(crate) mod header;
pub(crate) mod kept;
#[cfg(feature = "tracing")]
pub(crate) mod log;
mod mutations;
pub(crate) mod recorded;
#[cfg(feature = "sqs")]
mod recorded_events;
