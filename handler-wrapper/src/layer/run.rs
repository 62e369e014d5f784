//! Traced replacements of `lambda_runtime::run`.

use std::fmt::Debug;
use std::future::Future;

use bytes::Bytes;
use futures_util::Stream;
use lambda_runtime::{
    Diagnostic, Error, IntoFunctionResponse, LambdaEvent, Runtime, layers::TracingLayer,
};
use serde::{Deserialize, Serialize};
use tower::{Layer, Service, ServiceExt};

use super::{response_stream::HandlerResponse, settings::TraceLayer};

/// Runs `handler` as a traced Lambda function: a replacement of [`lambda_runtime::run`] with the
/// same bounds.
///
/// A streamed response has a subsegment `response` under the handler's, from its first part to its
/// last. Calls that are made while it is polled hang under that.
///
/// For rules of redaction or sampling see [`TraceLayer::run`].
///
/// ```no_run
/// use lambda_runtime::{Error, LambdaEvent, service_fn};
/// use serde_json::Value;
///
/// async fn handler(event: LambdaEvent<Value>) -> Result<Value, Error> {
///     Ok(event.payload)
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     tracestitch::run(service_fn(handler)).await
/// }
/// ```
///
/// # Errors
///
/// As [`lambda_runtime::run`]: if the Runtime API cannot be reached. Tracing adds none.
///
/// # Panics
///
/// As [`lambda_runtime::run`]: if variables are missing that Lambda always sets.
pub async fn run<A, F, R, B, S, D, E>(handler: F) -> Result<(), Error>
where
    F: Service<LambdaEvent<A>, Response = R>,
    F::Future: Future<Output = Result<R, F::Error>>,
    F::Error: Into<Diagnostic> + Debug + 'static,
    A: for<'de> Deserialize<'de>,
    R: IntoFunctionResponse<B, S>,
    B: Serialize,
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send,
    E: Into<Error> + Send + Debug,
{
    TraceLayer::new().run(handler).await
}

/// Runs `handler` as a traced Lambda function that serves several invocations at once: a
/// replacement of [`lambda_runtime::run_concurrent`] with the same bounds.
///
/// Each invocation, and each message of each batch, keeps its own trace.
///
/// # Errors
///
/// As [`lambda_runtime::run_concurrent`].
///
/// # Panics
///
/// As [`lambda_runtime::run_concurrent`].
#[cfg(feature = "concurrency-tokio")]
pub async fn run_concurrent<A, F, R, B, S, D, E>(handler: F) -> Result<(), Error>
where
    F: Service<LambdaEvent<A>, Response = R> + Clone + Send + 'static,
    F::Future: Future<Output = Result<R, F::Error>> + Send + 'static,
    F::Error: Into<Diagnostic> + Debug + Send + 'static,
    A: for<'de> Deserialize<'de> + Send + 'static,
    R: IntoFunctionResponse<B, S> + Send + 'static,
    B: Serialize + Send + 'static,
    S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
    D: Into<Bytes> + Send + 'static,
    E: Into<Error> + Send + Debug + 'static,
{
    TraceLayer::new().run_concurrent(handler).await
}

impl TraceLayer {
    /// Runs `handler` as [`run`](crate::run()) does, with these settings.
    ///
    /// # Errors
    ///
    /// As [`run`](crate::run()).
    ///
    /// # Panics
    ///
    /// As [`run`](crate::run()).
    pub async fn run<A, F, R, B, S, D, E>(self, handler: F) -> Result<(), Error>
    where
        F: Service<LambdaEvent<A>, Response = R>,
        F::Future: Future<Output = Result<R, F::Error>>,
        F::Error: Into<Diagnostic> + Debug + 'static,
        A: for<'de> Deserialize<'de>,
        R: IntoFunctionResponse<B, S>,
        B: Serialize,
        S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
        D: Into<Bytes> + Send,
        E: Into<Error> + Send + Debug,
    {
        Runtime::new(self.layer(handler.map_response(HandlerResponse::of)))
            .layer(TracingLayer::new())
            .layer(self)
            .run()
            .await
    }

    /// Runs `handler` as [`run_concurrent`](crate::run_concurrent()) does, with these settings.
    ///
    /// # Errors
    ///
    /// As [`run_concurrent`](crate::run_concurrent()).
    ///
    /// # Panics
    ///
    /// As [`run_concurrent`](crate::run_concurrent()).
    #[cfg(feature = "concurrency-tokio")]
    pub async fn run_concurrent<A, F, R, B, S, D, E>(self, handler: F) -> Result<(), Error>
    where
        F: Service<LambdaEvent<A>, Response = R> + Clone + Send + 'static,
        F::Future: Future<Output = Result<R, F::Error>> + Send + 'static,
        F::Error: Into<Diagnostic> + Debug + Send + 'static,
        A: for<'de> Deserialize<'de> + Send + 'static,
        R: IntoFunctionResponse<B, S> + Send + 'static,
        B: Serialize + Send + 'static,
        S: Stream<Item = Result<D, E>> + Unpin + Send + 'static,
        D: Into<Bytes> + Send + 'static,
        E: Into<Error> + Send + Debug + 'static,
    {
        Runtime::new(self.layer(handler.map_response(HandlerResponse::of)))
            .layer(TracingLayer::new())
            .layer(self)
            .run_concurrent()
            .await
    }
}
