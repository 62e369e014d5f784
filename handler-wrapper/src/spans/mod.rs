//! Layers for spans and events of `tracing`.

mod fields;
pub(crate) mod log_layer;
mod open_spans;
pub(crate) mod span_layer;
