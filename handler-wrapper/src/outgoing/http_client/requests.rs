//! Settings of the traced client, and the record of one request.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header as http_header};
use tracestitch_wire::{
    document::{Http, Namespace, Request, Response, clean_url},
    header, w3c,
};

use super::hosts::Hosts;
use crate::trace::{context::Context, subsegment::Subsegment};

/// Records the requests of an HTTP client and passes the trace on.
///
/// Each request becomes a subsegment named after the host: method, URL without user, query and
/// fragment, status, content length. 4xx is an error, 429 a throttled error, 5xx and no answer
/// are faults; so is a request whose future is dropped. A gRPC code in the headers counts as the
/// equivalent HTTP status; trailers are not read. A request without a host in its URI (tonic without
/// `with_origin`) is named `remote`. The subsegment ends with the response's headers, before its
/// body. Bodies and header values are never recorded.
///
/// The request carries `X-Amzn-Trace-Id` with the subsegment as parent, unless you set the header
/// yourself. Outside an invocation nothing is changed.
///
/// Put the layer innermost, around the client itself, so that it sees each attempt of a retry and
/// the client's own error.
///
/// ```
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use tower::Layer;
/// use tracestitch::http_client::TraceRequests;
///
/// let client = Client::builder(TokioExecutor::new())
///     .build_http::<http_body_util::Empty<bytes::Bytes>>();
/// let client = TraceRequests::new()
///     .propagate_to(["*.internal.example"])
///     .layer(client);
/// ```
#[derive(Debug, Clone, Default)]
pub struct TraceRequests {
    ignored: Hosts,
    /// `None` trusts all hosts.
    trusted: Option<Hosts>,
    traceparent: bool,
}

impl TraceRequests {
    /// Creates settings that record all requests and send the trace header to all hosts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Excludes these hosts: requests to them are not recorded and carry no header. `*.example.com`
    /// stands for all hosts under `example.com`, `*` for all hosts; ports do not count.
    #[must_use]
    pub fn ignore(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.ignored = Hosts::new(hosts);
        self
    }

    /// Sends the headers only to these hosts, written as in [`ignore`](Self::ignore). Requests to
    /// other hosts are recorded without headers. A client that follows redirects repeats the headers
    /// at the new host: switch that off, or with `reqwest` use `redirects`.
    #[must_use]
    pub fn propagate_to(mut self, hosts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.trusted = Some(Hosts::new(hosts));
        self
    }

    /// Also sends the trace as W3C `traceparent`, for services that another system than X-Ray
    /// traces. The header is left out while the trace has no parent or no sampling decision. If the
    /// trace was taken from a `traceparent`, its `tracestate` is sent unchanged.
    #[must_use]
    pub fn with_traceparent(mut self) -> Self {
        self.traceparent = true;
        self
    }

    pub(super) fn begin(
        &self,
        method: &Method,
        host: &str,
        url: &str,
        headers: &mut HeaderMap,
    ) -> Call {
        let current = Context::current();
        if current.trace().is_none() || self.ignored.have(host) {
            return Call {
                context: current,
                subsegment: Subsegment::default(),
            };
        }
        let subsegment = Subsegment::begin_with(&current, host.to_owned(), |document| {
            document.namespace = Some(Namespace::Remote);
            document.http = Some(Http {
                request: Some(Request {
                    method: method.as_str().to_owned().into(),
                    url: clean_url(url).into_owned().into(),
                }),
                response: None,
            });
        });
        let context = if subsegment.is_recording() {
            subsegment.context()
        } else {
            current
        };
        if self.is_trusted(host) {
            self.pass_on(&context, headers);
        }
        Call {
            context,
            subsegment,
        }
    }

    /// Returns true if requests to `host` carry the headers.
    pub(super) fn is_trusted(&self, host: &str) -> bool {
        !self.ignored.have(host) && self.trusted.as_ref().is_none_or(|hosts| hosts.have(host))
    }

    fn pass_on(&self, context: &Context, headers: &mut HeaderMap) {
        let Some(header) = context.trace_header() else {
            return;
        };
        put(headers, header::NAME, || Some(String::from(&header)));
        if self.traceparent && put(headers, w3c::NAME, || w3c::traceparent(&header)) {
            put(headers, w3c::STATE_NAME, || {
                header.state().map(str::to_owned)
            });
        }
    }
}

/// A request that is under way.
pub(super) struct Call {
    /// Context in which the client runs.
    pub(super) context: Context,
    pub(super) subsegment: Subsegment,
}

/// Inserts a header unless the user set it. Returns true if it was inserted.
fn put(
    headers: &mut HeaderMap,
    name: &'static str,
    value: impl FnOnce() -> Option<String>,
) -> bool {
    let name = HeaderName::from_static(name);
    if headers.contains_key(&name) {
        return false;
    }
    // Trace headers are printable ASCII, so they are always valid values.
    let value = value().and_then(|value| HeaderValue::try_from(value).ok());
    value.is_some_and(|value| headers.insert(name, value).is_none())
}

/// Records a response on the subsegment.
pub(super) fn record_answer(subsegment: &Subsegment, status: StatusCode, headers: &HeaderMap) {
    subsegment.amend(|document| {
        let length = headers.get(http_header::CONTENT_LENGTH);
        document.http.get_or_insert_default().response = Some(Response {
            status: Some(status.as_u16()),
            content_length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
        });
        let grpc = headers
            .get("grpc-status")
            .and_then(|code| code.to_str().ok()?.parse().ok())
            .unwrap_or(0);
        // A failure inside the client is already recorded, with its cause.
        document.mark(of_grpc(grpc).unwrap_or(status).as_u16());
    });
}

/// Returns the HTTP status equivalent to a gRPC code (`google/rpc/code.proto`). A call that fails
/// at once has its code in the headers; trailers follow the body.
pub(super) fn of_grpc(code: u8) -> Option<StatusCode> {
    Some(match code {
        8 => StatusCode::TOO_MANY_REQUESTS,
        1 | 3 | 5 | 6 | 7 | 9 | 10 | 11 | 16 => StatusCode::BAD_REQUEST,
        2 | 4 | 12 | 13 | 14 | 15 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => return None,
    })
}
