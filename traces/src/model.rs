//! Traces as values: documents, and the tree of segments and subsegments that they form.
//!
//! Documents are hostile input. Missing parents, cycles, repeated ids and impossible times become
//! [`Finding`]s of the [`Trace`], which is built in time proportional to the documents.

mod assemble;
mod callee;
mod document;
mod finding;
mod node;
mod root_cause;
mod trace;

pub use callee::{Callee, inferred_segments};
pub use document::Document;
pub use finding::{Finding, Rule};
pub use node::{Exception, Fact, Kind, Link, Node};
pub use root_cause::{Cause, CauseEntity, CauseService, root_cause};
pub use trace::{Place, Trace};

#[cfg(test)]
mod tests;
