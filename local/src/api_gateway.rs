//! An HTTP API in front of a function: a request becomes an event of payload format 2.0, and the
//! answer becomes the response.
//!
//! Function URLs have the same format. As behind a function URL with invoke mode `RESPONSE_STREAM`,
//! a client gets each part of a streamed response as soon as the function has written it.
//!
//! The gateway starts the trace of a request that has none. It also decides to sample it, so that
//! every request can be looked at.

mod event;
mod response;
mod stream;

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::oneshot;
use tracestitch_wire::header::{NAME, Sampling, TraceHeader};
use tracestitch_wire::id::TraceId;

use crate::server::Server;
use crate::target::Target;

/// Largest body of a request, in bytes (API Gateway quotas).
const BODY: usize = 10 * 1024 * 1024;

/// A gateway on 127.0.0.1 that passes every request to one function; it stops when it is dropped.
///
/// A web page of another origin gets 403, and so does a request for another host name.
#[derive(Debug)]
pub struct ApiGateway(Server);

impl ApiGateway {
    /// Starts a gateway in front of `target`. It reports failures and unreadable answers of the
    /// function on standard error: the client gets status 500 without the reason.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start<T: Target>(target: Arc<T>) -> io::Result<Self> {
        Self::start_with(target, |line| {
            // Fails without a standard error; the client's status remains as a sign.
            let _ = writeln!(io::stderr(), "{line}");
        })
        .await
    }

    /// Starts a gateway that passes each line of its reports to `report`.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start_with<T: Target>(
        target: Arc<T>,
        report: impl Fn(&str) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let gateway = Arc::new(Gateway {
            target,
            report: Arc::new(report),
        });
        let router = Router::new().fallback(handle::<T>).with_state(gateway);
        Ok(Self(Server::start(router).await?))
    }

    /// Returns the base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }
}

struct Gateway<T> {
    target: Arc<T>,
    report: Report,
}

type Report = Arc<dyn Fn(&str) + Send + Sync>;

async fn handle<T: Target>(State(gateway): State<Arc<Gateway<T>>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY).await else {
        return response::message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let header = trace_header(&parts.headers);
    parts.headers.insert(NAME, header.clone());
    let mut response = gateway.invoke(event::build(&parts, &body), &header).await;
    // Names the trace of this request.
    response.headers_mut().insert(NAME, header);
    response
}

impl<T: Target> Gateway<T> {
    async fn invoke(&self, event: Bytes, header: &HeaderValue) -> Response {
        let (sender, begin) = oneshot::channel();
        let target = Arc::clone(&self.target);
        let header = header.to_str().map(str::to_owned).ok();
        // Its own task: the invocation goes on when the client leaves, and outlives this function
        // while a response is streamed.
        let mut invocation =
            tokio::spawn(async move { target.invoke_streaming(event, header, sender).await });
        let response = tokio::select! {
            biased;
            Ok(stream) = begin => {
                let report = Arc::clone(&self.report);
                stream::respond(stream, invocation, report).await
            }
            ended = &mut invocation => match stream::payload(ended) {
                Ok(answer) => response::read(&answer),
                Err(failure) => return self.fail(&format_args!("FAILED {failure}")),
            },
        };
        response.unwrap_or_else(|problem| {
            self.fail(&format_args!(
                "the function's answer is not of payload format 2.0: {problem}; the client gets \
                 status 500"
            ))
        })
    }

    fn fail(&self, line: &dyn Display) -> Response {
        (self.report)(&line.to_string());
        response::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }
}

/// Returns the request's valid header, or the beginning of a sampled trace.
fn trace_header(headers: &HeaderMap) -> HeaderValue {
    let is_header = |header: &str| header.parse::<TraceHeader>().is_ok();
    match headers.get(NAME) {
        Some(header) if header.to_str().is_ok_and(is_header) => header.clone(),
        _ => {
            let root = TraceId::new(SystemTime::now().into());
            let header = TraceHeader::new(root, None, Sampling::Sampled);
            HeaderValue::try_from(header.to_string())
                .expect("ids and numbers are visible characters")
        }
    }
}
