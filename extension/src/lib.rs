//! Lambda extension that delivers the X-Ray documents of a function.
//!
//! The function copies its documents into memory that it shares with this process, and signals
//! the end of an invocation on a Unix socket. This process outlives the handler, sends the
//! documents to the X-Ray daemon by UDP, and closes the ones that a timeout or a crash left open.
//!
//! | module | task |
//! |---|---|
//! | [`Config`] | reads the environment |
//! | `clock` | reads the clocks |
//! | `log` | writes to standard error |
//! | `api` | registers with Lambda and receives its events (Extensions API) |
//! | `socket` | binds the Unix socket and decides who may connect |
//! | `connections` | reads the function's messages, from shared memory and the socket |
//! | `lifecycle` | decides what to do next (no I/O, no clock) |
//! | `pending` | keeps open documents, and finished ones until they are sent |
//! | `documents` | the list of finished documents that is sent |
//! | `interrupted` | closes the document of a function that died |
//! | `flush` | sends documents to the daemon |
//! | `report` | counts deliveries and losses |
//! | [`Check`] | diagnoses the environment (`--check`) |
//! | [`run()`] | owns sockets, timers and all of the above |

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests measure their own patience"
    )
)]

mod api;
mod check;
mod clock;
mod config;
mod connections;
mod documents;
mod flush;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod interrupted;
mod lifecycle;
mod log;
mod pending;
mod report;
mod run;
mod socket;
#[cfg(test)]
mod tests;

pub use check::Check;
pub use config::Config;
pub use log::{Level, Log};
pub use run::{RunError, run};
