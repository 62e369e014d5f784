//! Traces as values: documents, and the tree of segments and subsegments that they form.

mod document;

pub use document::Document;
