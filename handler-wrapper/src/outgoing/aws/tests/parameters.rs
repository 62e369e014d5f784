//! Tests of the allow-list: each row compares the whole document of a call by a real client.

#[cfg(feature = "aws-sdk-dynamodb")]
mod dynamodb;
#[cfg(feature = "aws-sdk-eventbridge")]
mod eventbridge;
#[cfg(feature = "aws-sdk-lambda")]
mod lambda;
mod names;
mod s3;
#[cfg(feature = "aws-sdk-sqs")]
mod sqs;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use aws_smithy_types::Blob;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::*;

/// A call and its recorded members.
struct Row {
    service: &'static str,
    operation: &'static str,
    answer: Answer,
    /// Makes the call at a URL.
    call: Box<dyn FnOnce(String) -> LocalBoxFuture<'static, ()>>,
    /// Its parameters and results in the `aws` block.
    expected: Value,
}

/// The row of a call with `$call` on its builder that is answered by `$body`.
macro_rules! row {
    ($sdk:ident $service:literal $operation:literal, |$client:ident| $call:expr, $body:expr, $expected:tt $(,)?) => {
        Row {
            service: $service,
            operation: $operation,
            answer: Answer::ok($body.to_string()),
            call: Box::new(move |url| {
                Box::pin(async move {
                    let $client = client!($sdk, url);
                    $call.send().await.map(drop).unwrap();
                })
            }),
            expected: json!($expected),
        }
    };
}
use row;

fn rows() -> Vec<Row> {
    let mut rows = names::rows();
    rows.extend(s3::rows());
    #[cfg(feature = "aws-sdk-dynamodb")]
    rows.extend(dynamodb::rows());
    #[cfg(feature = "aws-sdk-eventbridge")]
    rows.extend(eventbridge::rows());
    #[cfg(feature = "aws-sdk-lambda")]
    rows.extend(lambda::rows());
    #[cfg(feature = "aws-sdk-sqs")]
    rows.extend(sqs::rows());
    rows
}

/// Returns true if rows of this service need a feature that is off.
fn is_off(service: &str) -> bool {
    [
        ("DynamoDB", cfg!(feature = "aws-sdk-dynamodb")),
        ("EventBridge", cfg!(feature = "aws-sdk-eventbridge")),
        ("Lambda", cfg!(feature = "aws-sdk-lambda")),
        ("SQS", cfg!(feature = "aws-sdk-sqs")),
    ]
    .contains(&(service, false))
}

impl Row {
    /// Makes the call and compares its whole document.
    async fn check(self) {
        let (Answer::Http(_, body) | Answer::With(.., body)) = &self.answer else {
            unreachable!("rows are answered");
        };
        let length = body.len();
        let endpoint = Endpoint::new([self.answer]).await;
        let kept = Kept::default();
        let call = (self.call)(endpoint.url.clone());
        kept.invoke(SAMPLED, call).await;
        let everything = format!("{:?}", kept.events());
        assert!(!everything.contains("s3cr3t"), "{everything}");
        let mut document = kept.one(self.service);
        let fields = document.as_object_mut().unwrap();
        for key in ["id", "start_time", "end_time"] {
            assert!(fields.remove(key).is_some(), "{key} of {}", self.operation);
        }
        let mut aws = self.expected;
        for (key, value) in [
            ("operation", json!(self.operation)),
            ("region", json!("eu-west-1")),
            ("retries", json!(0)),
            ("request_id", json!("req-1")),
        ] {
            aws[key] = value;
        }
        assert_eq!(
            document,
            json!({
                "name": self.service, "namespace": "aws", "type": "subsegment",
                "trace_id": ROOT, "parent_id": kept.one("order-worker")["id"], "aws": aws,
                "http": { "response": { "status": 200, "content_length": length } },
            })
        );
    }
}

#[tokio::test]
async fn each_row_is_recorded() {
    for row in rows() {
        row.check().await;
    }
}

/// Compares the rows with the required members in `rows.txt`.
#[test]
fn every_required_member_has_a_row() {
    let mut listed = BTreeMap::new();
    let lines = include_str!("parameters/rows.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split(' ');
        let operation = (words.next().unwrap(), words.next().unwrap());
        let keys = words.filter(|key| !key.starts_with('-'));
        let keys: BTreeSet<_> = keys
            .map(|key| key.trim_start_matches('+').to_owned())
            .collect();
        if !is_off(operation.0) {
            let before = listed.insert(operation, keys);
            assert_eq!(before, None, "{operation:?} is listed twice");
        }
    }
    let mut tested = BTreeMap::<_, BTreeSet<_>>::new();
    for row in rows() {
        let keys = row.expected.as_object().unwrap().keys().cloned();
        let operation = (row.service, row.operation);
        tested.entry(operation).or_default().extend(keys);
    }
    for (operation, keys) in &listed {
        assert_eq!(tested.get(operation), Some(keys), "{operation:?}");
    }
    let unlisted = tested
        .keys()
        .find(|operation| !listed.contains_key(*operation));
    assert_eq!(unlisted, None, "not in rows.txt");
}
