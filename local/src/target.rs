//! Functions as event sources and gateways see them.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::emulator::{Environment, Invoke, StreamedResponse};

/// Something that handles events as a Lambda function does: an [`Environment`], or a test's own.
pub trait Target: Send + Sync + 'static {
    /// Handles one event. `trace_header` is the caller's `X-Amzn-Trace-Id`; without one Lambda
    /// starts a trace.
    ///
    /// # Errors
    ///
    /// Returns the error document if the function reported an error, timed out or crashed.
    fn invoke(
        &self,
        event: Bytes,
        trace_header: Option<String>,
    ) -> impl Future<Output = Result<Bytes, Bytes>> + Send;

    /// Handles one event as [`invoke`](Self::invoke) does. A response that the function streams
    /// is sent to `stream` when it begins; by default none is.
    ///
    /// # Errors
    ///
    /// Returns the error document, also for a failure after the response began.
    fn invoke_streaming(
        &self,
        event: Bytes,
        trace_header: Option<String>,
        stream: oneshot::Sender<StreamedResponse>,
    ) -> impl Future<Output = Result<Bytes, Bytes>> + Send {
        drop(stream);
        self.invoke(event, trace_header)
    }
}

impl Target for Environment {
    async fn invoke(&self, event: Bytes, trace_header: Option<String>) -> Result<Bytes, Bytes> {
        let invoke = Invoke::new(event).trace_header(trace_header.unwrap_or_default());
        Self::invoke(self, invoke).await.into_payload()
    }

    async fn invoke_streaming(
        &self,
        event: Bytes,
        trace_header: Option<String>,
        stream: oneshot::Sender<StreamedResponse>,
    ) -> Result<Bytes, Bytes> {
        let invoke = Invoke::new(event).trace_header(trace_header.unwrap_or_default());
        Self::invoke_streaming(self, invoke, stream)
            .await
            .into_payload()
    }
}
