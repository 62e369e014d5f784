//! Tests of the crate through its public interface.

mod check;
mod emulator;
mod event_source;
mod sqs;
mod support;
