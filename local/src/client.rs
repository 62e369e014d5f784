//! A small HTTP client for the demonstrations and for tests: no TLS, no redirects.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::error::Result;

/// A whole response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as JSON; a body that is not JSON is a string.
    pub body: Value,
}

/// Sends a POST with a JSON body.
///
/// # Errors
///
/// Fails on an invalid URL or header, and when the server does not respond.
pub async fn post_json(url: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer> {
    let json = (header::CONTENT_TYPE.as_str(), "application/json");
    send(
        Method::POST,
        url,
        &[&[json], headers].concat(),
        body.to_string(),
    )
    .await
}

/// Sends a GET.
///
/// # Errors
///
/// Fails on an invalid URL, and when the server does not respond.
pub async fn get(url: &str) -> Result<Answer> {
    send(Method::GET, url, &[], "").await
}

/// Sends a request and reads the whole response.
///
/// # Errors
///
/// Fails on an invalid URL or header, and when the server does not send a whole response.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer> {
    let (parts, body) = open(method, url, headers, body).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_str(&text).unwrap_or_else(|_| text.as_ref().into()),
    })
}

/// Sends a request and returns the response as soon as its headers are there.
///
/// # Errors
///
/// Fails on an invalid URL or header, and when the server does not respond.
pub async fn open(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response<Incoming>> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_str(value)?);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    Ok(client
        .request(request.body(Full::from(body.into()))?)
        .await?)
}
