//! Lambda on one machine: an execution environment for one function, with its extensions.
//!
//! A [`Function`] says what to run and how; [`Function::start`] gives its [`Environment`]; each
//! [`Environment::invoke`] runs one [`Invoke`] and gives an [`Outcome`]. The function and each
//! extension are real processes which speak the Runtime API and the Extensions API over loopback,
//! and meet what they meet on Lambda: an environment made of documented variables only, the
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
//! # How it differs from Lambda
//!
//! - One environment, on demand: invocations that arrive together wait for each other, where
//!   Lambda would start a second environment. Start several `Environment`s to have several.
//! - The start after a timeout or a crash has the whole init time, as the first one. On Lambda it
//!   counts toward the timeout of the invocation that caused it.
//! - All processes share the machine's file system and network. Only the socket of tracestitch
//!   gets a directory of its own (`TRACESTITCH_SOCKET`).
//! - No memory limit is enforced. [`Environment::kill_function`] plays the out-of-memory killer.
//! - The Telemetry API, the Logs API and SnapStart are absent.

mod api;
mod board;
mod environment;
mod extensions_api;
mod failure;
mod function;
mod invocation;
mod logs;
mod message;
mod process;
mod run;
mod runtime_api;
mod sandbox;
mod trace;
mod variables;

pub use environment::Environment;
pub use function::{Function, StartError, Tracing};
pub use invocation::{InvocationResult, Invoke, Outcome};
pub use logs::{LogLine, Stream};
