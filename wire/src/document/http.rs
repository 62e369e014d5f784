//! HTTP request and response of a segment or subsegment.

use super::{
    Text, Url,
    json::{Json, Object, key},
};

/// An HTTP exchange, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// The request.
    pub request: Option<Request>,
    /// The response.
    pub response: Option<Response>,
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// HTTP method.
    pub method: Text,
    /// URL without credentials and query.
    pub url: Url,
}

/// An HTTP response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: Option<u16>,
    /// Length of the body in bytes, from the header `Content-Length`.
    pub content_length: Option<u64>,
}

impl Json for Http {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object
            .member(key!("request"), &self.request)
            .member(key!("response"), &self.response)
            .end();
    }
}

impl Json for Request {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("method"), &self.method)
            .member(key!("url"), &self.url)
            .end();
    }
}

impl Json for Response {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("status"), &self.status)
            .member(key!("content_length"), &self.content_length)
            .end();
    }
}
