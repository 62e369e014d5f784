//! Settings of the user: environment, sampling, carriers, redaction.

pub(crate) mod carriers;
pub(crate) mod config;
pub(crate) mod redaction;
pub(crate) mod sampling;
