//! Tracing for HTTP services that run under `lambda_http`, such as axum apps.

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

use super::settings::TraceLayer;
use crate::trace::context::Context;

/// Records the request on the handler's document, before any code of the user runs: a handler that
/// is killed leaves a fault with method and URL.
fn record_request(request: Request) -> Request {
    if let Some(handler) = Context::current().recording() {
        let asked = document::Request {
            method: request.method().as_str().to_owned().into(),
            url: clean_url(&request.uri().to_string()).into_owned().into(),
        };
        handler.amend_now(|document| document.http.get_or_insert_default().request = Some(asked));
    }
    request
}

/// A response with the context of its handler.
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

/// Returns the response header for a caller that asked for the sampling decision.
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

/// Answers with a response whose body is still to come.
fn answer_at_once<B>(mut response: Response<B>) -> Response<B> {
    let context = Context::current();
    answer(&context, decision(&context), &mut response);
    response
}

/// Records the response. An app gives its failures an answer: for Lambda the invocation succeeds.
fn record_response<B>(document: &mut Document, response: &Response<B>) {
    let length = response.headers().get(CONTENT_LENGTH);
    document.http.get_or_insert_default().response = Some(document::Response {
        status: Some(response.status().as_u16()),
        content_length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
    });
    document.mark(response.status().as_u16());
}

/// Runs an HTTP service as a traced Lambda function: a replacement of [`lambda_http::run`].
///
/// In addition to [`tracestitch::run`](crate::run()), the handler's subsegment has the method and
/// URL of the request, without user, query and fragment, and the status of the response. A status
/// 4xx marks it as an error, 429 as throttled, 5xx as a fault.
///
/// For rules of redaction or sampling see [`TraceLayer::run_http`].
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
/// As [`lambda_http::run`]: if the Runtime API cannot be reached. Tracing adds none.
///
/// # Panics
///
/// As [`lambda_runtime::run`]: if variables are missing that Lambda always sets.
pub async fn run<'a, R, S, E>(service: S) -> Result<(), Error>
where
    S: Service<Request, Response = R, Error = E>,
    S::Future: Send + 'a,
    R: IntoResponse,
    E: Debug + Into<Diagnostic> + 'static,
{
    TraceLayer::new().run_http(service).await
}

/// Runs an HTTP service that streams its responses as a traced Lambda function: a replacement of
/// [`lambda_http::run_with_streaming_response`].
///
/// In addition to what [`run`] records, the body has a subsegment `response`, until its last part:
/// see [`tracestitch::run`](crate::run()). For rules of redaction or sampling see
/// [`TraceLayer::run_http_streaming`].
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
    TraceLayer::new().run_http_streaming(service).await
}

/// Runs an HTTP service as a traced Lambda function that serves several requests at once: a
/// replacement of [`lambda_http::run_concurrent`].
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
    TraceLayer::new().run_http_concurrent(service).await
}

impl TraceLayer {
    /// Runs an HTTP service as [`http::run`](run) does, with these settings.
    ///
    /// # Errors
    ///
    /// As [`http::run`](run).
    ///
    /// # Panics
    ///
    /// As [`http::run`](run).
    pub async fn run_http<'a, R, S, E>(self, service: S) -> Result<(), Error>
    where
        S: Service<Request, Response = R, Error = E>,
        S::Future: Send + 'a,
        R: IntoResponse,
        E: Debug + Into<Diagnostic> + 'static,
    {
        let service = service.map_request(record_request);
        self.run(Adapter::from(service.map_response(Answer::of)))
            .await
    }

    /// Runs an HTTP service as [`http::run_with_streaming_response`](run_with_streaming_response)
    /// does, with these settings.
    ///
    /// # Errors
    ///
    /// As [`http::run_with_streaming_response`](run_with_streaming_response).
    ///
    /// # Panics
    ///
    /// As [`http::run_with_streaming_response`](run_with_streaming_response).
    pub async fn run_http_streaming<'a, S, B, E>(self, service: S) -> Result<(), Error>
    where
        S: Service<Request, Response = Response<B>, Error = E>,
        S::Future: Send + 'a,
        E: Debug + Into<Diagnostic> + 'static,
        B: http_body::Body + Unpin + Send + 'static,
        B::Data: Into<Bytes> + Send,
        B::Error: Into<Error> + Send + Debug,
    {
        let service = service.map_request(record_request);
        self.run(StreamAdapter::from(service.map_response(answer_at_once)))
            .await
    }

    /// Runs an HTTP service as [`http::run_concurrent`](run_concurrent) does, with these settings.
    ///
    /// # Errors
    ///
    /// As [`http::run_concurrent`](run_concurrent).
    ///
    /// # Panics
    ///
    /// As [`http::run_concurrent`](run_concurrent).
    #[cfg(feature = "concurrency-tokio")]
    pub async fn run_http_concurrent<R, S, E>(self, service: S) -> Result<(), Error>
    where
        S: Service<Request, Response = R, Error = E> + Clone + Send + 'static,
        S::Future: Send + 'static,
        R: IntoResponse + Send + Sync + 'static,
        E: Debug + Into<Diagnostic> + Send + 'static,
    {
        let service = service.map_request(record_request);
        self.run_concurrent(Adapter::from(service.map_response(Answer::of)))
            .await
    }
}

#[cfg(test)]
mod tests {
    use lambda_http::request::LambdaRequest;
    use lambda_runtime::LambdaEvent;
    use serde_json::{Value, json};
    use tower::{Layer, service_fn};

    use super::*;
    use crate::{
        tests::{
            header::{ROOT, SAMPLED},
            kept::{Event, Kept},
            recorded::{self, Origin},
        },
        trace::tracer::Tracer,
    };

    /// Returns the answer to Lambda of an app that answers with `status`, for a request of API
    /// Gateway with `header` as the runtime's trace header.
    async fn answered(tracer: Tracer, header: &str, status: u16) -> Value {
        let app = service_fn(|_: Request| async move {
            let response = Response::builder().status(status);
            let response = response.header(CONTENT_LENGTH, 0).body(Body::Empty);
            response.map_err(Error::from)
        });
        respond(tracer, header, app).await
    }

    async fn respond<S>(tracer: Tracer, header: &str, app: S) -> Value
    where
        S: Service<Request, Response = Response<Body>, Error = Error>,
        S::Future: Send,
    {
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
            (204, [None; 3], "success"),
            (404, [Some("error"), None, None], "error of the caller"),
            (429, [Some("error"), Some("throttle"), None], "throttled"),
            (503, [None, None, Some("fault")], "fault of the app"),
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

    /// A handler that never yields is killed with what was handed over before its code ran.
    #[tokio::test]
    async fn request_is_handed_over_before_the_code_of_the_user_runs() {
        for (header, errors_always) in [
            (SAMPLED.to_owned(), false),
            (SAMPLED.replace("Sampled=1", "Sampled=0"), true),
        ] {
            let kept = Kept::default();
            let mut tracer = kept.tracer();
            tracer.errors_always = errors_always;
            let seen = &kept;
            let app = service_fn(|_: Request| {
                let opened = seen
                    .events()
                    .into_iter()
                    .rev()
                    .find_map(|event| match event {
                        Event::Open(document) => Some(document),
                        _ => None,
                    });
                let request = &opened.unwrap()["http"]["request"];
                assert_eq!(request["method"], "POST", "{header}");
                let response = Response::builder().status(500).body(Body::Empty);
                async { response.map_err(Error::from) }
            });
            respond(tracer, &header, app).await;
            let (sent, open) = kept.extension();
            assert_eq!(
                (&*sent, &*open),
                (&["order-worker".to_owned()][..], &[][..])
            );
        }
    }

    #[tokio::test]
    async fn server_error_of_an_unsampled_request_is_recorded_if_errors_always_are() {
        for (status, expected) in [(200, 0), (404, 0), (500, 1)] {
            let kept = Kept::default();
            let mut tracer = kept.tracer();
            tracer.errors_always = true;
            answered(tracer, &SAMPLED.replace("Sampled=1", "Sampled=0"), status).await;
            assert_eq!(kept.closed().len(), expected, "{status}");
        }
    }

    #[tokio::test]
    async fn decision_is_returned_to_a_caller_that_asked_for_it() {
        for (sampled, rules, expected, reason) in [
            ("?", "rate=1", Some("1"), "a rule records"),
            ("?", "rate=0", Some("0"), "a rule does not"),
            ("?", "", Some("0"), "no rule"),
            ("1", "", None, "decided by the caller"),
            ("", "rate=1", None, "not asked for"),
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
