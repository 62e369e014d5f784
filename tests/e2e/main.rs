//! End-to-end tests with real processes and sockets, one module per promise.

mod chain;
mod emulated;
mod failures;
mod harness;
mod hostile;
mod interrupted;
mod off;
mod orders;
mod sampling;
mod support;
