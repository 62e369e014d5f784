//! Tests of the crate through its public interface.

mod api_gateway;
mod check;
mod emulator;
mod event_source;
mod foreign;
mod sqs;
mod streams;
mod support;
