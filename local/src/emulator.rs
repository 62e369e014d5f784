//! Lambda on one machine: an execution environment for one function, with its extensions.
//!
//! [`Function`] holds the settings; [`Function::start`] returns an [`Environment`]; each
//! [`Environment::invoke`] runs one [`Invoke`] and returns an [`Outcome`]. The function and each
//! extension are real processes that speak the Runtime API and the Extensions API over loopback.
//! They meet what they meet on Lambda: an environment made of documented variables only, the
//! freeze between invocations, the kill at the deadline, SHUTDOWN, and a new start afterwards.
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//! use tracestitch_local::emulator::{Function, InvocationResult, Invoke, Tracing};
//!
//! # async fn example() -> Result<(), tracestitch_local::emulator::StartError> {
//! let environment = Function::new("order-api", "target/debug/order-api")
//!     .extension("target/debug/tracestitch-extension")
//!     .env("TABLE_NAME", "orders")
//!     .timeout(Duration::from_secs(5))
//!     .tracing(Tracing::Active)
//!     .start()
//!     .await?;
//!
//! let outcome = environment.invoke(Invoke::new(r#"{"orderId":"1"}"#)).await;
//! assert!(matches!(outcome.result, InvocationResult::Response(_)));
//! environment.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Differences from Lambda
//!
//! - One environment, on demand: concurrent invocations wait for each other, where Lambda would
//!   start a second environment. To have several, start several `Environment`s.
//! - The start after a timeout or a crash has the whole init time, as the first one. On Lambda it
//!   counts toward the timeout of the invocation that caused it.
//! - All processes share the machine's file system and network. Only the socket of tracestitch
//!   has its own directory (`TRACESTITCH_SOCKET`).
//! - No memory limit is enforced. [`Environment::kill_function`] plays the out-of-memory killer.
//! - A streamed response has no limits of size and rate.
//! - The Telemetry API, the Logs API and SnapStart are absent.

mod board;
mod environment;
mod extensions_api;
mod failure;
mod function;
mod invocation;
mod logs;
mod process;
mod responses;
mod run;
mod runtime_api;
mod sandbox;
mod start;
mod state;
mod trace;
mod variables;

pub use environment::Environment;
pub use function::{Function, Tracing};
pub use invocation::{InvocationResult, Invoke, Outcome, StreamedResponse};
pub use logs::{LogLine, Stream};
pub use start::StartError;
