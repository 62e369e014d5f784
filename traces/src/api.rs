//! The X-Ray API over a store, with the daemon's port and its TCP calls.
//!
//! Paths, members and errors follow the service's published model (REST-JSON, version 2016-04-12). One port serves the API of the service and of the daemon: an SDK asks the daemon
//! for `GetSamplingRules` and `GetSamplingTargets` by the same paths.

mod answer;
mod conditions;
mod context;
mod error;
mod groups;
mod guard;
mod operation;
mod sampling;
mod search;
mod segments;
mod server;
mod service_graph;
mod status;
mod summaries;
mod summary;
mod token;
mod traces;

pub use guard::refuse_foreign;
pub use server::{Server, router};
