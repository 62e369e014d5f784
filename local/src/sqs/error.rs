//! Errors of SQS.

use std::fmt;

/// An error that SQS returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsError {
    /// The code, such as `AWS.SimpleQueueService.NonExistentQueue`.
    pub code: String,
    /// The message.
    pub message: String,
}

impl SqsError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            code: "InvalidParameterValue".to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for SqsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQS: {}: {}", self.code, self.message)
    }
}

impl std::error::Error for SqsError {}
