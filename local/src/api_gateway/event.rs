//! The event that a request becomes, in payload format 2.0.
//!
//! Source: API Gateway developer guide, "Working with AWS Lambda proxy integrations for HTTP APIs":
//! header names in lower case; repeated headers and query parameters joined by commas; cookies in
//! a separate list. A member without content is absent, as in AWS's own samples.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::account::ACCOUNT;

/// Builds the event. A body that is UTF-8 is text, any other is base64.
pub(super) fn build(parts: &Parts, body: &[u8]) -> Bytes {
    let headers = headers(&parts.headers);
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let now = SystemTime::now();
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "requestContext": {
            "accountId": ACCOUNT,
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
            "time": common_log_time(now),
            "timeEpoch": epoch_milliseconds(now),
        },
        "headers": headers,
        "isBase64Encoded": false,
    });
    let cookies = cookies(&parts.headers);
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    if !query.is_empty() {
        event["queryStringParameters"] = query_parameters(query).into();
    }
    if !body.is_empty() {
        let text = str::from_utf8(body).ok();
        event["isBase64Encoded"] = text.is_none().into();
        event["body"] = text
            .map_or_else(|| BASE64_STANDARD.encode(body), str::to_owned)
            .into();
    }
    event.to_string().into()
}

/// Returns all headers but `Cookie`.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let names = headers.keys().filter(|name| *name != header::COOKIE);
    names
        .map(|name| {
            let values: Vec<_> = headers
                .get_all(name)
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            (name.as_str().to_owned(), values.join(",").into())
        })
        .collect()
}

/// Returns each cookie of all `Cookie` headers as `name=value`.
fn cookies(headers: &HeaderMap) -> Vec<String> {
    let mut cookies = Vec::new();
    for value in headers.get_all(header::COOKIE) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let pairs = value.split(';').map(str::trim);
        cookies.extend(pairs.filter(|pair| !pair.is_empty()).map(str::to_owned));
    }
    cookies
}

/// Returns the decoded parameters by name.
fn query_parameters(query: &str) -> Map<String, Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = match parameters.get(&*name).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier},{value}"),
            None => value.into_owned(),
        };
        parameters.insert(name.into_owned(), value.into());
    }
    parameters
}

/// Formats a time as in an access log: `12/Mar/2020:19:03:58 +0000`.
fn common_log_time(time: SystemTime) -> String {
    // `Thu, 12 Mar 2020 19:03:58 GMT`.
    let date = httpdate::fmt_http_date(time);
    match date.split(' ').collect::<Vec<_>>()[..] {
        [_, day, month, year, clock, _] => format!("{day}/{month}/{year}:{clock} +0000"),
        _ => date,
    }
}

fn epoch_milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
