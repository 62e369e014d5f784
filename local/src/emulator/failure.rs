//! Failures that end an environment early.

use std::{process::ExitStatus, time::Duration};

use bytes::Bytes;

use super::invocation::InvocationResult;

/// A failure that ends an environment early.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// A process could not be started.
    NotStarted { process: String, problem: String },
    /// The runtime reported an error of its init phase.
    InitError {
        payload: Bytes,
        error_type: Option<String>,
    },
    /// The init phase took too long.
    InitTimedOut { limit: Duration },
    /// A process ended.
    Exited { process: String, status: ExitStatus },
    /// An extension reported an error.
    ExtensionError {
        extension: String,
        error_type: String,
    },
}

impl From<Failure> for InvocationResult {
    fn from(failure: Failure) -> Self {
        let crashed = |status, reason| Self::Crashed { status, reason };
        match failure {
            Failure::InitError {
                payload,
                error_type,
            } => Self::FunctionError {
                payload,
                error_type,
            },
            Failure::InitTimedOut { limit } => Self::TimedOut { after: limit },
            Failure::Exited { process, status } => {
                crashed(Some(status), format!("{process} ended with {status}"))
            }
            Failure::NotStarted { process, problem } => {
                crashed(None, format!("{process} could not be started: {problem}"))
            }
            Failure::ExtensionError {
                extension,
                error_type,
            } => crashed(None, format!("extension {extension} reported {error_type}")),
        }
    }
}
