//! Batches of a queue's messages.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tracestitch_local::event_source::{Batch, EventSource, Mapping};
use tracestitch_local::sqs::{Queue, Settings, Sqs};
use tracestitch_local::target::Target;

use crate::support::HEADER;

/// Time for a batch; also the longest wait of a receive.
const DEADLINE: Duration = Duration::from_secs(20);

fn text(message: &Value, member: &str) -> String {
    message[member].as_str().unwrap_or_default().to_owned()
}

/// A function that answers by `answer` and records its events.
struct Consumer {
    events: Mutex<Vec<Value>>,
    answer: fn(&Value) -> Result<Value, Value>,
}

impl Consumer {
    fn new(answer: fn(&Value) -> Result<Value, Value>) -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            answer,
        })
    }
}

impl Target for Consumer {
    async fn invoke(&self, event: Bytes, trace_header: Option<String>) -> Result<Bytes, Bytes> {
        assert_eq!(
            trace_header, None,
            "Lambda starts a trace for the invocation"
        );
        let event: Value = serde_json::from_slice(&event).unwrap();
        let answer = (self.answer)(&event);
        self.events.lock().unwrap().push(event);
        answer
            .map(|ok| ok.to_string().into())
            .map_err(|error| error.to_string().into())
    }
}

fn fail_bad_records(event: &Value) -> Result<Value, Value> {
    let records = event["Records"].as_array().unwrap().iter();
    let failures: Vec<Value> = records
        .filter(|record| record["body"] == "bad")
        .map(|record| json!({"itemIdentifier": record["messageId"]}))
        .collect();
    Ok(json!({"batchItemFailures": failures}))
}

struct Setting {
    sqs: Sqs,
    dead: Queue,
    mapping: Mapping,
}

async fn setting() -> Setting {
    let sqs = Sqs::start().await.unwrap();
    let dead = sqs.create("dead", &Settings::default()).await.unwrap();
    let settings = Settings {
        redrive: Some((dead.clone(), 2)),
        ..Settings::default()
    };
    let queue = sqs.create("orders", &settings).await.unwrap();
    let mapping = Mapping {
        report_batch_item_failures: true,
        retry_after: Some(Duration::ZERO),
        ..Mapping::new(queue)
    };
    Setting { sqs, dead, mapping }
}

impl Setting {
    async fn send(&self, body: &str) -> String {
        let input = json!({
            "QueueUrl": self.mapping.queue.url,
            "MessageBody": body,
            "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "order"}},
            "MessageSystemAttributes":
                {"AWSTraceHeader": {"DataType": "String", "StringValue": HEADER}},
        });
        let output = self.sqs.call("SendMessage", input).await.unwrap();
        text(&output, "MessageId")
    }

    fn start(&self, consumer: &Arc<Consumer>) -> EventSource {
        EventSource::start(self.sqs.clone(), self.mapping.clone(), Arc::clone(consumer))
    }

    /// Waits for the first message of the dead-letter queue, and returns the bodies of all.
    async fn dead(&self) -> Vec<String> {
        let input = json!({
            "QueueUrl": self.dead.url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": DEADLINE.as_secs(),
        });
        let output = self.sqs.call("ReceiveMessage", input).await.unwrap();
        let messages = output["Messages"].as_array().into_iter().flatten();
        messages.map(|message| text(message, "Body")).collect()
    }
}

#[tokio::test]
async fn event_equals_lambdas_sample() {
    let setting = setting().await;
    let id = setting.send("hello").await;
    let consumer = Consumer::new(fail_bad_records);
    let source = setting.start(&consumer);
    assert!(
        source
            .wait_for(|batches| batches.len() == 1, DEADLINE)
            .await
    );
    let event = consumer.events.lock().unwrap()[0].clone();
    let record = &event["Records"][0];
    let attributes = &record["attributes"];
    assert!(record["receiptHandle"].is_string());
    for time in ["SentTimestamp", "ApproximateFirstReceiveTimestamp"] {
        assert!(
            attributes[time].as_str().unwrap().parse::<u64>().is_ok(),
            "{time}: {event}"
        );
    }
    let expected = json!({"Records": [{
        "messageId": id,
        "receiptHandle": record["receiptHandle"],
        "body": "hello",
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": attributes["SentTimestamp"],
            "SenderId": attributes["SenderId"],
            "ApproximateFirstReceiveTimestamp": attributes["ApproximateFirstReceiveTimestamp"],
            "AWSTraceHeader": HEADER,
        },
        "messageAttributes": {"kind": {
            "stringValue": "order", "stringListValues": [], "binaryListValues": [], "dataType": "String",
        }},
        "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
        "awsRegion": "us-east-1",
    }]});
    assert_eq!(event, expected);
}

#[tokio::test]
async fn only_the_failed_message_is_retried_and_becomes_a_dead_letter() {
    let setting = setting().await;
    let good = setting.send("good").await;
    let bad = setting.send("bad").await;
    let consumer = Consumer::new(fail_bad_records);
    let source = setting.start(&consumer);
    assert_eq!(setting.dead().await, ["bad"]);
    let ids = |id: &String| BTreeSet::from([id.clone()]);
    let expected = [
        Batch {
            succeeded: ids(&good),
            failed: ids(&bad),
        },
        Batch {
            succeeded: BTreeSet::new(),
            failed: ids(&bad),
        },
    ];
    assert_eq!(source.batches(), expected);
    let counts: Vec<Value> = consumer
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| event["Records"].as_array().unwrap().last().unwrap().clone())
        .map(|record| record["attributes"]["ApproximateReceiveCount"].clone())
        .collect();
    assert_eq!(counts, ["1", "2"]);
}

#[tokio::test]
async fn failed_invocation_fails_the_whole_batch() {
    let setting = setting().await;
    setting.send("a").await;
    setting.send("b").await;
    let source = setting.start(&Consumer::new(|_| Err(json!({"errorType": "Timeout"}))));
    assert!(
        source
            .wait_for(|batches| batches.len() == 2, DEADLINE)
            .await
    );
    assert!(source.batches().iter().all(|batch| batch.failed.len() == 2));
    assert_eq!(setting.dead().await.len(), 2);
}

#[tokio::test]
async fn window_fills_a_batch_beyond_one_receive() {
    let mut setting = setting().await;
    setting.mapping.batch_size = 15;
    setting.mapping.batching_window = DEADLINE;
    for number in 0..30 {
        setting.send(&number.to_string()).await;
    }
    let source = setting.start(&Consumer::new(fail_bad_records));
    assert!(
        source
            .wait_for(|batches| batches.len() == 2, DEADLINE)
            .await
    );
    let sizes: Vec<_> = source
        .batches()
        .iter()
        .map(|batch| batch.succeeded.len())
        .collect();
    assert_eq!(
        sizes,
        [15, 15],
        "a window lets a batch grow beyond one receive"
    );
}

#[tokio::test]
async fn any_answer_is_success_without_partial_failures() {
    let mut setting = setting().await;
    setting.mapping.report_batch_item_failures = false;
    setting.send("bad").await;
    let source = setting.start(&Consumer::new(fail_bad_records));
    assert!(
        source
            .wait_for(|batches| batches.len() == 1, DEADLINE)
            .await
    );
    assert!(source.batches()[0].failed.is_empty());
}
