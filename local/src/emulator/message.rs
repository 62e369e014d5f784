//! What requests and responses of both APIs have in common.

use axum::{
    Json,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// A header's value, if it is there and printable.
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// A request that is answered with an error.
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

    pub(super) fn gone(message: String) -> Self {
        Self {
            status: StatusCode::GONE,
            error_type: "Runtime.InvokeTimeout",
            message,
        }
    }

    pub(super) fn too_large(message: String) -> Self {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Self {
            status,
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

/// What both APIs answer to a post that they took.
pub(super) fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response()
}
