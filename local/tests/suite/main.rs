//! Tests of the crate through its public interface.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

mod api_gateway;
mod command_line;
mod emulator;
mod event_source;
mod foreign;
mod reading;
mod run;
mod sqs;
mod streams;
mod support;
