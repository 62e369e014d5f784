//! Reads the environment. No other file does.

#![allow(
    clippy::disallowed_methods,
    reason = "no other file reads the environment"
)]

use std::env;
use std::ffi::OsString;

/// Value of an environment variable, `None` if it is not set.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// Names of all environment variables.
pub(crate) fn names() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name)
}
