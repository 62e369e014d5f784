//! Formats and rules that both processes of tracestitch share: trace ids and headers, documents,
//! datagrams, frames, settings. No I/O, no async, no AWS crates.
//!
//! | module | contents | source |
//! |---|---|---|
//! | [`id`] | trace and segment ids | X-Ray developer guide, "Tracing concepts" |
//! | [`header`] | `X-Amzn-Trace-Id` | X-Ray developer guide, "Tracing header" |
//! | [`w3c`] | `traceparent`, `tracestate` | W3C Trace Context |
//! | [`time`] | seconds since the epoch | X-Ray developer guide, "Segment documents" |
//! | [`document`] | segments and subsegments | X-Ray developer guide, "Segment documents" |
//! | [`datagram`] | input of the X-Ray daemon over UDP | X-Ray developer guide, "Sending trace data" |
//! | [`daemon`] | `AWS_XRAY_DAEMON_ADDRESS` | X-Ray developer guide, "The X-Ray daemon" |
//! | [`handoff`] | frames from the function to the extension | this crate |
//! | [`random`] | numbers behind ids and sampling | this crate |
//! | [`settings`] | environment variables that both processes read | this crate |
//! | [`log`] | levels of log lines, warnings given once | this crate |
//! | [`delivery`] | counters of sent and lost documents | this crate |
//!
//! ```
//! use tracestitch_wire::header::{Sampling, TraceHeader};
//!
//! let header: TraceHeader =
//!     "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".parse()?;
//! assert_eq!(header.sampling, Sampling::Sampled);
//! # Ok::<(), tracestitch_wire::Error>(())
//! ```

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests measure their own patience"
    )
)]

pub mod daemon;
pub mod datagram;
mod decimal;
pub mod delivery;
pub mod document;
mod error;
pub mod handoff;
pub mod header;
mod hex;
pub mod id;
pub mod log;
pub mod random;
pub mod settings;
pub mod time;
mod tracestate;
pub mod w3c;

pub use error::Error;
