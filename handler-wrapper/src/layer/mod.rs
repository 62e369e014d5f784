//! Tracing around a function: settings, entry points, invocation.

#[cfg(feature = "lambda-http")]
pub mod http;
pub(crate) mod invocation;
mod response_stream;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod settings;
#[cfg(feature = "test-util")]
pub mod test;
