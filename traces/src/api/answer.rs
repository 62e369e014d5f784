//! Parts that several requests and answers share.

use serde::{Deserialize, Serialize};

use super::error::ApiError;

/// An answer without members.
#[derive(Debug, Serialize)]
pub(super) struct Empty {}

/// A request without members that matter: a page of a list that always has one page.
#[derive(Debug, Deserialize)]
pub(super) struct Page {}

/// A period in seconds since the epoch.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Period {
    pub(super) start_time: f64,
    pub(super) end_time: f64,
}

impl Period {
    /// Returns the period if its start is not after its end.
    pub(super) fn check(self) -> Result<Self, ApiError> {
        if self.start_time <= self.end_time {
            return Ok(self);
        }
        Err(ApiError::invalid(format!(
            "StartTime {} is after EndTime {}, expected a period",
            self.start_time, self.end_time
        )))
    }
}
