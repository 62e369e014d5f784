//! The HTTP exchange of a segment or subsegment.

use serde::Serialize;

use super::Text;

/// Request and response, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Http {
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// What was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// GET, POST and so on.
    pub method: Text,
    /// Without user, query and fragment.
    pub url: Text,
}

/// What was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Response {
    /// HTTP status code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Bytes of the body, by its header; absent when the header is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_length: Option<u64>,
}
