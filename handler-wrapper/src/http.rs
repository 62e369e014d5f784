//! The same under `lambda_http`: for axum apps and other HTTP services.

use std::fmt::Debug;

use lambda_http::{Adapter, IntoResponse, Request};
use lambda_runtime::{Diagnostic, Error};
use tower::Service;

/// Runs an HTTP service as a Lambda function, traced: in place of [`lambda_http::run`].
///
/// ```no_run
/// use lambda_http::{Body, Error, Request, Response, service_fn};
///
/// async fn hello(_request: Request) -> Result<Response<Body>, Error> {
///     Ok(Response::new("hello".into()))
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     tracestitch::http::run(service_fn(hello)).await
/// }
/// ```
///
/// # Errors
///
/// As [`lambda_http::run`]: when the Runtime API cannot be reached. Tracing adds none.
///
/// # Panics
///
/// As [`lambda_runtime::run`]: when variables are missing that Lambda always sets.
pub async fn run<'a, R, S, E>(service: S) -> Result<(), Error>
where
    S: Service<Request, Response = R, Error = E>,
    S::Future: Send + 'a,
    R: IntoResponse,
    E: Debug + Into<Diagnostic> + 'static,
{
    crate::run(Adapter::from(service)).await
}

/// Runs an HTTP service for several invocations at once, traced: in place of
/// [`lambda_http::run_concurrent`].
///
/// # Errors
///
/// As [`lambda_http::run_concurrent`].
///
/// # Panics
///
/// As [`lambda_http::run_concurrent`].
#[cfg(feature = "concurrency-tokio")]
pub async fn run_concurrent<R, S, E>(service: S) -> Result<(), Error>
where
    S: Service<Request, Response = R, Error = E> + Clone + Send + 'static,
    S::Future: Send + 'static,
    R: IntoResponse + Send + Sync + 'static,
    E: Debug + Into<Diagnostic> + Send + 'static,
{
    crate::run_concurrent(Adapter::from(service)).await
}
