//! The words in which the facts of a stack are written.

use std::collections::BTreeMap;

/// The facts of a stack: each question with its answer.
pub(super) type Facts = BTreeMap<String, String>;

/// Functions that all three stacks deploy.
pub(super) const FUNCTIONS: [&str; 2] = ["order-api", "order-worker"];

/// Variables and permissions that these functions have in template.yaml alone, for resources that
/// only it deploys.
const TEMPLATE_ONLY: [&str; 3] = ["TOPIC_ARN", "VENDOR_URL", "sns:Publish"];

/// Joins names in alphabetical order, without duplicates and without [`TEMPLATE_ONLY`].
pub(super) fn list(names: impl IntoIterator<Item = String>) -> String {
    let mut names: Vec<_> = names
        .into_iter()
        .filter(|name| !TEMPLATE_ONLY.contains(&name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}
