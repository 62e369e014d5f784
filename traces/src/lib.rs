//! Everything that reads X-Ray traces.
//!
//! | module | content |
//! |---|---|
//! | [`model`] | documents, and the tree that they form |
//! | [`lint`] | documents that X-Ray would refuse |
//! | [`filter`] | filter expressions |
//! | [`graph`] | the service graph |
//! | [`story`] | the story of one request across queues |
//! | [`stats`] | counts, rates and percentiles of calls |
//! | [`text`] | a trace as text |
//! | [`store`] | documents in SQLite |
//! | [`api`] | the X-Ray API over a store |
//! | [`daemon`] | the X-Ray daemon's UDP port over a store |

pub mod api;
pub mod daemon;
pub mod filter;
pub mod graph;
pub mod lint;
pub mod model;
pub mod stats;
pub mod store;
pub mod story;
pub mod text;
