//! The user's choices.

pub(crate) mod carriers;
pub(crate) mod config;
pub(crate) mod redaction;
pub(crate) mod sampling;
