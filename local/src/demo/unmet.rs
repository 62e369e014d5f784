//! The result of a demonstration's checks.

use std::error::Error;
use std::fmt;

/// Promises that the traces did not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet(pub Vec<String>);

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the traces are not as promised:")?;
        self.0
            .iter()
            .try_for_each(|promise| write!(f, "\n  - {promise}"))
    }
}

impl Error for Unmet {}
