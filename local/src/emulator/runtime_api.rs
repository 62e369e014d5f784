//! Runtime API 2018-06-01: the runtime gets invocations and posts answers.
//!
//! Source: Lambda developer guide, "Using the Lambda runtime API" and "Building a custom runtime"
//! (response streaming).

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderValue, header as names},
    response::Response,
    routing::{get, post},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    board::Board,
    failure::Failure,
    invocation::StreamedResponse,
    responses::{Refusal, accepted, header},
    state::Answer,
};

/// Largest response that is not streamed, in bytes (Lambda developer guide, "Lambda quotas": 6 MB;
/// the service's own error message contains this number).
const MAX_RESPONSE: usize = 6 * 1024 * 1024 + 100;
/// Number of parts of a streamed response that wait for a slow receiver.
const WAITING_PARTS: usize = 16;

const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
/// A trailer of a streamed response; the error document in base64.
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

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
        names::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert("lambda-runtime-deadline-ms", job.deadline_ms.into());
    for (name, value) in [
        ("lambda-runtime-aws-request-id", Some(job.request_id)),
        ("lambda-runtime-invoked-function-arn", Some(job.arn)),
        ("lambda-runtime-trace-id", job.trace_header),
    ] {
        // A value that no header can carry would not have passed Lambda's front end either.
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
    body: Body,
) -> Result<Response, Refusal> {
    if header(&headers, RESPONSE_MODE).is_some_and(|mode| mode.eq_ignore_ascii_case("streaming")) {
        let answer = streamed(&board, &id, &headers, body).await?;
        board.answer(&id, answer)?;
        return Ok(accepted());
    }
    let body = body.collect().await.map_err(|error| unreadable(&error))?;
    let body = body.to_bytes();
    if body.len() > MAX_RESPONSE {
        let problem = format!(
            "the response has {} bytes; at most {MAX_RESPONSE} are allowed",
            body.len()
        );
        let error_type = "Function.ResponseSizeTooLarge";
        let document = json!({ "errorType": error_type, "errorMessage": problem });
        let answer = Answer::Error {
            payload: document.to_string().into(),
            error_type: Some(error_type.to_owned()),
            cause: None,
        };
        board.answer(&id, answer)?;
        return Err(Refusal::too_large(problem));
    }
    board.answer(&id, Answer::Response(body))?;
    Ok(accepted())
}

/// Reads a streamed response to its end, and passes each part on as it arrives.
async fn streamed(
    board: &Board,
    id: &str,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Answer, Refusal> {
    let receiver = board.stream(id)?;
    let (sender, parts) = mpsc::channel(WAITING_PARTS);
    if let Some(receiver) = receiver {
        let content_type = header(headers, names::CONTENT_TYPE.as_str());
        // The receiver may be gone; the invocation goes on.
        let _ = receiver.send(StreamedResponse {
            content_type,
            parts,
        });
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(|error| unreadable(&error))?.into_data() {
            Ok(part) => {
                whole.extend_from_slice(&part);
                // As above.
                let _ = sender.send(part).await;
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                if let Some(error_type) = header(&trailers, ERROR_TYPE) {
                    let document = header(&trailers, ERROR_BODY);
                    let document = document.and_then(|text| BASE64_STANDARD.decode(text).ok());
                    return Ok(Answer::Error {
                        payload: document.unwrap_or_default().into(),
                        error_type: Some(error_type),
                        cause: None,
                    });
                }
            }
        }
    }
    Ok(Answer::Response(whole.freeze()))
}

fn unreadable(error: &axum::Error) -> Refusal {
    Refusal::bad_request("InvalidRequest", format!("cannot read the body: {error}"))
}

async fn error(
    State(board): State<Arc<Board>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Response, Refusal> {
    let cause = header(&headers, "lambda-runtime-function-xray-error-cause")
        .and_then(|json| serde_json::from_str(&json).ok())
        .filter(Value::is_object);
    board.answer(
        &id,
        Answer::Error {
            payload,
            error_type: header(&headers, ERROR_TYPE),
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
    board.fail(Failure::InitError {
        payload,
        error_type: header(&headers, ERROR_TYPE),
    });
    accepted()
}
