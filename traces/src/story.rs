//! The story of one request across queues: the traces that it touched, merged into one list of
//! hops.
//!
//! The crate `tracestitch` stitches a message to its producer: the work is a segment in the
//! producer's trace, and a thin subsegment in the invocation's trace points to it (`links` in both,
//! and metadata `sqs`). Here the segment becomes a hop through the queue, and the invocation a fact
//! of that hop.

mod build;
mod hop;
mod linked;
mod message;
mod text;

pub use build::story;
pub use hop::{Hop, HopKind, Invocation, Story};
pub use linked::{Linked, linked};

#[cfg(test)]
mod tests;
