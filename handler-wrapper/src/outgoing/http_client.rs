//! HTTP calls: one subsegment for each, and the trace header on the request.
//!
//! [`TraceRequests`] is a [`tower` layer](::tower::Layer) for clients that are a `tower` service
//! (hyper-util, tonic's channel) and, with the feature `reqwest`, middleware of
//! `reqwest-middleware`.

mod hosts;
mod requests;
#[cfg(feature = "reqwest")]
mod reqwest;
mod tower;

pub use self::{requests::TraceRequests, tower::TracedClient};

#[cfg(test)]
mod tests;
