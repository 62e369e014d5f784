//! The same under `lambda_http`: for axum apps and other HTTP services.

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_LENGTH};
use lambda_http::{Adapter, Body, IntoResponse, Request, Response, StreamAdapter};
use lambda_runtime::{Diagnostic, Error};
use tower::{Service, ServiceExt};
use tracestitch_wire::{
    document::{self, Document, clean_url},
    header::NAME,
};

use crate::trace::context::Context;

/// Puts the request on the handler's document.
fn record_request(request: Request) -> Request {
    if let Some(handler) = Context::current().recording() {
        let asked = document::Request {
            method: request.method().as_str().to_owned().into(),
            url: clean_url(&request.uri().to_string()).into_owned().into(),
        };
        handler.amend(|document| document.http.get_or_insert_default().request = Some(asked));
    }
    request
}

/// A response, with the context of the handler that gave it.
struct Answer<R> {
    response: R,
    context: Context,
}

impl<R> Answer<R> {
    fn of(response: R) -> Self {
        Self {
            response,
            context: Context::current(),
        }
    }
}

impl<R: IntoResponse> IntoResponse for Answer<R> {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let response = self.response.into_response();
        let decision = decision(&self.context);
        if decision.is_none() && !self.context.is_recording() {
            return response;
        }
        Box::pin(async move {
            let mut response = response.await;
            answer(&self.context, decision, &mut response);
            response
        })
    }
}

/// What the caller that asked learns by the response's header.
fn decision(context: &Context) -> Option<HeaderValue> {
    let header = context.answer_header()?;
    String::from(&header).try_into().ok()
}

fn answer<B>(context: &Context, decision: Option<HeaderValue>, response: &mut Response<B>) {
    if let Some(handler) = context.recording() {
        handler.amend(|document| record_response(document, response));
    }
    if let Some(decision) = decision {
        response.headers_mut().entry(NAME).or_insert(decision);
    }
}

/// The same for a response whose body is yet to come.
fn answer_at_once<B>(mut response: Response<B>) -> Response<B> {
    let context = Context::current();
    answer(&context, decision(&context), &mut response);
    response
}

/// An app gives its failures an answer: for Lambda the invocation is a success.
fn record_response<B>(document: &mut Document, response: &Response<B>) {
    let length = response.headers().get(CONTENT_LENGTH);
    document.http.get_or_insert_default().response = Some(document::Response {
        status: Some(response.status().as_u16()),
        content_length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
    });
    document.mark(response.status().as_u16());
}

/// Runs an HTTP service as a Lambda function, traced: in place of [`lambda_http::run`].
///
/// Beside what [`tracestitch::run`](crate::run()) does, the handler's subsegment has the method and
/// URL of the request, without user, query and fragment, and the status of the response, by which
/// it is an error (4xx), throttled (429) or a fault (5xx).
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
    let service = service.map_request(record_request);
    super::run::run(Adapter::from(service.map_response(Answer::of))).await
}

/// Runs an HTTP service that streams its responses, traced: in place of
/// [`lambda_http::run_with_streaming_response`].
///
/// Beside what [`run`] records, the body has a subsegment `response`, until its last part: see
/// [`tracestitch::run`](crate::run()).
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
///     tracestitch::http::run_with_streaming_response(service_fn(hello)).await
/// }
/// ```
///
/// # Errors
///
/// As [`lambda_http::run_with_streaming_response`].
///
/// # Panics
///
/// As [`lambda_http::run_with_streaming_response`].
pub async fn run_with_streaming_response<'a, S, B, E>(service: S) -> Result<(), Error>
where
    S: Service<Request, Response = Response<B>, Error = E>,
    S::Future: Send + 'a,
    E: Debug + Into<Diagnostic> + 'static,
    B: http_body::Body + Unpin + Send + 'static,
    B::Data: Into<Bytes> + Send,
    B::Error: Into<Error> + Send + Debug,
{
    let service = service.map_request(record_request);
    super::run::run(StreamAdapter::from(service.map_response(answer_at_once))).await
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
    let service = service.map_request(record_request);
    super::run::run_concurrent(Adapter::from(service.map_response(Answer::of))).await
}

#[cfg(test)]
mod tests {
    use lambda_http::request::LambdaRequest;
    use lambda_runtime::LambdaEvent;
    use serde_json::{Value, json};
    use tower::{Layer, service_fn};

    use super::*;
    use crate::{
        layer::settings::TraceLayer,
        tests::{
            kept::{Kept, ROOT, SAMPLED},
            recorded::{self, Origin},
        },
        trace::tracer::Tracer,
    };

    /// What Lambda gets of an app that answers with `status`, for a request of API Gateway's for
    /// which the runtime got `header`.
    async fn answered(tracer: Tracer, header: &str, status: u16) -> Value {
        let app = service_fn(|_: Request| async move {
            let response = Response::builder().status(status);
            let response = response.header(CONTENT_LENGTH, 0).body(Body::Empty);
            response.map_err(Error::from)
        });
        let app = app.map_request(record_request).map_response(Answer::of);
        let event = recorded::text(Origin::Http, "apigw_v2_proxy_request");
        let request: LambdaRequest = serde_json::from_slice(&event).unwrap();
        let mut context = lambda_runtime::Context::default();
        context.xray_trace_id = Some(header.to_owned());
        let handler = TraceLayer::with(tracer).layer(Adapter::from(app));
        let response = handler.oneshot(LambdaEvent::new(request, context)).await;
        serde_json::to_value(response.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn request_and_response_are_recorded() {
        for (status, flags, reason) in [
            (204, [None; 3], "well"),
            (404, [Some("error"), None, None], "the caller's fault"),
            (429, [Some("error"), Some("throttle"), None], "too many"),
            (503, [None, None, Some("fault")], "ours"),
        ] {
            let kept = Kept::default();
            let answer = answered(kept.tracer(), SAMPLED, status).await;
            assert_eq!(answer["statusCode"], status);
            let handler = kept.one("order-worker");
            let expected = json!({
                "request": { "method": "POST", "url": "https://id.execute-api.us-east-1.amazonaws.com/my/path" },
                "response": { "status": status, "content_length": 0 },
            });
            assert_eq!(handler["http"], expected, "{reason}");
            for (flag, expected) in ["error", "throttle", "fault"].into_iter().zip(flags) {
                assert_eq!(handler.get(flag).is_some(), expected.is_some(), "{reason}");
            }
        }
    }

    #[tokio::test]
    async fn a_failure_that_has_an_answer_is_one_where_errors_are_always_recorded() {
        for (status, expected) in [(200, 0), (404, 0), (500, 1)] {
            let kept = Kept::default();
            let mut tracer = kept.tracer();
            tracer.errors_always = true;
            answered(tracer, &SAMPLED.replace("Sampled=1", "Sampled=0"), status).await;
            assert_eq!(kept.closed().len(), expected, "{status}");
        }
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
            let mut tracer = Kept::default().tracer();
            tracer.sampling = rules.parse().unwrap();
            let header = format!("Root={ROOT};Sampled={sampled}");
            let headers = &answered(tracer, &header, 200).await["headers"];
            let expected = expected.map(|decision| format!("Root={ROOT};Sampled={decision}"));
            assert_eq!(headers[NAME].as_str(), expected.as_deref(), "{reason}");
        }
    }
}
