//! Tests of the allow-list: each row compares the whole document of a call by a real client.

#[cfg(feature = "aws-sdk-dynamodb")]
mod dynamodb;
#[cfg(feature = "aws-sdk-eventbridge")]
mod eventbridge;
#[cfg(feature = "aws-sdk-lambda")]
mod lambda;
mod names;
mod row;
mod s3;
#[cfg(feature = "aws-sdk-sqs")]
mod sqs;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use self::row::Row;

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
