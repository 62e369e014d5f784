//! SQS on one machine: the emulator `winterbaume-sqs` behind HTTP (awsJson1.0), with the trace
//! rules of SQS added to it.
//!
//! The emulator provides visibility, delays, receive counts and redrive. This module adds the
//! header `X-Amzn-Trace-Id` and the attribute `AWSTraceHeader`, attributes on request only, binary
//! message attributes, and request ids. `ApproximateNumberOfMessages` omits a message that was
//! received and became visible again; MD5 sums of attributes are absent.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use uuid::Uuid;
use winterbaume_core::{MockRequest, MockResponse, MockService};
use winterbaume_sqs::SqsService;

pub use error::SqsError;

use crate::account::{ACCOUNT, REGION};
use crate::server::Server;

mod attributes;
mod error;

/// An SQS endpoint on 127.0.0.1. Clones share the endpoint; it stops with the last of them.
#[derive(Clone)]
pub struct Sqs {
    emulator: Emulator,
    server: Arc<Server>,
}

impl Sqs {
    /// Starts an endpoint without queues.
    ///
    /// # Errors
    ///
    /// Fails if no port is free.
    pub async fn start() -> io::Result<Self> {
        let emulator = Emulator(Arc::new(SqsService::new()));
        let router = Router::new().fallback(answer).with_state(emulator.clone());
        Ok(Self {
            emulator,
            server: Arc::new(Server::start(router).await?),
        })
    }

    /// Returns the value for `AWS_ENDPOINT_URL_SQS`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Creates a queue.
    ///
    /// # Errors
    ///
    /// Fails if the name or a setting breaks the rules of SQS, or if a queue of this name has
    /// other settings.
    pub async fn create(&self, name: &str, settings: &Settings) -> Result<Queue, SqsError> {
        let input = json!({"QueueName": name, "Attributes": settings.attributes()});
        self.call("CreateQueue", input).await?;
        Ok(Queue {
            url: format!("{}/{ACCOUNT}/{name}", self.endpoint()),
            arn: format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"),
        })
    }

    /// Calls an operation of the SQS API in process, as a client without a trace.
    ///
    /// # Errors
    ///
    /// Returns the error of SQS.
    pub async fn call(&self, operation: &str, input: Value) -> Result<Value, SqsError> {
        let answer = self
            .emulator
            .call(operation, &HeaderMap::new(), input)
            .await?;
        serde_json::from_slice(&answer.body).map_err(|error| SqsError {
            code: "InternalError".to_owned(),
            message: format!("the answer to {operation} is not JSON: {error}"),
        })
    }
}

impl fmt::Debug for Sqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqs")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The queue's URL, the value for `QueueUrl`.
    pub url: String,
    /// The queue's ARN.
    pub arn: String,
}

/// Settings of a new queue, with the defaults of SQS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Time for which a received message is hidden; whole seconds.
    pub visibility_timeout: Duration,
    /// Time for which a new message is hidden; whole seconds.
    pub delay: Duration,
    /// The dead-letter queue, and the number of receives after which a message moves there.
    pub redrive: Option<(Queue, u32)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(30),
            delay: Duration::ZERO,
            redrive: None,
        }
    }
}

impl Settings {
    fn attributes(&self) -> Map<String, Value> {
        let seconds = |duration: Duration| Value::from(duration.as_secs().to_string());
        let mut attributes = Map::new();
        attributes.insert(
            "VisibilityTimeout".to_owned(),
            seconds(self.visibility_timeout),
        );
        attributes.insert("DelaySeconds".to_owned(), seconds(self.delay));
        if let Some((queue, max_receive_count)) = &self.redrive {
            let policy =
                json!({"deadLetterTargetArn": queue.arn, "maxReceiveCount": max_receive_count});
            attributes.insert("RedrivePolicy".to_owned(), policy.to_string().into());
        }
        attributes
    }
}

#[derive(Clone)]
struct Emulator(Arc<SqsService>);

impl Emulator {
    async fn call(
        &self,
        operation: &str,
        headers: &HeaderMap,
        mut input: Value,
    ) -> Result<MockResponse, SqsError> {
        attributes::pack(operation, headers, &mut input)?;
        let mut answer = self.0.handle(request(operation, &input)?).await;
        let mut output: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status >= 400 {
            let text = |member: &str| output[member].as_str().unwrap_or_default().to_owned();
            return Err(SqsError {
                code: text("__type"),
                message: text("message"),
            });
        }
        if operation == "ReceiveMessage" {
            attributes::unpack(&input, &mut output);
            answer.body = output.to_string().into();
        }
        Ok(answer)
    }
}

fn request(operation: &str, input: &Value) -> Result<MockRequest, SqsError> {
    let target = HeaderValue::from_str(&format!("AmazonSQS.{operation}"))
        .map_err(|_| SqsError::invalid(format!("{operation:?} is not an operation's name")))?;
    Ok(MockRequest {
        method: "POST".to_owned(),
        uri: "/".to_owned(),
        headers: HeaderMap::from_iter([(HeaderName::from_static("x-amz-target"), target)]),
        body: input.to_string().into(),
    })
}

async fn answer(State(emulator): State<Emulator>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.strip_prefix("AmazonSQS."));
    let answered = match (operation, serde_json::from_slice(&body)) {
        (None, _) => Err(SqsError::invalid(
            "header X-Amz-Target, expected AmazonSQS.<operation>",
        )),
        (_, Err(error)) => Err(SqsError::invalid(format!("the body is not JSON: {error}"))),
        (Some(operation), Ok(input)) => emulator.call(operation, &headers, input).await,
    };
    let answered = answered.unwrap_or_else(|error| {
        let body = json!({"__type": error.code, "message": error.message});
        MockResponse::json(400, body.to_string())
    });
    let mut response = Response::new(Body::from(answered.body));
    *response.status_mut() = http::StatusCode::from_u16(answered.status)
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = answered.headers;
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}
