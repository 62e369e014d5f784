//! Runtime API 2018-06-01: the runtime gets invocations and posts answers.
//!
//! Source: Lambda developer guide, "Using the Lambda runtime API".

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
    routing::{get, post},
};
use bytes::Bytes;
use serde_json::Value;

use super::{
    board::{Answer, Board},
    failure::Failure,
    message::{Refusal, accepted, text},
};

/// Largest answer of an invocation that is not streamed (Lambda developer guide, "Lambda quotas":
/// 6 MB; the service's own error message gives this number).
const MAX_RESPONSE: usize = 6 * 1024 * 1024 + 100;

pub(super) fn routes(board: Arc<Board>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route(
            "/2018-06-01/runtime/invocation/{id}/response",
            post(response),
        )
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(DefaultBodyLimit::disable())
        .with_state(board)
}

async fn next(State(board): State<Arc<Board>>) -> Result<Response, Refusal> {
    let job = board.next_job().await?;
    let mut response = Response::new(Body::from(job.payload));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert("lambda-runtime-deadline-ms", job.deadline_ms.into());
    for (name, value) in [
        ("lambda-runtime-aws-request-id", Some(job.request_id)),
        ("lambda-runtime-invoked-function-arn", Some(job.arn)),
        ("lambda-runtime-trace-id", job.trace_header),
    ] {
        // What no header can carry stays away, as it would at Lambda's front door.
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

async fn response(
    State(board): State<Arc<Board>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let streamed = text(&headers, "lambda-runtime-function-response-mode").is_some();
    if body.len() > MAX_RESPONSE && !streamed {
        let problem = format!(
            "the response has {} bytes; at most {MAX_RESPONSE} are allowed",
            body.len()
        );
        let error_type = "Function.ResponseSizeTooLarge";
        let document = serde_json::json!({ "errorType": error_type, "errorMessage": problem });
        let payload = document.to_string().into();
        let error_type = Some(error_type.to_owned());
        board.answer(
            &id,
            Answer::Error {
                payload,
                error_type,
                cause: None,
            },
        )?;
        return Err(Refusal::too_large(problem));
    }
    board.answer(&id, Answer::Response(body))?;
    Ok(accepted())
}

async fn error(
    State(board): State<Arc<Board>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Response, Refusal> {
    let error_type = text(&headers, "lambda-runtime-function-error-type");
    let cause = text(&headers, "lambda-runtime-function-xray-error-cause")
        .and_then(|json| serde_json::from_str(&json).ok())
        .filter(Value::is_object);
    board.answer(
        &id,
        Answer::Error {
            payload,
            error_type,
            cause,
        },
    )?;
    Ok(accepted())
}

async fn init_error(
    State(board): State<Arc<Board>>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    let error_type = text(&headers, "lambda-runtime-function-error-type");
    board.fail(Failure::InitError {
        payload,
        error_type,
    });
    accepted()
}
