//! Around a function.

#[cfg(feature = "http")]
pub mod http;
pub(crate) mod invocation;
mod response_stream;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod settings;
