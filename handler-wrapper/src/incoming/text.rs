//! Trace context in a text.

use tracestitch_wire::{
    header::{Sampling, TraceHeader},
    id::TraceId,
};

use crate::support::diagnostics::Once;

/// Returns the context in a field that anyone may have written: a whole header, or a trace id alone.
pub(crate) fn carried(text: &str) -> Option<TraceHeader> {
    static MALFORMED: Once = Once::new();
    if text.is_empty() {
        return None;
    }
    // Most texts are headers. The length alone rules an id out, and the error of a failed attempt
    // would take several times longer than to read the header.
    let id = Some(text.trim()).filter(|text| text.len() == TraceId::LENGTH);
    if let Some(Ok(root)) = id.map(str::parse::<TraceId>) {
        return Some(TraceHeader::new(root, None, Sampling::Undecided));
    }
    text.parse()
        .inspect_err(|error: &tracestitch_wire::Error| {
            MALFORMED.warn(format_args!(
                "a trace header that came with an event is malformed, expected {}; it is ignored",
                error.expectation()
            ));
        })
        .ok()
}
