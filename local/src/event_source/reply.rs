//! The failed messages of a batch, as the function's answer names them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Returns the message ids that the answer names as failed, or all of `batch` if the answer is
/// invalid (Lambda developer guide, "Success and failure conditions"): not JSON, another key than
/// `itemIdentifier`, an identifier that is null, empty or not in the batch.
pub(super) fn failed(answer: &[u8], batch: &BTreeSet<String>) -> BTreeSet<String> {
    named(answer, batch).unwrap_or_else(|| batch.clone())
}

fn named(answer: &[u8], batch: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let failures = match &answer {
        Value::Null => &Value::Null,
        Value::Object(members) => members.get("batchItemFailures").unwrap_or(&Value::Null),
        _ => return None,
    };
    match failures {
        Value::Null => Some(BTreeSet::new()),
        Value::Array(failures) => failures
            .iter()
            .map(|failure| failure["itemIdentifier"].as_str())
            .map(|id| batch.get(id?).cloned())
            .collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_answer_fails_the_whole_batch() {
        let batch = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let (none, one, all): (&[&str], &[&str], &[&str]) = (&[], &["b"], &["a", "b"]);
        let cases = [
            ("empty list", r#"{"batchItemFailures":[]}"#, none),
            ("null list", r#"{"batchItemFailures":null}"#, none),
            ("empty answer", "{}", none),
            ("null answer", "null", none),
            (
                "one failed",
                r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#,
                one,
            ),
            (
                "unknown message",
                r#"{"batchItemFailures":[{"itemIdentifier":"c"}]}"#,
                all,
            ),
            (
                "empty identifier",
                r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
                all,
            ),
            (
                "null identifier",
                r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
                all,
            ),
            ("other key", r#"{"batchItemFailures":[{"id":"b"}]}"#, all),
            ("not a list", r#"{"batchItemFailures":"b"}"#, all),
            ("text", r#""done""#, all),
            ("not JSON", "done", all),
            ("nothing", "", all),
        ];
        for (reason, answer, expected) in cases {
            let found: Vec<_> = failed(answer.as_bytes(), &batch).into_iter().collect();
            assert_eq!(found, expected, "{reason}");
        }
    }
}
