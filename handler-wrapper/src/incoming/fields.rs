//! Trace context in named texts: message attributes, fields of a DynamoDB image.

use tracestitch_wire::{header::TraceHeader, w3c};

use super::{names, text::carried};
use crate::settings::carriers::{Carrier, Carriers};

/// Reads a text that holds a header in either format.
#[cfg(feature = "streams")]
pub(crate) fn any_form(text: &str) -> Option<TraceHeader> {
    carried(text).or_else(|| w3c::parse(text.trim()).ok())
}

/// Returns the first valid header under the names of [`names::HEADERS`], else the one of
/// `traceparent` with the `tracestate` beside it.
///
/// `text` looks up the text under a name, in any case.
pub(crate) fn find<'t>(
    text: impl Fn(&str) -> Option<&'t str>,
    carriers: &Carriers,
) -> Option<TraceHeader> {
    let named = |name: &&str| carried(text(name)?);
    let w3c = || {
        let parent = text(w3c::NAME)?;
        let header = w3c::parse(parent)
            .ok()
            .filter(|_| carriers.allow(Carrier::W3c))?;
        Some(match text(w3c::STATE_NAME) {
            Some(state) => header.with_state(state),
            None => header,
        })
    };
    names::HEADERS.iter().find_map(named).or_else(w3c)
}
