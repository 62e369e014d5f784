//! Helpers of this crate's tests, and the tests of all of it together.

pub(crate) mod carrying;
pub(crate) mod header;
pub(crate) mod kept;
mod mutations;
pub(crate) mod recorded;
#[cfg(feature = "sqs")]
mod recorded_events;
