//! Errors in the form of the service.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::store::StoreError;

/// An error that a client of the API receives.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// The name of the error's shape in the service's model.
    shape: &'static str,
    message: String,
}

impl ApiError {
    /// Returns the error of a request that cannot be served.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            shape: "InvalidRequestException",
            message: message.into(),
        }
    }

    /// Returns the error of a body above the limit.
    pub(super) fn above_limit(limit: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            shape: "InvalidRequestException",
            message: format!("the body has more than {limit} bytes"),
        }
    }

    /// Returns the error of a request that did not arrive in time.
    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            shape: "InvalidRequestException",
            message: message.into(),
        }
    }

    /// Returns the error of a path that is no operation.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            shape: "UnknownOperationException",
            message: message.into(),
        }
    }

    /// Returns the error of a failure of the server.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            shape: "InternalFailure",
            message: message.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "Message": self.message }))).into_response();
        response
            .headers_mut()
            .insert("x-amzn-errortype", HeaderValue::from_static(self.shape));
        response
    }
}
