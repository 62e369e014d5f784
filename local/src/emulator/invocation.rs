//! One invocation: what goes in, what comes out.

use std::{
    process::ExitStatus,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

/// A request to invoke the function.
#[derive(Debug, Clone)]
pub struct Invoke {
    pub(super) payload: Bytes,
    pub(super) trace_header: Option<String>,
    pub(super) request_id: String,
}

impl Invoke {
    /// An invocation with this event, under a new request id and without a trace header.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            trace_header: None,
            request_id: Uuid::new_v4().to_string(),
        }
    }

    /// The caller's `X-Amzn-Trace-Id`. An empty one counts as none.
    #[must_use]
    pub fn trace_header(mut self, header: impl Into<String>) -> Self {
        self.trace_header = Some(header.into()).filter(|header| !header.is_empty());
        self
    }

    /// Sets the request id, which must be new to the environment.
    #[must_use]
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = id.into();
        self
    }
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationResult {
    /// The function answered.
    Response(Bytes),
    /// The function reported an error, for this invocation or for its init phase.
    FunctionError {
        /// The error document as the runtime posted it.
        payload: Bytes,
        /// `Lambda-Runtime-Function-Error-Type`, if the runtime sent it.
        error_type: Option<String>,
    },
    /// The time was over: the function's timeout, or the limit of the init phase.
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// The function's process or an extension ended, or could not be started.
    Crashed {
        /// How the process ended; `None` if it did not start, or an extension reported an error.
        status: Option<ExitStatus>,
        /// Which process, and what happened to it.
        reason: String,
    },
}

/// What an invocation came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The id that the function knew the invocation by.
    pub request_id: String,
    /// How it ended.
    pub result: InvocationResult,
    /// `Lambda-Runtime-Trace-Id` as the runtime got it.
    pub trace_header: Option<String>,
    /// How long the init phase took, if this invocation caused one.
    pub init: Option<Duration>,
    /// When the invocation was handed to the function; when it was received, if it never was.
    pub started: SystemTime,
    /// When the result was known. Lambda's work after that is not part of it.
    pub ended: SystemTime,
}

impl Outcome {
    /// Whether the function answered.
    pub fn is_response(&self) -> bool {
        matches!(self.result, InvocationResult::Response(_))
    }

    /// What the caller of Lambda's `Invoke` gets: the answer, the function's error document, or
    /// the document that Lambda makes for a timeout or a crash.
    pub fn payload(&self) -> Bytes {
        let (error_type, problem) = match &self.result {
            InvocationResult::Response(payload)
            | InvocationResult::FunctionError { payload, .. } => return payload.clone(),
            InvocationResult::TimedOut { after } => (
                "Sandbox.Timedout",
                format!("Task timed out after {:.2} seconds", after.as_secs_f64()),
            ),
            InvocationResult::Crashed { reason, .. } => ("Runtime.ExitError", reason.clone()),
        };
        let message = format!("RequestId: {} Error: {problem}", self.request_id);
        json!({ "errorType": error_type, "errorMessage": message })
            .to_string()
            .into()
    }
}
