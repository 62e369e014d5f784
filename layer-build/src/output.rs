//! Lines for the user.

use std::fmt::Display;
use std::io::{Write, stdout};

use anyhow::{Context, Result};

/// Writes a line to standard output.
///
/// # Errors
///
/// If standard output is closed.
pub(crate) fn say(text: impl Display) -> Result<()> {
    writeln!(stdout(), "{text}").context("write to stdout")
}
