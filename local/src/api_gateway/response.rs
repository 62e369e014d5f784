//! The response that a function's answer of payload format 2.0 becomes.
//!
//! Source: API Gateway developer guide, "Working with AWS Lambda proxy integrations for HTTP APIs",
//! "Lambda function response for format 2.0".

use axum::body::Body;
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// Headers that belong to one connection or message: the server sets its own.
const OF_THE_SERVER: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Reads a whole answer. Without a `statusCode`, valid JSON is itself the body, with status 200.
///
/// Returns what was wrong with an answer that is not of this format.
pub(super) fn read(answer: &Bytes) -> Result<Response, String> {
    let value: Value =
        serde_json::from_slice(answer).map_err(|error| format!("it is not JSON: {error}"))?;
    if value.get("statusCode").is_none() {
        return Ok(json_response(StatusCode::OK, answer.clone()));
    }
    let mut response = head(&value)?;
    let body = match &value["body"] {
        Value::Null => "",
        Value::String(text) => text,
        other => return Err(unexpected("body", other, "a string")),
    };
    let is_base64 = match &value["isBase64Encoded"] {
        Value::Null => false,
        Value::Bool(is_base64) => *is_base64,
        other => return Err(unexpected("isBase64Encoded", other, "true or false")),
    };
    *response.body_mut() = if is_base64 {
        let decoded = BASE64_STANDARD.decode(body);
        Body::from(decoded.map_err(|error| format!("body is not base64: {error}"))?)
    } else {
        Body::from(body.to_owned())
    };
    Ok(response)
}

/// Reads `statusCode`, `headers` and `cookies` into a response without a body.
pub(super) fn head(answer: &Value) -> Result<Response, String> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status(&answer["statusCode"])?;
    let headers = match &answer["headers"] {
        Value::Null => None,
        Value::Object(headers) => Some(headers),
        other => return Err(unexpected("headers", other, "an object")),
    };
    for (name, value) in headers.into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            other => return Err(unexpected(name, other, "a header's value")),
        };
        let header = HeaderName::try_from(name)
            .map_err(|_| format!("{name:?} in headers is not a header's name"))?;
        let text =
            HeaderValue::try_from(text).map_err(|_| unexpected(name, value, "a header's value"))?;
        if !OF_THE_SERVER.contains(&header) {
            response.headers_mut().append(header, text);
        }
    }
    let cookies = match &answer["cookies"] {
        Value::Null => None,
        Value::Array(cookies) => Some(cookies),
        other => return Err(unexpected("cookies", other, "an array")),
    };
    for cookie in cookies.into_iter().flatten() {
        let value = cookie.as_str().and_then(|text| text.try_into().ok());
        let value = value.ok_or_else(|| unexpected("cookies", cookie, "a cookie as text"))?;
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    Ok(response)
}

/// Reads a status: a number, or a number as text; 200 by default.
fn status(status: &Value) -> Result<StatusCode, String> {
    let number = match status {
        Value::Null => return Ok(StatusCode::OK),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|status| u16::try_from(status).ok()),
    };
    // An informational status cannot end an exchange.
    let number = number.filter(|number| (200..=599).contains(number));
    number
        .and_then(|number| StatusCode::from_u16(number).ok())
        .ok_or_else(|| unexpected("statusCode", status, "a number from 200 to 599"))
}

fn unexpected(member: &str, found: &Value, expected: &str) -> String {
    let found: String = found.to_string().chars().take(60).collect();
    format!("{member} is {found}, expected {expected}")
}

/// The gateway's own response.
pub(super) fn message(status: StatusCode, message: &str) -> Response {
    json_response(status, json!({ "message": message }).to_string())
}

fn json_response(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
