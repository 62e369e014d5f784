//! An HTTP API in front of a function: requests become events of payload format 2.0, answers
//! become responses.
//!
//! Source: API Gateway developer guide, "Working with AWS Lambda proxy integrations for HTTP
//! APIs". The gateway starts the trace of a request that has none: here it decides to sample,
//! too, so that every request can be looked at.

use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};
use serde_json::{Map, Value, json};
use tracestitch_wire::header::{NAME, Sampling, TraceHeader};
use tracestitch_wire::id::TraceId;
use uuid::Uuid;

use crate::server::Server;
use crate::target::Target;

/// Limit of a request's body (API Gateway quotas).
const BODY: usize = 10 * 1024 * 1024;

/// A gateway on 127.0.0.1 that gives every request to one function; ends when it is dropped.
#[derive(Debug)]
pub struct ApiGateway(Server);

impl ApiGateway {
    /// Starts a gateway in front of `target`.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub async fn start<T: Target>(target: Arc<T>) -> io::Result<Self> {
        let router = Router::new().fallback(handle::<T>).with_state(target);
        Ok(Self(Server::start(router).await?))
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }
}

async fn handle<T: Target>(State(target): State<Arc<T>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY).await else {
        return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    let header = trace_header(&parts.headers);
    parts.headers.insert(NAME, header.clone());
    let sent = header.to_str().map(str::to_owned).ok();
    let mut response = match target.invoke(event(&parts, &body), sent).await {
        Ok(answer) => response(&answer),
        Err(_) => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    };
    // Tells the caller where to look.
    response.headers_mut().insert(NAME, header);
    response
}

/// The header of the request when it is one, else the beginning of a sampled trace.
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

fn event(parts: &Parts, body: &[u8]) -> Bytes {
    let mut headers = Map::new();
    for name in parts.headers.keys() {
        let values: Vec<&str> = parts
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        headers.insert(name.as_str().to_owned(), values.join(",").into());
    }
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let path = parts.uri.path();
    let text = str::from_utf8(body).ok();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "requestContext": {
            "accountId": crate::account::ACCOUNT,
            "apiId": "local",
            "domainName": header("host"),
            "domainPrefix": "local",
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": header("user-agent"),
            },
            "requestId": Uuid::new_v4().to_string(),
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": epoch_milliseconds(),
        },
        "body": text.map_or_else(|| BASE64_STANDARD.encode(body), str::to_owned),
        "isBase64Encoded": text.is_none(),
        "headers": headers,
    })
    .to_string()
    .into()
}

fn epoch_milliseconds() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Without a `statusCode` the whole answer is the body of a 200 in JSON (guide, "Format 2.0
/// response format").
fn response(answer: &[u8]) -> Response {
    let Ok(answer) = serde_json::from_slice::<Value>(answer) else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    let Some(status) = answer.get("statusCode") else {
        return json_response(StatusCode::OK, &answer);
    };
    let status = status
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
    };
    let body = answer["body"].as_str().unwrap_or_default();
    let body = match answer["isBase64Encoded"].as_bool() {
        Some(true) => BASE64_STANDARD.decode(body).unwrap_or_default(),
        _ => body.as_bytes().to_vec(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn message(status: StatusCode, message: &str) -> Response {
    json_response(status, &json!({"message": message}))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::client;

    const HEADER: &str = "Root=1-581cf771-a006649127e371903a2de979;Sampled=0";

    /// Answers the same to all, and remembers what it was given.
    struct Recorder {
        answer: Result<&'static str, ()>,
        given: Mutex<Vec<(Value, String)>>,
    }

    impl Target for Recorder {
        async fn invoke(&self, event: Bytes, trace: Option<String>) -> Result<Bytes, Bytes> {
            let event = serde_json::from_slice(&event).unwrap();
            self.given
                .lock()
                .unwrap()
                .push((event, trace.unwrap_or_default()));
            self.answer
                .map(Bytes::from)
                .map_err(|()| Bytes::from_static(b"{}"))
        }
    }

    fn recorder(answer: Result<&'static str, ()>) -> Arc<Recorder> {
        Arc::new(Recorder {
            answer,
            given: Mutex::default(),
        })
    }

    #[tokio::test]
    async fn request_becomes_an_event_that_begins_a_trace() {
        let target = recorder(Ok(r#"{"statusCode":202,"body":"{\"orderId\":\"A\"}"}"#));
        let gateway = ApiGateway::start(Arc::clone(&target)).await.unwrap();
        let url = format!("{}/orders?page=2", gateway.url());
        let headers = [("user-agent", "test/1")];
        let answer = client::post_json(&url, &headers, &json!({"a": 1}))
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.body, json!({"orderId": "A"}));
        let (event, trace) = target.given.lock().unwrap().remove(0);
        assert_eq!(event["rawPath"], "/orders");
        assert_eq!(event["rawQueryString"], "page=2");
        assert_eq!(event["requestContext"]["http"]["method"], "POST");
        assert_eq!(event["requestContext"]["http"]["userAgent"], "test/1");
        assert_eq!(event["body"], r#"{"a":1}"#);
        assert_eq!(event["headers"]["x-amzn-trace-id"], trace);
        assert_eq!(answer.headers[NAME], trace);
        assert_eq!(
            trace.parse::<TraceHeader>().unwrap().sampling,
            Sampling::Sampled
        );
    }

    #[tokio::test]
    async fn trace_of_the_client_goes_on() {
        let target = recorder(Ok("{}"));
        let gateway = ApiGateway::start(Arc::clone(&target)).await.unwrap();
        for (reason, sent, kept) in [
            ("a header", HEADER, true),
            ("not a header", "Root=1-x;Sampled=1", false),
        ] {
            let headers = [("X-Amzn-Trace-Id", sent)];
            client::post_json(&gateway.url(), &headers, &json!({}))
                .await
                .unwrap();
            let (_, trace) = target.given.lock().unwrap().remove(0);
            assert_eq!(trace == sent, kept, "{reason}: {trace}");
        }
    }

    #[tokio::test]
    async fn answers_become_responses() {
        let cases = [
            (
                "no status: the body itself",
                Ok(r#"{"a":1}"#),
                200,
                json!({"a": 1}),
            ),
            (
                "text",
                Ok(r#"{"statusCode":404,"body":"none"}"#),
                404,
                json!("none"),
            ),
            (
                "base64",
                Ok(r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#),
                200,
                json!("hi"),
            ),
            (
                "failed",
                Err(()),
                500,
                json!({"message": "Internal Server Error"}),
            ),
            (
                "bad status",
                Ok(r#"{"statusCode":"x"}"#),
                500,
                json!({"message": "Internal Server Error"}),
            ),
        ];
        for (reason, answer, status, body) in cases {
            let gateway = ApiGateway::start(recorder(answer)).await.unwrap();
            let found = client::post_json(&gateway.url(), &[], &json!({}))
                .await
                .unwrap();
            assert_eq!(
                (found.status.as_u16(), found.body),
                (status, body),
                "{reason}"
            );
        }
    }
}
