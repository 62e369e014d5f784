//! The error type of functions that start many parts.

use std::error::Error;

/// A result whose error is any error, as text for the user.
pub type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;
