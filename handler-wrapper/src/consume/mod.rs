//! Entry points around each message or record of a batch.

#[cfg(feature = "sqs")]
pub mod sqs;
#[cfg(feature = "streams")]
pub mod streams;
