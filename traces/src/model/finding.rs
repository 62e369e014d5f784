//! Defects of a trace as a whole.

use std::fmt;

use serde::Serialize;

/// A kind of defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The parent that a document names was not received.
    MissingParent,
    /// Documents name each other, or one names itself, as parents.
    Cycle,
    /// Two finished documents have the same id.
    Duplicate,
    /// A time is missing, or an end is before its start.
    InvalidTime,
    /// A document belongs to another trace.
    ForeignTrace,
}

/// A defect of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of defect.
    pub rule: Rule,
    /// The id of the segment or subsegment.
    pub id: String,
    /// The found defect in words.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            Rule::MissingParent => "missing-parent",
            Rule::Cycle => "cycle",
            Rule::Duplicate => "duplicate",
            Rule::InvalidTime => "invalid-time",
            Rule::ForeignTrace => "foreign-trace",
        };
        write!(f, "{rule}: {}: {}", self.id, self.text)
    }
}
