//! Datagrams to the X-Ray daemon: each has a header line and one document.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray". The read buffer of the daemon has
//! 64 KiB, and a UDP datagram over IPv4 carries at most 65,507 bytes.

mod encoding;
mod fit;
mod pace;
mod refusal;

pub use self::{
    encoding::{MAX_DOCUMENT, PREAMBLE, decode, encode},
    fit::{Fitted, fit, fit_within},
    pace::Pace,
    refusal::Refusal,
};
