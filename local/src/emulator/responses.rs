//! Headers and responses that both APIs share.

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Returns a header's value, if it is present and printable.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// An error response.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error_type: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn bad_request(error_type: &'static str, message: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error_type,
            message,
        }
    }

    pub(super) fn forbidden(error_type: &'static str, message: String) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            error_type,
            message,
        }
    }

    /// For an invocation whose time is over.
    pub(super) fn gone(message: String) -> Self {
        Self {
            status: StatusCode::GONE,
            error_type: "Runtime.InvokeTimeout",
            message,
        }
    }

    pub(super) fn too_large(message: String) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            error_type: "RequestEntityTooLarge",
            message,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({ "errorType": self.error_type, "errorMessage": self.message });
        (self.status, Json(body)).into_response()
    }
}

/// The response to an accepted POST.
pub(super) fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()
}
