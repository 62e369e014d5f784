//! An AWS endpoint that follows a script and records its requests.
//!
//! It replaces SQS and DynamoDB, whose requests are JSON with the operation's name in
//! `X-Amz-Target`, and any other HTTP service, where the operation is method and path.

use std::collections::{HashMap, VecDeque};
use std::future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};
use tracestitch_wire::header::{self, TraceHeader};

use crate::http::{self, Reset};
use crate::wait;

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// `PutItem`, `SendMessage`, ...; method and path for a service other than AWS.
    pub operation: String,
    /// HTTP method.
    pub method: Method,
    /// Path with its query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Time at which its body had been read.
    pub at: SystemTime,
}

impl Received {
    /// Returns the body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns the text of the trace header if there is exactly one.
    pub fn trace_header_text(&self) -> Option<&str> {
        let mut values = self.headers.get_all(header::NAME).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }

    /// Returns the trace header if there is exactly one and it is valid.
    pub fn trace_header(&self) -> Option<TraceHeader> {
        self.trace_header_text()?.parse().ok()
    }
}

/// The endpoint's reaction to a request.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// A plausible answer of the operation.
    Answer,
    /// Status 200 and this body.
    Body(Value),
    /// An error of the service.
    Error {
        /// HTTP status.
        status: u16,
        /// Error code, such as `ThrottlingException`.
        code: &'static str,
        /// Error message.
        message: &'static str,
    },
    /// A plausible answer after this delay.
    Late(Duration),
    /// No answer; the connection stays open.
    Hang,
    /// A reset of the connection.
    Reset,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    /// Reactions by operation, in order; the last one is repeated.
    script: HashMap<String, VecDeque<Reaction>>,
}

/// The endpoint. Dropping it stops it.
#[derive(Debug)]
pub struct FakeAws {
    server: http::Server,
    state: Arc<Mutex<State>>,
}

impl FakeAws {
    /// Starts an endpoint on a free loopback port.
    ///
    /// # Panics
    /// When the machine has no free port.
    pub async fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = http::serve(move |request| react(Arc::clone(&shared), request))
            .await
            .expect("a loopback port is free");
        Self { server, state }
    }

    /// Returns the address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Returns its address as a URL without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Sets the reactions to the next requests for `operation`, in order; the last one is repeated.
    /// Without a script, each request gets [`Reaction::Answer`].
    pub fn script(&self, operation: &str, reactions: impl IntoIterator<Item = Reaction>) {
        lock(&self.state)
            .script
            .insert(operation.to_owned(), reactions.into_iter().collect());
    }

    /// Returns all requests so far, in order of arrival.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// Returns the requests for one operation so far, in order of arrival.
    pub fn received_for(&self, operation: &str) -> Vec<Received> {
        self.received()
            .into_iter()
            .filter(|request| request.operation == operation)
            .collect()
    }

    /// Waits until `count` requests for `operation` have arrived and returns them.
    ///
    /// # Panics
    /// When they do not arrive within [`wait::PATIENCE`].
    pub async fn wait_for(&self, operation: &str, count: usize) -> Vec<Received> {
        wait::until(&format!("{count} requests for {operation}"), || {
            Some(self.received_for(operation)).filter(|received| received.len() >= count)
        })
        .await
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn react(
    state: Arc<Mutex<State>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, Reset> {
    let received = received(request);
    let request_id = format!("{:032x}", fastrand::u128(..));
    let answer = reply(
        StatusCode::OK,
        &request_id,
        plausible_body(&received, &request_id),
    );
    let reaction = {
        let mut state = lock(&state);
        let reactions = state.script.entry(received.operation.clone()).or_default();
        let reaction = match reactions.len() {
            0 => Reaction::Answer,
            1 => reactions[0].clone(),
            _ => reactions.pop_front().unwrap_or(Reaction::Answer),
        };
        state.received.push(received);
        reaction
    };
    match reaction {
        Reaction::Answer => Ok(answer),
        Reaction::Body(body) => Ok(reply(StatusCode::OK, &request_id, body)),
        Reaction::Error {
            status,
            code,
            message,
        } => {
            let body = json!({ "__type": code, "message": message });
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(reply(status, &request_id, body))
        }
        Reaction::Late(delay) => {
            tokio::time::sleep(delay).await;
            Ok(answer)
        }
        Reaction::Hang => future::pending().await,
        Reaction::Reset => Err(Reset),
    }
}

fn received(request: Request<Bytes>) -> Received {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    let operation = parts
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok()?.split_once('.'))
        .map_or_else(
            || format!("{} {}", parts.method, parts.uri.path()),
            |(_service, operation)| operation.to_owned(),
        );
    Received {
        operation,
        method: parts.method,
        path,
        headers: parts.headers,
        body,
        at: SystemTime::now(),
    }
}

fn reply(status: StatusCode, request_id: &str, body: Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        ::http::HeaderValue::from_static("application/x-amz-json-1.0"),
    );
    if let Ok(value) = request_id.parse() {
        headers.insert("x-amzn-requestid", value);
    }
    response
}

fn plausible_body(request: &Received, id: &str) -> Value {
    match request.operation.as_str() {
        "SendMessage" => json!({ "MessageId": id }),
        "SendMessageBatch" => {
            let asked = request.json();
            let entries = asked["Entries"].as_array().map_or(&[][..], Vec::as_slice);
            let successful = entries.iter().enumerate().map(
                |(index, entry)| json!({ "Id": entry["Id"], "MessageId": format!("{id}-{index}") }),
            );
            json!({ "Successful": successful.collect::<Vec<_>>(), "Failed": [] })
        }
        "GetItem" => {
            let mut item = request.json()["Key"].clone();
            item["item"] = json!({ "S": "teapot" });
            item["quantity"] = json!({ "N": "1" });
            json!({ "Item": item })
        }
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(aws: &FakeAws, operation: &str) -> std::io::Result<StatusCode> {
        let request = Request::post("/")
            .header("host", "test")
            .header("x-amz-target", format!("AmazonSQS.{operation}"))
            .body(Bytes::from("{}"))
            .unwrap();
        Ok(http::send(aws.address(), request).await?.status())
    }

    #[tokio::test]
    async fn scripted_reactions_come_in_order() {
        let aws = FakeAws::start().await;
        let failure = Reaction::Error {
            status: 503,
            code: "ServiceUnavailable",
            message: "later",
        };
        aws.script("SendMessage", [failure.clone(), failure, Reaction::Answer]);

        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(ask(&aws, "SendMessage").await.unwrap().as_u16());
        }

        assert_eq!(statuses, [503, 503, 200, 200]);
    }

    #[tokio::test]
    async fn request_without_an_answer_is_recorded() {
        let aws = FakeAws::start().await;
        aws.script("PutItem", [Reaction::Hang]);

        tokio::select! {
            reply = ask(&aws, "PutItem") => panic!("answered {reply:?}"),
            requests = aws.wait_for("PutItem", 1) => assert_eq!(requests.len(), 1),
        }
    }

    #[tokio::test]
    async fn operation_of_other_services_is_method_and_path() {
        let aws = FakeAws::start().await;
        let request = Request::get("/vendor?a=b")
            .header("host", "test")
            .body(Bytes::new())
            .unwrap();

        http::send(aws.address(), request).await.unwrap();

        assert_eq!(aws.received()[0].operation, "GET /vendor");
    }
}
