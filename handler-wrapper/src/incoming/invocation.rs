//! Choice of the trace context that an invocation continues.

use lambda_runtime::Context as LambdaContext;
use tracestitch_wire::header::TraceHeader;

use super::search::{self, Event};
use crate::{
    settings::{config, sampling},
    support::diagnostics::Once,
    trace::tracer::Tracer,
};

/// The context of an invocation.
pub(crate) struct Carried {
    pub(crate) header: Option<TraceHeader>,
    /// True if the header came from the runtime rather than from the event.
    pub(crate) by_runtime: bool,
    /// Name of the event source in rules of sampling; `direct` if the event was not read.
    pub(crate) source: &'static str,
    /// Path of an HTTP request, if the event was read.
    pub(crate) path: Option<String>,
}

/// Returns the runtime's own context if it has a trace and a decision, else the one that the event
/// carries, else what the runtime has.
///
/// The event is read only if the runtime's context has no decision.
pub(crate) fn of_invocation(
    tracer: &Tracer,
    context: &LambdaContext,
    event: Option<&[u8]>,
) -> Carried {
    let own = of_runtime(tracer, context);
    let event = event.filter(|_| !own.as_ref().is_some_and(sampling::is_decided));
    let Event {
        header: in_event,
        source,
        path,
    } = event
        .map(|event| search::read_event(event, &tracer.carriers))
        .unwrap_or_default();
    Carried {
        by_runtime: in_event.is_none(),
        header: in_event.or(own),
        source,
        path,
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

#[cfg(test)]
mod tests {
    use std::env;
    use std::process::Command;

    use super::*;
    use crate::tests::{header::SAMPLED, kept::Kept};

    /// The environment belongs to the whole process, so the test starts itself again in another
    /// one.
    #[test]
    fn the_environment_counts_where_one_invocation_runs_at_a_time() {
        const ENVIRONMENT: &str = "Root=1-00000002-000000000000000000000002;Sampled=1";
        if env::var_os("_X_AMZN_TRACE_ID").is_none() {
            let name = "incoming::invocation::tests::the_environment_counts_where_one_invocation_runs_at_a_time";
            let inside = Command::new(env::current_exe().unwrap())
                .args(["--exact", name])
                .env("_X_AMZN_TRACE_ID", ENVIRONMENT)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&inside.stdout);
            assert!(
                inside.status.success() && said.contains("1 passed"),
                "{said}"
            );
            return;
        }
        for (concurrent, own, expected, reason) in [
            (false, None, Some(ENVIRONMENT), "the runtime said nothing"),
            (false, Some(SAMPLED), Some(SAMPLED), "the runtime's word"),
            (true, None, None, "it may be that of another invocation"),
            (true, Some(SAMPLED), Some(SAMPLED), "the runtime's word"),
        ] {
            let mut tracer = Kept::default().tracer();
            tracer.concurrent = concurrent;
            let mut context = LambdaContext::default();
            context.xray_trace_id = own.map(str::to_owned);
            let found = of_invocation(&tracer, &context, None);
            let header = found.header.map(|header| header.to_string());
            assert_eq!(
                header.as_deref(),
                expected,
                "concurrent {concurrent}: {reason}"
            );
            assert!(found.by_runtime);
        }
    }
}
