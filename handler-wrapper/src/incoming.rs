//! Finds the trace that came with an event.

mod blocks;
mod cursor;
pub(crate) mod json;
pub(crate) mod kind;
#[cfg(test)]
mod mutations;
pub(crate) mod sources;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;

use lambda_runtime::Context as LambdaContext;
use tracestitch_wire::{
    header::{Sampling, TraceHeader},
    id::TraceId,
};

use crate::{config, report::Once, sampling, tracer::Tracer};

/// The context of an invocation.
pub(crate) struct Carried {
    pub(crate) header: Option<TraceHeader>,
    /// True when the runtime handed it over, rather than the event.
    pub(crate) by_runtime: bool,
}

/// The runtime's own context when it has a trace and a decision, else the one that the event
/// carries, else what the runtime has.
pub(crate) fn of_invocation(
    tracer: &Tracer,
    context: &LambdaContext,
    event: Option<&[u8]>,
) -> Carried {
    let own = of_runtime(tracer, context);
    let in_event = match event {
        Some(event) if !own.as_ref().is_some_and(sampling::is_decided) => {
            json::find_in_event(event, &tracer.sources)
        }
        _ => None,
    };
    Carried {
        by_runtime: in_event.is_none(),
        header: in_event.or(own),
    }
}

fn of_runtime(tracer: &Tracer, context: &LambdaContext) -> Option<TraceHeader> {
    static MALFORMED: Once = Once::new();
    let text = match &context.xray_trace_id {
        Some(header) => Some(header.clone()),
        None if tracer.concurrent => None,
        None => config::trace_header_variable(),
    };
    let text = text.filter(|text| !text.is_empty())?;
    text.parse::<TraceHeader>()
        .inspect_err(|error| {
            MALFORMED.warn(format_args!(
                "the trace header of invocation {} is malformed, expected {}; it is not traced",
                context.request_id,
                error.expectation()
            ));
        })
        .ok()
}

/// A context from a field that anybody may have written: a whole header, or a trace id alone.
pub(crate) fn carried(text: &str) -> Option<TraceHeader> {
    static MALFORMED: Once = Once::new();
    if text.is_empty() {
        return None;
    }
    if let Ok(root) = text.trim().parse::<TraceId>() {
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
