//! Layer for any client that is a `tower` service.

use std::error::Error;
use std::pin::Pin;
use std::task::{self, Poll};

use http::{HeaderMap, Request, Response, Uri, header};
use tower::{Layer, Service};
use tracestitch_wire::document::Cause;

use super::requests::{TraceRequests, record_answer};
use crate::trace::{capture::Recorded, subsegment::Subsegment};

impl<S> Layer<S> for TraceRequests {
    type Service = TracedClient<S>;

    fn layer(&self, inner: S) -> TracedClient<S> {
        TracedClient {
            inner,
            settings: self.clone(),
        }
    }
}

/// An HTTP client that [`TraceRequests`] wrapped.
#[derive(Debug, Clone)]
pub struct TracedClient<S> {
    inner: S,
    settings: TraceRequests,
}

/// Function that records the outcome of a request on its subsegment.
type Judge<R, E> = fn(Result<Response<R>, E>, &Subsegment) -> Result<Response<R>, E>;

impl<S, B, R> Service<Request<B>> for TracedClient<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Error + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<Recorded<S::Future, Judge<R, S::Error>>>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers_mut();
        let host = host(&uri, headers);
        let call = self
            .settings
            .begin(&method, &host, &uri.to_string(), headers);
        let work = call.context.clone().sync_scope(|| self.inner.call(request));
        Recorded::new(call.context, call.subsegment, work, judge as Judge<_, _>)
    }
}

/// Returns the host of the URI. If the URI is only a path, returns the host of the header.
fn host(uri: &Uri, headers: &HeaderMap) -> String {
    let header = || headers.get(header::HOST)?.to_str().ok()?.parse().ok();
    let authority = uri.authority().cloned().or_else(header);
    authority.map_or_else(
        || "remote".to_owned(),
        |authority| authority.host().to_owned(),
    )
}

fn judge<R, E>(outcome: Result<Response<R>, E>, subsegment: &Subsegment) -> Result<Response<R>, E>
where
    E: Error + 'static,
{
    match &outcome {
        Ok(response) => record_answer(subsegment, response.status(), response.headers()),
        Err(error) => subsegment.fail_with(|| Cause::from_error(error)),
    }
    outcome
}
