//! Invalid filter expressions.

use std::fmt;

/// Longest quoted part of an expression, in characters.
const FOUND: usize = 40;

/// An invalid expression, or one that cannot be evaluated here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// The position of the fault in characters, the first is 1.
    pub position: usize,
    /// The expected form.
    pub expected: String,
    /// The text from the fault on, cut; empty at the end of the expression.
    pub found: String,
}

impl FilterError {
    /// Creates the error for byte `offset` of `text`.
    pub(super) fn at(text: &str, offset: usize, expected: impl Into<String>) -> Self {
        let (before, rest) = text.split_at(text.floor_char_boundary(offset));
        Self {
            position: before.chars().count() + 1,
            expected: expected.into(),
            found: rest.chars().take(FOUND).collect(),
        }
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "position {}: expected {}, ",
            self.position, self.expected
        )?;
        match self.found.as_str() {
            "" => f.write_str("found the end"),
            found => write!(f, "found {found:?}"),
        }
    }
}

impl std::error::Error for FilterError {}
