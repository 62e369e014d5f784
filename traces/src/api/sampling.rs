//! The operations of central sampling, as an SDK calls them through the daemon.
//!
//! There is one rule, the service's default one. Its reservoir is large enough that a local program
//! is recorded whole.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::Page;
use super::context::Context;
use super::error::ApiError;

const DEFAULT: &str = "Default";
/// The share of requests that are recorded beyond the reservoir.
const FIXED_RATE: f64 = 1.0;
/// Requests a second that are recorded in any case.
const RESERVOIR: u32 = 1_000;
/// Seconds until an SDK asks again.
const INTERVAL: u32 = 10;
/// The time of the rule's last change. An SDK with older rules fetches them again.
const MODIFIED: f64 = 1_700_000_000.0;

/// Returns the default rule.
pub(super) fn get_sampling_rules(_: &Context, _: Page) -> Result<Value, ApiError> {
    Ok(json!({ "SamplingRuleRecords": [{
        "SamplingRule": {
            "RuleName": DEFAULT,
            "RuleARN": "arn:aws:xray:us-east-1:000000000000:sampling-rule/Default",
            "ResourceARN": "*",
            "Priority": 10_000,
            "FixedRate": FIXED_RATE,
            "ReservoirSize": RESERVOIR,
            "ServiceName": "*",
            "ServiceType": "*",
            "Host": "*",
            "HTTPMethod": "*",
            "URLPath": "*",
            "Version": 1,
            "Attributes": {},
        },
        "CreatedAt": MODIFIED,
        "ModifiedAt": MODIFIED,
    }]}))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSamplingTargets {
    sampling_statistics_documents: Vec<Statistics>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statistics {
    rule_name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Targets {
    sampling_target_documents: Vec<Value>,
    last_rule_modification: f64,
    unprocessed_statistics: Vec<Value>,
}

/// Returns a quota for the default rule, and reports any other rule as unknown.
pub(super) fn get_sampling_targets(
    _: &Context,
    request: GetSamplingTargets,
) -> Result<Targets, ApiError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let (known, unknown): (Vec<_>, Vec<_>) = request
        .sampling_statistics_documents
        .into_iter()
        .partition(|document| document.rule_name == DEFAULT);
    let target = |_| {
        json!({
            "RuleName": DEFAULT,
            "FixedRate": FIXED_RATE,
            "ReservoirQuota": RESERVOIR,
            "ReservoirQuotaTTL": now + u64::from(INTERVAL) * 6,
            "Interval": INTERVAL,
        })
    };
    let unprocessed = |document: Statistics| {
        json!({
            "RuleName": document.rule_name,
            "ErrorCode": "InvalidRuleName",
            "Message": "expected the name of a rule that GetSamplingRules returns",
        })
    };
    Ok(Targets {
        sampling_target_documents: known.into_iter().map(target).collect(),
        last_rule_modification: MODIFIED,
        unprocessed_statistics: unknown.into_iter().map(unprocessed).collect(),
    })
}

/// Returns no statistics: the store keeps none.
pub(super) fn get_sampling_statistic_summaries(_: &Context, _: Page) -> Result<Value, ApiError> {
    Ok(json!({ "SamplingStatisticSummaries": [] }))
}

/// Returns the service's default encryption.
pub(super) fn get_encryption_config(_: &Context, _: Page) -> Result<Value, ApiError> {
    Ok(json!({ "EncryptionConfig": { "Status": "ACTIVE", "Type": "NONE" } }))
}
