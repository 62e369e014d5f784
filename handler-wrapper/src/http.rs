//! The same under `lambda_http`: for axum apps and other HTTP services.

use std::fmt::Debug;
use std::pin::Pin;

use http::HeaderValue;
use lambda_http::{Adapter, Body, IntoResponse, Request, Response};
use lambda_runtime::{Diagnostic, Error};
use tower::{Service, ServiceExt};
use tracestitch_wire::header::NAME;

use crate::context::Context;

/// A response, with the decision on sampling for a caller that asked for it.
struct Answer<R> {
    response: R,
    decision: Option<HeaderValue>,
}

impl<R> Answer<R> {
    fn of(response: R) -> Self {
        let header = Context::current().answer_header();
        Self {
            response,
            decision: header.and_then(|header| String::from(&header).try_into().ok()),
        }
    }
}

impl<R: IntoResponse> IntoResponse for Answer<R> {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let response = self.response.into_response();
        match self.decision {
            None => response,
            Some(decision) => Box::pin(async move {
                let mut response = response.await;
                response.headers_mut().entry(NAME).or_insert(decision);
                response
            }),
        }
    }
}

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
    crate::run(Adapter::from(service.map_response(Answer::of))).await
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
    crate::run_concurrent(Adapter::from(service.map_response(Answer::of))).await
}

#[cfg(test)]
mod tests {
    use lambda_http::request::LambdaRequest;
    use lambda_runtime::LambdaEvent;
    use serde_json::Value;
    use tower::{Layer, service_fn};

    use super::*;
    use crate::{
        service::TraceLayer,
        testing::{
            Kept, ROOT,
            recorded::{self, Origin},
        },
    };

    /// The headers of the answer to a request for which the runtime got `header`.
    async fn answered(header: &str, rules: &str) -> Value {
        let mut tracer = Kept::default().tracer();
        tracer.sampling = rules.parse().unwrap();
        let app = service_fn(async |_: Request| Ok::<_, Error>(Response::new(Body::Empty)));
        let adapter = Adapter::from(app.map_response(Answer::of));
        let event = recorded::text(Origin::Http, "apigw_v2_proxy_request");
        let request: LambdaRequest = serde_json::from_slice(&event).unwrap();
        let mut context = lambda_runtime::Context::default();
        context.xray_trace_id = Some(header.to_owned());
        let handler = TraceLayer::with(tracer).layer(adapter);
        let response = handler.oneshot(LambdaEvent::new(request, context)).await;
        serde_json::to_value(response.unwrap()).unwrap()["headers"].take()
    }

    #[tokio::test]
    async fn a_caller_that_asks_learns_the_decision() {
        for (sampled, rules, expected, reason) in [
            ("?", "rate=1", Some("1"), "a rule records"),
            ("?", "rate=0", Some("0"), "a rule does not"),
            ("?", "", Some("0"), "no rule"),
            ("1", "", None, "decided by the caller"),
            ("", "rate=1", None, "nobody asked"),
        ] {
            let headers = answered(&format!("Root={ROOT};Sampled={sampled}"), rules).await;
            let expected = expected.map(|decision| format!("Root={ROOT};Sampled={decision}"));
            assert_eq!(headers[NAME].as_str(), expected.as_deref(), "{reason}");
        }
    }
}
