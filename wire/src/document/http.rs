//! The HTTP exchange of a segment or subsegment.

use super::{
    Text, Url,
    json::{Json, Object, key},
};

/// Request and response, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// What was asked.
    pub request: Option<Request>,
    /// What was answered.
    pub response: Option<Response>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// GET, POST and so on.
    pub method: Text,
    /// Where to, without credentials and query.
    pub url: Url,
}

/// What was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: Option<u16>,
    /// Bytes of the body, by its header; absent when the header is.
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
