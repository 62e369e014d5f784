//! Lambda functions, an SQS queue, DynamoDB, an X-Ray daemon and a trace viewer on one machine,
//! without an AWS account.
//!
//! | part | content |
//! |---|---|
//! | [`daemon`] | receives trace documents over UDP and refuses those that X-Ray would refuse |
//! | [`emulator`] | Lambda: a function and its extensions as processes |
//! | [`sqs`], [`sns`], [`table`] | endpoints for the AWS SDKs |
//! | [`event_source`], [`api_gateway`] | invoke a function: for a queue, for HTTP requests |
//! | [`view`] | the traces in a browser |
//! | [`demo`] | all of it together, with the example functions |
//! | [`run`] | the user's own function |
//! | [`command`] | the subcommands of `tracestitch` that read traces |
//!
//! A function behind a queue:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use serde_json::json;
//! use tracestitch_local::daemon::Daemon;
//! use tracestitch_local::emulator::{Function, Tracing};
//! use tracestitch_local::event_source::{EventSource, Mapping};
//! use tracestitch_local::sqs::{Settings, Sqs};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let daemon = Daemon::start()?;
//! let sqs = Sqs::start().await?;
//! let queue = sqs.create("orders", &Settings::default()).await?;
//! let worker = Function::new("worker", "target/debug/worker")
//!     .extension("target/layer/x86_64/extensions/tracestitch")
//!     .tracing(Tracing::Active)
//!     .xray_daemon(daemon.address());
//! let worker = Arc::new(worker.start().await?);
//! let mut mapping = Mapping::new(queue.clone());
//! mapping.report_batch_item_failures = true;
//! let source = EventSource::start(sqs.clone(), mapping, Arc::clone(&worker));
//!
//! // Another function would do this, with `AWS_ENDPOINT_URL_SQS` set to `sqs.endpoint()`.
//! let message = json!({ "QueueUrl": queue.url, "MessageBody": "{}" });
//! sqs.call("SendMessage", message).await?;
//! source.wait_for(|batches| !batches.is_empty(), Duration::from_secs(30)).await;
//! worker.shutdown().await;
//! daemon.read(|store| store.traces().iter().for_each(|trace| println!("{trace}")));
//! # Ok(())
//! # }
//! ```

pub mod account;
pub mod api_gateway;
pub mod client;
pub mod command;
pub mod daemon;
pub mod demo;
pub mod emulator;
pub mod error;
pub mod event_source;
mod programs;
pub mod run;
mod server;
pub mod sns;
pub mod sqs;
pub mod store;
pub mod table;
pub mod target;
pub mod view;
