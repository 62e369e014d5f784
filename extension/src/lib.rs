//! Lambda extension that delivers the X-Ray documents of a function.
//!
//! The function hands its documents over on a Unix socket while it works. This process outlives
//! the handler, sends the documents to the X-Ray daemon by UDP, and closes what a timeout or a
//! crash left open.
//!
//! | module | question it answers |
//! |---|---|
//! | [`Config`] | what does the environment say? |
//! | `api` | what happens to the function? (Extensions API) |
//! | `socket` | where may the function find us, and who may connect? |
//! | `connections` | what has the function said? |
//! | `lifecycle` | what is to be done now? (no I/O, no clock) |
//! | `pending` | which documents are open, which wait to be sent? |
//! | `interrupted` | how does a document end whose function was killed? |
//! | `flush` | how do documents reach the daemon? |
//! | [`Check`] | what is wrong here? |
//! | `report` | what was lost, and why? |
//! | [`run()`] | the loop that owns clock, sockets and all of the above |

mod api;
mod check;
mod config;
mod connections;
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

pub use check::Check;
pub use config::Config;
pub use log::{Level, Log};
pub use run::{RunError, run};
