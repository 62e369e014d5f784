//! The HTTP client of the demonstration and of the tests: no TLS, no redirects.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An answer; a body that is no JSON is a string.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) async fn post_json(
    url: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Result<Answer, Error> {
    let mut request = Request::post(url).header(header::CONTENT_TYPE, "application/json");
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_str(value)?);
    }
    send(request.body(Full::from(body.to_string()))?).await
}

#[cfg(test)]
pub(crate) async fn get(url: &str) -> Result<Answer, Error> {
    send(Request::get(url).body(Full::default())?).await
}

async fn send(request: Request<Full<Bytes>>) -> Result<Answer, Error> {
    let answer = Client::builder(TokioExecutor::new())
        .build_http()
        .request(request)
        .await?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let body = serde_json::from_str(&text).unwrap_or_else(|_| text.as_ref().into());
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}
