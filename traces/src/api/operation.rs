//! One operation of the API: a JSON request, work on the store, a JSON answer.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Json, body::Bytes};
use http::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::context::Context;
use super::error::ApiError;

/// Largest body of a request in bytes. Two full batches of the X-Ray daemon fit: 50 documents of
/// 64 KB each.
pub(super) const BODY_LIMIT: usize = 8 * 1024 * 1024;
/// The number of requests that read the store at the same time.
const READERS: usize = 4;

/// The work of an operation. It may block.
type Work<Q, A> = fn(&Context, Q) -> Result<A, ApiError>;

/// The context of all operations, and the permits to read the store.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) context: Arc<Context>,
    readers: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(context: Context) -> Self {
        Self {
            context: Arc::new(context),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }
}

/// Serves an operation that reads. At most [`READERS`] of these work at the same time.
pub(super) fn read<Q, A>(work: Work<Q, A>) -> MethodRouter<Shared>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    post(
        move |State(shared): State<Shared>, body: Result<Bytes, BytesRejection>| async move {
            let request = request(body)?;
            // The semaphore is never closed.
            let _permit = shared.readers.acquire().await;
            answer(shared.context, request, work).await
        },
    )
}

/// Serves an operation that writes. The store puts these in order by itself.
pub(super) fn write<Q, A>(work: Work<Q, A>) -> MethodRouter<Shared>
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    post(
        move |State(shared): State<Shared>, body: Result<Bytes, BytesRejection>| async move {
            answer(shared.context, request(body)?, work).await
        },
    )
}

fn request<Q: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<Q, ApiError> {
    let body = body.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return ApiError::above_limit(BODY_LIMIT);
        }
        ApiError::invalid(rejection.body_text())
    })?;
    // An operation without input may come without a body.
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(text).map_err(|error| ApiError::invalid(error.to_string()))
}

async fn answer<Q, A>(
    context: Arc<Context>,
    request: Q,
    work: Work<Q, A>,
) -> Result<Response, ApiError>
where
    Q: Send + 'static,
    A: Serialize + Send + 'static,
{
    let finished = tokio::task::spawn_blocking(move || {
        work(&context, request).map(|answer| Json(answer).into_response())
    });
    finished
        .await
        .unwrap_or_else(|error| Err(ApiError::internal(format!("the operation failed: {error}"))))
}
