//! One invocation: its event and its outcome.

use std::{
    process::ExitStatus,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

/// A request to invoke the function.
#[derive(Debug, Clone)]
pub struct Invoke {
    pub(super) payload: Bytes,
    pub(super) trace_header: Option<String>,
    pub(super) request_id: String,
}

impl Invoke {
    /// Creates an invocation with this event, a new request id and no trace header.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            trace_header: None,
            request_id: Uuid::new_v4().to_string(),
        }
    }

    /// Sets the caller's `X-Amzn-Trace-Id`. An empty one counts as absent.
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

/// A response that the function streams.
#[derive(Debug)]
pub struct StreamedResponse {
    /// The `Content-Type` under which the runtime sends it.
    pub content_type: Option<String>,
    /// Its parts, as soon as the runtime has sent them. The channel closes at the end of the
    /// response, and when the function fails; the invocation's outcome distinguishes the two.
    pub parts: mpsc::Receiver<Bytes>,
}

/// The result of an invocation.
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
    /// The function's timeout or the limit of the init phase passed.
    TimedOut {
        /// The limit.
        after: Duration,
    },
    /// The function's process or an extension ended, or could not be started.
    Crashed {
        /// The process's exit status; `None` if it did not start, or an extension reported an error.
        status: Option<ExitStatus>,
        /// Which process, and what happened to it.
        reason: String,
    },
}

/// The outcome of an invocation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// The request id that the function got.
    pub request_id: String,
    /// The result.
    pub result: InvocationResult,
    /// `Lambda-Runtime-Trace-Id` as the runtime got it.
    pub trace_header: Option<String>,
    /// The duration of the init phase, if this invocation caused one.
    pub init: Option<Duration>,
    /// The time at which the function got the invocation; if it never did, the time at which the
    /// emulator got it.
    pub started: SystemTime,
    /// The time of the result. Lambda's later work is not included.
    pub ended: SystemTime,
}

impl Outcome {
    /// Returns whether the function answered.
    pub fn is_response(&self) -> bool {
        matches!(self.result, InvocationResult::Response(_))
    }

    /// Returns what the caller of Lambda's `Invoke` gets: the answer, the function's error
    /// document, or the document that Lambda makes for a timeout or a crash.
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

    /// Returns the payload, as an error unless the function answered.
    pub(crate) fn into_payload(self) -> Result<Bytes, Bytes> {
        if self.is_response() {
            Ok(self.payload())
        } else {
            Err(self.payload())
        }
    }
}
