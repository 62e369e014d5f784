//! Helpers without a domain.

pub(crate) mod alarm;
pub(crate) mod backtrace;
pub(crate) mod clock;
pub(crate) mod diagnostics;
pub(crate) mod environment;
pub(crate) mod last_panic;
pub(crate) mod memory;
pub(crate) mod user_code;
