//! X-Ray tracing for Rust on AWS Lambda that does not break at a queue.
//!
//! Replace `lambda_runtime::run` by `tracestitch::run`, give AWS SDK clients the
//! `TraceInterceptor`, and handle SQS messages with `sqs::each`:
//!
//! ```no_run
//! use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
//! use lambda_runtime::{Error, LambdaEvent, service_fn};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     tracestitch::run(service_fn(handler)).await
//! }
//!
//! async fn handler(event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
//!     Ok(tracestitch::sqs::each(event.payload, |message| async move {
//!         // Runs in the trace of the message's producer.
//!         tracestitch::annotate("bytes", message.body.as_deref().unwrap_or_default().len());
//!         Ok::<_, Error>(())
//!     })
//!     .await)
//! }
//! ```
//!
//! | you want | use |
//! |---|---|
//! | a traced function | [`run()`] |
//! | the same with axum or `lambda_http` | `http::run`, `http::run_with_streaming_response` (feature `lambda-http`) |
//! | the same on Managed Instances | `run_concurrent` (feature `concurrency-tokio`) |
//! | any of these with rules for redaction and sampling | methods of [`TraceLayer`] |
//! | a [`Runtime`](lambda_runtime::Runtime) that you build yourself | [`TraceLayer`] |
//! | values that must not leave the process | [`Redaction`], by patterns with feature `regex` |
//! | a decision to record if the caller made none | [`SamplingRules`] |
//! | handlers and messages that fail with `anyhow::Error`, `eyre::Report` | features `anyhow`, `eyre` |
//! | AWS SDK calls | [`aws::TraceInterceptor`] |
//! | requests of hyper, other `tower` clients, reqwest | `http_client::TraceRequests` (features `http-client`, `reqwest`) |
//! | database calls | `sql::Database` (feature `sql`) |
//! | each SQS message in its producer's trace | [`sqs::each`] |
//! | several messages at a time, links, a tower service | [`sqs::Consumer`] |
//! | the same if you call `ReceiveMessage` yourself | `sqs::Poller` (feature `sqs-poll`) |
//! | each record of a Kinesis or DynamoDB stream in its producer's trace | `streams` (feature `streams`) |
//! | the trace in a payload of your own | [`embed`] |
//! | own work on the timeline | [`capture()`], [`try_capture`], [`capture_sync`], [`try_capture_sync`], [`Subsegment`] |
//! | the same as a method of a future | [`Capture`] |
//! | `#[instrument]` on the timeline | `SpanLayer` (feature `tracing`) |
//! | log lines that name their trace | `LogLayer` (feature `tracing`) |
//! | facts on the current subsegment | [`annotate`], [`metadata()`], [`metadata_in`], [`set_user`], [`record_error`], [`mark_error`], [`mark_throttle`] |
//! | calls that are not recorded | [`Context::unsampled`] |
//! | the trace in a spawned task | [`Context::scope`] |
//! | assertions on the traces of your handlers | `test::Traces` (feature `test-util`) |
//!
//! Documents go to the tracestitch extension. It sends them to X-Ray, also if the function is
//! killed. Without the extension they go to the X-Ray daemon directly. Tracing never fails, panics
//! or blocks the handler. Outside an invocation every call is legal and does nothing, except in a
//! function's init phase, whose work is kept, bounded, for the first trace.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests measure their own patience"
    )
)]
#![cfg_attr(
    not(all(
        feature = "aws-sdk",
        feature = "lambda-http",
        feature = "sqs",
        feature = "tracing"
    )),
    allow(dead_code, reason = "some of the core serves these features only")
)]

#[cfg(any(feature = "sqs", feature = "streams"))]
mod batch;
#[cfg(any(feature = "sqs", feature = "streams"))]
mod consume;
mod incoming;
mod layer;
mod outgoing;
mod settings;
#[cfg(feature = "tracing")]
mod spans;
mod support;
#[cfg(test)]
mod tests;
mod trace;
mod transport;

pub use tracestitch_wire::{
    document::{AnnotationValue, Place},
    header::{Sampling, TraceHeader},
    id::{SegmentId, TraceId},
};

#[cfg(feature = "sqs")]
pub use self::consume::sqs;
#[cfg(feature = "streams")]
pub use self::consume::streams;
#[cfg(feature = "lambda-http")]
pub use self::layer::http;
#[cfg(feature = "concurrency-tokio")]
pub use self::layer::run::run_concurrent;
#[cfg(feature = "test-util")]
pub use self::layer::test;
#[cfg(feature = "aws-sdk")]
pub use self::outgoing::aws;
#[cfg(feature = "http-client")]
pub use self::outgoing::http_client;
#[cfg(feature = "sql")]
pub use self::outgoing::sql;
#[cfg(feature = "regex")]
pub use self::settings::redaction::BadPattern;
#[cfg(feature = "tracing")]
pub use self::spans::{log_layer::LogLayer, span_layer::SpanLayer};
pub use self::{
    incoming::embed,
    layer::{invocation::InvocationFuture, run::run, service::TraceService, settings::TraceLayer},
    settings::{
        redaction::Redaction,
        sampling::{InvalidRule, SamplingRules},
    },
    trace::{
        ambient::{
            annotate, mark_error, mark_throttle, metadata, metadata_in, record_error, set_user,
        },
        capture::{Capture, Recorded, capture, capture_sync, try_capture, try_capture_sync},
        context::{Context, Scope},
        failure::{ByError, ByPointer, Failure},
        subsegment::Subsegment,
    },
};
