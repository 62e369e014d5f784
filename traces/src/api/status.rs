//! The state of the server: totals and counters of the store.

use serde_json::{Value, json};

use super::answer::Page;
use super::context::Context;
use super::error::ApiError;
use crate::store::Refused;

/// Returns the number of stored documents, and the refused and lost ones since the start. Not an
/// operation of X-Ray.
pub(super) fn get_status(Context { store, .. }: &Context, _: Page) -> Result<Value, ApiError> {
    let (totals, counts) = (store.totals()?, store.counts());
    let reason = |refused: &Refused| json!({ "id": refused.id, "code": refused.code, "cause": refused.cause });
    Ok(json!({
        "traces": totals.traces,
        "documents": totals.documents,
        "bytes": totals.bytes,
        "since_start": {
            "stored": counts.stored,
            "refused": counts.refused,
            "lost": counts.lost,
            "failure": counts.failure,
            "last_refused": counts.reasons.iter().map(reason).collect::<Vec<_>>(),
        },
    }))
}
