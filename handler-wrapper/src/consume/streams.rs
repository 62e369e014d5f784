//! Consumers of Kinesis and DynamoDB streams: each record in its producer's trace.
//!
//! The services carry no context. The producer puts it into the record, with
//! [`embed::inject`](crate::embed::inject) or as one of the fields in `docs/context.md`. A record
//! is then handled as an SQS message is, see [`sqs`](crate::sqs). A batch of one record whose
//! context the invocation has taken already is handled in the invocation.
//!
//! Records are handled in order, up to the first that fails or for which no time is left. Its
//! sequence number is returned in `batchItemFailures`, and Lambda continues there. Switch on
//! `ReportBatchItemFailures` in the event source mapping, or Lambda counts the batch as a success
//! (AWS Lambda developer guide, "Configuring partial batch response with Kinesis Data Streams and
//! Lambda", and the section of the same name for DynamoDB).

use std::collections::HashMap;
use std::future::Future;

use aws_lambda_events::{
    dynamodb::{Event as DynamoDbEvent, EventRecord},
    kinesis::{KinesisEvent, KinesisEventRecord},
    streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse, KinesisEventResponse},
};
use serde_dynamo::AttributeValue;
use serde_json::Value;
use tracestitch_wire::header::TraceHeader;

use crate::{
    batch::{item::Item, schedule::Schedule},
    incoming::{fields, search},
    settings::carriers::{Carrier, Carriers},
    trace::failure::Failure,
};

/// Handles each record of a Kinesis batch in its own trace. Returns the first failed one.
///
/// `Kind` is inferred: see [`Failure`](crate::Failure).
///
/// ```
/// use aws_lambda_events::kinesis::KinesisEvent;
/// use aws_lambda_events::streams::KinesisEventResponse;
/// use lambda_runtime::{Error, LambdaEvent};
///
/// async fn handler(event: LambdaEvent<KinesisEvent>) -> Result<KinesisEventResponse, Error> {
///     Ok(tracestitch::streams::each_kinesis(event.payload, |record| async move {
///         // Runs in the trace of the record's producer.
///         tracestitch::annotate("bytes", record.kinesis.data.len());
///         Ok::<_, Error>(())
///     })
///     .await)
/// }
/// ```
pub async fn each_kinesis<H, F, T, E, Kind>(event: KinesisEvent, handle: H) -> KinesisEventResponse
where
    H: FnMut(KinesisEventRecord) -> F,
    F: Future<Output = Result<T, E>>,
    E: Failure<Kind>,
{
    let mut response = KinesisEventResponse::default();
    if let Some(failed) = first_failed(event.records, handle).await {
        response.add_failure(failed);
    }
    response
}

/// Handles each record of a DynamoDB stream's batch in its own trace. Returns the first failed one.
///
/// The context is a string attribute of the new item. A record without a new item (`REMOVE`, or a
/// view type without new images) has no context.
///
/// `Kind` is inferred: see [`Failure`](crate::Failure).
///
/// ```
/// use aws_lambda_events::dynamodb::Event;
/// use aws_lambda_events::streams::DynamoDbEventResponse;
/// use lambda_runtime::{Error, LambdaEvent};
///
/// async fn handler(event: LambdaEvent<Event>) -> Result<DynamoDbEventResponse, Error> {
///     Ok(tracestitch::streams::each_dynamodb(event.payload, |record| async move {
///         tracestitch::annotate("change", record.event_name);
///         Ok::<_, Error>(())
///     })
///     .await)
/// }
/// ```
pub async fn each_dynamodb<H, F, T, E, Kind>(
    event: DynamoDbEvent,
    handle: H,
) -> DynamoDbEventResponse
where
    H: FnMut(EventRecord) -> F,
    F: Future<Output = Result<T, E>>,
    E: Failure<Kind>,
{
    let mut response = DynamoDbEventResponse::default();
    if let Some(failed) = first_failed(event.records, handle).await {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = Some(failed);
        response.batch_item_failures.push(failure);
    }
    response
}

/// Returns the sequence number of the first record that is not done.
async fn first_failed<R, H, F, T, E, Kind>(records: Vec<R>, handle: H) -> Option<String>
where
    R: Item,
    H: FnMut(R) -> F,
    F: Future<Output = Result<T, E>>,
    E: Failure<Kind>,
{
    let numbers: Vec<String> = records
        .iter()
        .map(|record| record.id().unwrap_or_default().to_owned())
        .collect();
    let done = Schedule::<R>::default().work_off(records, handle).await;
    let failed = done.iter().position(|done| !done)?;
    numbers.into_iter().nth(failed)
}

/// Group of all records: a batch comes from one shard, in its order.
const SHARD: &str = "";

impl Item for KinesisEventRecord {
    const SOURCE: &'static str = "kinesis";

    fn carried(&self, carriers: &Carriers) -> Option<TraceHeader> {
        search::find_in_body(&self.kinesis.data, carriers)
    }

    fn group(&self) -> Option<&str> {
        Some(SHARD)
    }

    fn id(&self) -> Option<&str> {
        Some(&self.kinesis.sequence_number)
    }

    fn came_from(&self) -> String {
        let arn = self.event_source_arn.as_deref().unwrap_or("stream");
        arn.rsplit('/').next().unwrap_or(arn).to_owned()
    }

    fn facts(&self, now: i64) -> Vec<(&'static str, Option<Value>)> {
        let arrived = self
            .kinesis
            .approximate_arrival_timestamp
            .timestamp_millis();
        vec![
            ("sequence_number", self.id().map(Value::from)),
            ("stream", self.event_source_arn.clone().map(Value::from)),
            ("stream_ms", Some(now.saturating_sub(arrived).max(0).into())),
        ]
    }
}

impl Item for EventRecord {
    const SOURCE: &'static str = "dynamodb";

    fn carried(&self, carriers: &Carriers) -> Option<TraceHeader> {
        let image = self.change.new_image.inner();
        let embedded = carriers.allow(Carrier::Embedded);
        let known = embedded.then(|| fields::find(|name| field(image, name), carriers));
        known.flatten().or_else(|| {
            let mut texts = carriers
                .paths
                .iter()
                .filter_map(|path| at_path(image, path));
            texts.find_map(fields::any_form)
        })
    }

    fn group(&self) -> Option<&str> {
        Some(SHARD)
    }

    fn id(&self) -> Option<&str> {
        self.change.sequence_number.as_deref()
    }

    /// `arn:aws:dynamodb:<region>:<account>:table/<name>/stream/<time>`
    fn came_from(&self) -> String {
        let arn = self.event_source_arn.as_deref().unwrap_or("table");
        arn.split('/').nth(1).unwrap_or(arn).to_owned()
    }

    fn facts(&self, now: i64) -> Vec<(&'static str, Option<Value>)> {
        let written = self
            .change
            .approximate_creation_date_time
            .timestamp_millis();
        vec![
            ("sequence_number", self.id().map(Value::from)),
            ("stream", self.event_source_arn.clone().map(Value::from)),
            ("stream_ms", Some(now.saturating_sub(written).max(0).into())),
        ]
    }
}

/// Attributes of a DynamoDB item.
type Image = HashMap<String, AttributeValue>;

/// Returns the text under a name in any case; among several names, the one in this case wins.
fn field<'i>(image: &'i Image, name: &str) -> Option<&'i str> {
    let text = |value: &'i AttributeValue| match value {
        AttributeValue::S(text) => Some(text.as_str()),
        _ => None,
    };
    image.get(name).and_then(text).or_else(|| {
        let mut others: Vec<_> = image
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .collect();
        others.sort_by_key(|(known, _)| *known);
        others.into_iter().find_map(|(_, value)| text(value))
    })
}

/// Returns the text at a path of keys that are joined by dots.
fn at_path<'i>(image: &'i Image, path: &str) -> Option<&'i str> {
    match path.split_once('.') {
        None => field(image, path),
        Some((key, rest)) => match image.get(key)? {
            AttributeValue::M(inner) => at_path(inner, rest),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use base64::{Engine, prelude::BASE64_STANDARD};
    use serde_json::json;

    use super::*;
    use crate::{
        tests::{
            header::SAMPLED,
            kept::{Kept, invoke_in},
        },
        trace::trace::Trace,
    };

    fn header(digit: char) -> String {
        let (root, parent) = (digit.to_string().repeat(24), digit.to_string().repeat(16));
        format!("Root=1-5759e988-{root};Parent={parent};Sampled=1")
    }

    fn kinesis(data: &[&str]) -> KinesisEvent {
        let record = |(number, data): (usize, &&str)| {
            json!({
                "kinesis": {
                    "sequenceNumber": number.to_string(), "partitionKey": "p",
                    "data": BASE64_STANDARD.encode(data),
                    "approximateArrivalTimestamp": 1_480_641_523.477,
                },
                "eventSource": "aws:kinesis",
                "eventSourceARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/orders",
            })
        };
        let records: Vec<_> = data.iter().enumerate().map(record).collect();
        serde_json::from_value(json!({ "Records": records })).unwrap()
    }

    fn dynamodb(images: &[Value]) -> DynamoDbEvent {
        let record = |(number, image): (usize, &Value)| {
            json!({
                "eventID": "e", "eventName": "INSERT", "eventVersion": "1.1",
                "eventSource": "aws:dynamodb", "awsRegion": "eu-west-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_480_642_020.0, "SizeBytes": 1,
                    "Keys": {}, "NewImage": image, "SequenceNumber": number.to_string(),
                },
                "eventSourceARN":
                    "arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-11-20",
            })
        };
        let records: Vec<_> = images.iter().enumerate().map(record).collect();
        serde_json::from_value(json!({ "Records": records })).unwrap()
    }

    /// Returns trace and sequence number of each record's segment, after a check that it and the
    /// invocation's trace point at each other.
    #[track_caller]
    fn segments(kept: &Kept, source: &str) -> Vec<(String, String)> {
        let documents = kept.closed();
        let segments = documents
            .iter()
            .filter(|document| document.get("origin").is_some());
        let segment = |segment: &Value| {
            assert_eq!(segment["name"], "order-worker");
            let pointer = documents
                .iter()
                .find(|document| document["id"] == segment["links"][0]["id"]);
            let pointer = pointer.expect("a pointer in the invocation's trace");
            assert_eq!(pointer["name"], "orders");
            assert_eq!(pointer["links"][0]["id"], segment["id"]);
            let facts = &segment["metadata"][source];
            assert!(facts["stream_ms"].as_i64().unwrap() > 0);
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&segment["trace_id"]), text(&facts["sequence_number"]))
        };
        segments.map(segment).collect()
    }

    #[tokio::test]
    async fn kinesis_record_is_handled_in_its_producers_trace() {
        let kept = Kept::default();
        let carrying = ['a', 'b'].map(|digit| json!({ "_traceId": header(digit) }).to_string());
        let event = kinesis(&[&carrying[0], "plain", &carrying[1]]);
        let work = each_kinesis(event, async |record| {
            crate::capture(record.kinesis.sequence_number, async {}).await;
            Ok::<_, std::fmt::Error>(())
        });
        let response = kept.invoke(SAMPLED, work).await;
        assert!(response.batch_item_failures.is_empty());
        let [a, b] = ['a', 'b'].map(|digit| format!("1-5759e988-{}", digit.to_string().repeat(24)));
        assert_eq!(
            segments(&kept, "kinesis"),
            [(a.clone(), "0".to_owned()), (b.clone(), "2".to_owned())]
        );
        for (name, trace) in [("0", &*a), ("1", crate::tests::header::ROOT), ("2", &*b)] {
            assert_eq!(kept.one(name)["trace_id"], trace, "work of record {name}");
        }
    }

    #[tokio::test]
    async fn dynamodb_record_is_handled_in_its_producers_trace() {
        let kept = Kept::default();
        let event = dynamodb(&[
            json!({ "orderId": { "S": "o-1" }, "_traceId": { "S": header('a') } }),
            json!({ "orderId": { "S": "o-2" } }),
        ]);
        let work = each_dynamodb(event, async |_| Ok::<_, std::fmt::Error>(()));
        let response = kept.invoke(SAMPLED, work).await;
        assert!(response.batch_item_failures.is_empty());
        let trace = format!("1-5759e988-{}", "a".repeat(24));
        assert_eq!(segments(&kept, "dynamodb"), [(trace, "0".to_owned())]);
    }

    #[tokio::test]
    async fn batch_of_one_stays_in_the_invocations_trace() {
        let kept = Kept::default();
        let event = kinesis(&[&json!({ "_traceId": header('a') }).to_string()]);
        let invocation = Trace {
            has_facade_segment: false,
            ..Trace::new(Arc::new(kept.tracer()), header('a').parse().ok(), "r-1")
        };
        let work = each_kinesis(event, async |_| Ok::<_, std::fmt::Error>(()));
        invoke_in(invocation, work).await;
        let (record, handler) = (kept.one("orders"), kept.one("order-worker"));
        assert_eq!(record["parent_id"], handler["id"]);
        assert!(record.get("links").is_none(), "{record}");
    }

    #[tokio::test]
    async fn decision_of_the_invocation_holds_for_its_only_record() {
        let kept = Kept::default();
        let mut tracer = kept.tracer();
        tracer.sampling = "rate=1".parse().unwrap();
        let undecided = header('a').replace(";Sampled=1", "");
        let event = kinesis(&[&json!({ "_traceId": undecided }).to_string()]);
        let invocation = Trace {
            has_facade_segment: false,
            ..Trace::new(Arc::new(tracer), header('a').parse().ok(), "r-1")
        };
        let work = each_kinesis(event, async |_| Ok::<_, std::fmt::Error>(()));
        invoke_in(invocation, work).await;
        let (record, handler) = (kept.one("orders"), kept.one("order-worker"));
        assert_eq!(record["parent_id"], handler["id"]);
    }

    #[tokio::test]
    async fn stream_stops_at_the_first_record_that_fails() {
        for (failing, begun, expected, reason) in [
            ("1", 2, Some("1"), "by its error"),
            ("2!", 3, Some("2"), "by a panic"),
            ("9", 4, None, "not at all"),
        ] {
            let handled = Mutex::new(Vec::new());
            let handle = async |number: Option<String>| {
                let number = number.unwrap();
                handled.lock().unwrap().push(number.clone());
                assert!(
                    !failing.starts_with(&number) || !failing.ends_with('!'),
                    "poison"
                );
                (number != failing).then_some(()).ok_or(std::fmt::Error)
            };
            let kept = Kept::default();
            let event = dynamodb(&[json!({}), json!({}), json!({}), json!({})]);
            let work = each_dynamodb(event, |record| handle(record.change.sequence_number));
            let response = kept.invoke(SAMPLED, work).await;
            let failed = response.batch_item_failures.iter();
            let failed: Vec<_> = failed.map(|f| f.item_identifier.as_deref()).collect();
            assert_eq!(failed, Vec::from_iter(expected.map(Some)), "{reason}");
            assert_eq!(handled.into_inner().unwrap().len(), begun, "{reason}");
        }
    }
}
