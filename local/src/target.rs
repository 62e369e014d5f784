//! What event sources and gateways invoke.

use bytes::Bytes;

use crate::emulator::{Environment, Invoke};

/// Something that takes events as a Lambda function does; an [`Environment`], or a stand-in.
pub trait Target: Send + Sync + 'static {
    /// Hands over one event and waits for its end. `trace_header` is the caller's
    /// `X-Amzn-Trace-Id`; without one Lambda starts a trace.
    ///
    /// # Errors
    ///
    /// The error document, when the function reported an error, timed out or crashed.
    fn invoke(
        &self,
        event: Bytes,
        trace_header: Option<String>,
    ) -> impl Future<Output = Result<Bytes, Bytes>> + Send;
}

impl Target for Environment {
    async fn invoke(&self, event: Bytes, trace_header: Option<String>) -> Result<Bytes, Bytes> {
        let invoke = Invoke::new(event).trace_header(trace_header.unwrap_or_default());
        let outcome = Self::invoke(self, invoke).await;
        if outcome.is_response() {
            Ok(outcome.payload())
        } else {
            Err(outcome.payload())
        }
    }
}
