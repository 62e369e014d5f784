//! `GetTraceSummaries`: pages of the traces of a period that a filter expression matches.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::Period;
use super::context::Context;
use super::error::ApiError;
use super::groups;
use super::search::{Found, Search};
use super::summary::summarize;
use super::token;
use crate::store::{Clock, Position};

/// Largest number of summaries on one page.
const PAGE: usize = 100;
/// Largest number of traces that one page tests. A page may have fewer summaries than there are,
/// and a token.
const TESTED: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetTraceSummaries {
    #[serde(flatten)]
    period: Period,
    time_range_type: Option<TimeRange>,
    filter_expression: Option<String>,
    next_token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum TimeRange {
    TraceId,
    Event,
    Service,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Summaries {
    trace_summaries: Vec<Value>,
    approximate_time: f64,
    traces_processed_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Returns one page, newest first.
pub(super) fn get_trace_summaries(
    context: &Context,
    request: GetTraceSummaries,
) -> Result<Summaries, ApiError> {
    let store = &context.store;
    let range = request.time_range_type.unwrap_or(TimeRange::TraceId);
    let clock = match range {
        TimeRange::TraceId => Clock::Start,
        TimeRange::Event => Clock::Arrival,
        TimeRange::Service => Clock::End,
    };
    let filter = groups::filter(store, request.filter_expression.as_deref())?;
    let after = token::read(request.next_token.as_deref())?;
    let mut search = Search::new(clock, request.period, filter)?.after(after);
    let most = if search.reads_documents() {
        TESTED
    } else {
        PAGE
    };
    let mut summaries = Vec::new();
    let mut last: Option<Position> = None;
    while summaries.len() < PAGE && search.tested() < most {
        let Some(step) = search.next(store)? else {
            last = None;
            break;
        };
        last = Some(step.position);
        let Some(found) = step.found else { continue };
        let Some(mut summary) = summary(context, found)? else {
            continue;
        };
        if range == TimeRange::Event {
            summary["MatchedEventTime"] = step.position.at.into();
        }
        summaries.push(summary);
    }
    Ok(Summaries {
        trace_summaries: summaries,
        approximate_time: last.map_or(request.period.start_time, |last| last.at),
        traces_processed_count: search.tested(),
        next_token: last.map(token::write),
    })
}

/// Returns the summary of a trace; `None` if the trace has been deleted.
fn summary(context: &Context, found: Found) -> Result<Option<Value>, ApiError> {
    if let Some(summary) = context.summary(&found.row) {
        return Ok(Some(summary));
    }
    let row = found.row.clone();
    Ok(found.tree(&context.store)?.map(|tree| {
        let summary = summarize(&row, &tree);
        context.keep(&row, &summary);
        summary
    }))
}
