//! The server behind `AWS_LAMBDA_RUNTIME_API`: Runtime API and Extensions API on one port.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::{net::TcpListener, task::AbortHandle};

use super::{Function, board::Board, extensions_api, runtime_api};

/// A running server; dropping it ends it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    /// Serves on a free port of the loopback address.
    pub(super) async fn start(function: &Function, board: &Arc<Board>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let routes = Router::new()
            .merge(runtime_api::routes(Arc::clone(board)))
            .merge(extensions_api::routes(function, Arc::clone(board)));
        // `axum::serve` goes on after errors of single connections and never ends by itself.
        let serve = async move { axum::serve(listener, routes).await };
        Ok(Self {
            address,
            task: tokio::spawn(serve).abort_handle(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
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
