//! The X-Ray API with AWS's client for Rust, and hostile clients.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

mod hostile;
mod operations;
mod summaries;
mod support;
