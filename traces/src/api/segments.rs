//! `PutTraceSegments` and `PutTelemetryRecords`: documents and counters of a daemon.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::Empty;
use super::context::Context;
use super::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutTraceSegments {
    trace_segment_documents: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutResult {
    unprocessed_trace_segments: Vec<Unprocessed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Unprocessed {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    error_code: &'static str,
    message: String,
}

/// Stores the documents. The answer names the refused ones; it has status 200 even if that is all
/// of them (X-Ray API, "Sending trace data").
pub(super) fn put_trace_segments(
    Context { store, .. }: &Context,
    request: PutTraceSegments,
) -> Result<PutResult, ApiError> {
    let results = store.put(request.trace_segment_documents)?;
    let unprocessed = results.into_iter().flatten().map(|refused| Unprocessed {
        message: refused.to_string(),
        id: refused.id,
        error_code: refused.code,
    });
    Ok(PutResult {
        unprocessed_trace_segments: unprocessed.collect(),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutTelemetryRecords {
    #[serde(rename = "TelemetryRecords")]
    _records: Vec<Value>,
}

/// Accepts a daemon's counters, which no operation of the API returns.
pub(super) fn put_telemetry_records(
    _: &Context,
    _: PutTelemetryRecords,
) -> Result<Empty, ApiError> {
    Ok(Empty {})
}
