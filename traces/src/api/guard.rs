//! Refuses requests that a web page of another origin has caused.
//!
//! A browser on this machine sends such requests to 127.0.0.1 for any page that it shows: by the
//! address itself, or by a host name of the page's owner that resolves to it (DNS rebinding). The
//! first carry `Origin` or `Sec-Fetch-Site` (Fetch standard; W3C Fetch Metadata), the second a
//! foreign name in `Host`. Other clients send neither, and are served.

use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

/// Passes a request on if a program of this machine sent it, and answers 403 otherwise. For
/// `axum::middleware::from_fn`.
pub async fn refuse_foreign(request: Request, next: Next) -> Response {
    match foreign(request.headers()) {
        None => next.run(request).await,
        Some(reason) => {
            let body = Json(json!({ "message": format!("Forbidden: {reason}") }));
            (StatusCode::FORBIDDEN, body).into_response()
        }
    }
}

/// Returns why a request is foreign, or `None` for a request of this machine.
fn foreign(headers: &HeaderMap) -> Option<String> {
    let Ok(host) = single(headers, header::HOST.as_str()) else {
        return Some("more than one header Host, expected one".to_owned());
    };
    let host = host.unwrap_or_default();
    if !is_loopback(host) {
        return Some(format!(
            "Host is {host:?}, expected localhost, 127.0.0.1 or [::1]"
        ));
    }
    let own = format!("http://{host}");
    match single(headers, header::ORIGIN.as_str()) {
        Ok(None) => {}
        Ok(Some(origin)) if origin.eq_ignore_ascii_case(&own) => {}
        other => {
            let found = other.ok().flatten().unwrap_or("sent twice");
            return Some(format!(
                "Origin is {found:?}, expected {own:?} or no such header"
            ));
        }
    }
    match single(headers, "sec-fetch-site") {
        Ok(None | Some("same-origin" | "none")) => None,
        _ => Some("another web site has caused the request (Sec-Fetch-Site)".to_owned()),
    }
}

/// Returns the value of a header that may come once; an unreadable value counts as empty.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    match values.next() {
        Some(_) => Err(()),
        None => Ok(value.map(|value| value.to_str().unwrap_or_default())),
    }
}

/// Returns whether a `Host` names this machine without a resolver, with any port.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if host.contains('@') {
        return false;
    }
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost")
        || name == "[::1]"
        || name
            .parse()
            .is_ok_and(|address: Ipv4Addr| address.is_loopback())
}
