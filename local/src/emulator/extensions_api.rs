//! Extensions API 2020-01-01: extensions register and get lifecycle events.
//!
//! Source: Lambda developer guide, "Using the Lambda Extensions API".

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    board::Board,
    function::Function,
    responses::{Refusal, accepted, header},
    state::Event,
};

const IDENTIFIER: &str = "lambda-extension-identifier";

#[derive(Clone)]
struct Api {
    board: Arc<Board>,
    /// The body of a response to `register`, with the account id that some extensions ask for.
    function: Value,
}

pub(super) fn routes(function: &Function, board: Arc<Board>) -> Router {
    let function = json!({
        "functionName": function.name,
        "functionVersion": "$LATEST",
        "handler": function.handler,
        "accountId": function.account,
    });
    Router::new()
        .route("/2020-01-01/extension/register", post(register))
        .route("/2020-01-01/extension/event/next", get(next))
        .route("/2020-01-01/extension/init/error", post(error))
        .route("/2020-01-01/extension/exit/error", post(error))
        .with_state(Api { board, function })
}

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

async fn register(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let name = header(&headers, "lambda-extension-name").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| {
        let problem = "the header Lambda-Extension-Name is missing or empty";
        Refusal::forbidden("Extension.InvalidExtensionName", problem.into())
    })?;
    let registration: Registration = serde_json::from_slice(&body).map_err(|error| {
        let problem = format!("expected {{\"events\":[..]}}: {error}");
        Refusal::forbidden("InvalidRequestFormat", problem)
    })?;
    let events = registration
        .events
        .iter()
        .map(|name| event(name))
        .collect::<Result<_, _>>()?;
    let id = api.board.register(&name, events)?;

    let features = header(&headers, "lambda-extension-accept-feature").unwrap_or_default();
    let mut function = api.function;
    if !features
        .split(',')
        .any(|feature| feature.trim() == "accountId")
        && let Some(fields) = function.as_object_mut()
    {
        fields.remove("accountId");
    }
    Ok(([(IDENTIFIER, id)], Json(function)).into_response())
}

fn event(name: &str) -> Result<Event, Refusal> {
    serde_json::from_value(Value::from(name)).map_err(|_| {
        let problem = format!("{name:?} is not a lifecycle event; expected INVOKE or SHUTDOWN");
        Refusal::forbidden("Extension.InvalidEventType", problem)
    })
}

async fn next(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Refusal> {
    let event = api.board.next_event(&identifier(&headers)?).await?;
    Ok(Json(event).into_response())
}

/// Handles `init/error` and `exit/error`, which have the same consequence.
async fn error(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Refusal> {
    let error_type = header(&headers, "lambda-extension-function-error-type").ok_or_else(|| {
        let problem = "the header Lambda-Extension-Function-Error-Type is missing";
        Refusal::forbidden("Extension.MissingHeader", problem.into())
    })?;
    api.board
        .extension_error(&identifier(&headers)?, &error_type)?;
    Ok(accepted())
}

fn identifier(headers: &HeaderMap) -> Result<String, Refusal> {
    header(headers, IDENTIFIER).ok_or_else(|| {
        let problem = "the header Lambda-Extension-Identifier is missing";
        Refusal::forbidden("Extension.MissingExtensionIdentifier", problem.into())
    })
}
