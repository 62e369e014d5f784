//! The trace rules of SQS.

use std::time::Duration;

use serde_json::{Value, json};
use tracestitch_local::client;
use tracestitch_local::sqs::{Queue, Settings, Sqs};

const HEADER: &str =
    "Root=1-581cf771-a006649127e371903a2de979;Parent=70de5b6f19ff9a0a;Sampled=1;Lineage=a:1";
const OTHER: &str = "Root=1-581cf771-b006649127e371903a2de979;Parent=70de5b6f19ff9a0b;Sampled=0";

/// Calls an operation over HTTP, as an SDK does.
async fn post(sqs: &Sqs, operation: &str, header: Option<&str>, input: Value) -> Value {
    let target = format!("AmazonSQS.{operation}");
    let mut headers = vec![("x-amz-target", target.as_str())];
    headers.extend(header.map(|header| ("X-Amzn-Trace-Id", header)));
    client::post_json(&sqs.endpoint(), &headers, &input)
        .await
        .unwrap()
        .body
}

async fn receive(sqs: &Sqs, queue: &Queue, extra: Value) -> Vec<Value> {
    let mut input = json!({"QueueUrl": queue.url, "MaxNumberOfMessages": 10});
    input
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    let output = post(sqs, "ReceiveMessage", None, input).await;
    output["Messages"].as_array().cloned().unwrap_or_default()
}

fn attribute(value: &str) -> Value {
    json!({"AWSTraceHeader": {"DataType": "String", "StringValue": value}})
}

#[tokio::test]
async fn attribute_overrides_the_trace_header() {
    let sqs = Sqs::start().await.unwrap();
    let cases = [
        ("neither", None, None, None),
        ("header alone", Some(HEADER), None, Some(HEADER)),
        ("attribute alone", None, Some(HEADER), Some(HEADER)),
        (
            "the attribute overrides the header",
            Some(HEADER),
            Some(OTHER),
            Some(OTHER),
        ),
        (
            "a malformed header is dropped",
            Some("Root=1-x"),
            None,
            None,
        ),
    ];
    for (number, (reason, header, system, expected)) in cases.into_iter().enumerate() {
        let single = sqs
            .create(&format!("single-{number}"), &Settings::default())
            .await
            .unwrap();
        let batch = sqs
            .create(&format!("batch-{number}"), &Settings::default())
            .await
            .unwrap();
        let mut message = json!({"MessageBody": "m"});
        if let Some(value) = system {
            message["MessageSystemAttributes"] = attribute(value);
        }
        let mut entry = message.clone();
        entry["Id"] = "1".into();
        message["QueueUrl"] = single.url.as_str().into();
        post(&sqs, "SendMessage", header, message).await;
        let entries = json!({"QueueUrl": batch.url, "Entries": [entry]});
        post(&sqs, "SendMessageBatch", header, entries).await;
        for queue in [single, batch] {
            let received = receive(
                &sqs,
                &queue,
                json!({"MessageSystemAttributeNames": ["All"]}),
            )
            .await;
            let found = received[0]["Attributes"]["AWSTraceHeader"].as_str();
            assert_eq!(found, expected, "{reason}: {}", queue.url);
        }
    }
}

#[tokio::test]
async fn header_of_a_batch_covers_the_entries_without_an_attribute() {
    let sqs = Sqs::start().await.unwrap();
    let queue = sqs.create("orders", &Settings::default()).await.unwrap();
    let entries = json!([
        {"Id": "1", "MessageBody": "a"},
        {"Id": "2", "MessageBody": "b", "MessageSystemAttributes": attribute(OTHER)},
    ]);
    let input = json!({"QueueUrl": queue.url, "Entries": entries});
    post(&sqs, "SendMessageBatch", Some(HEADER), input).await;
    let received = receive(
        &sqs,
        &queue,
        json!({"MessageSystemAttributeNames": ["AWSTraceHeader"]}),
    )
    .await;
    let headers: Vec<_> = received
        .iter()
        .map(|message| message["Attributes"]["AWSTraceHeader"].as_str())
        .collect();
    assert_eq!(headers, [Some(HEADER), Some(OTHER)]);
}

#[tokio::test]
async fn attributes_are_returned_only_on_request() {
    let sqs = Sqs::start().await.unwrap();
    let at_once = Settings {
        visibility_timeout: Duration::ZERO,
        ..Settings::default()
    };
    let queue = sqs.create("orders", &at_once).await.unwrap();
    let own = json!({
        "trace.kind": {"DataType": "String", "StringValue": "x"},
        "picture": {"DataType": "Binary", "BinaryValue": "AAEC"},
    });
    let input = json!({"QueueUrl": queue.url, "MessageBody": "m", "MessageAttributes": own});
    post(&sqs, "SendMessage", Some(HEADER), input).await;
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.clone())
            .collect()
    };
    let cases = [
        ("nothing", json!({}), vec![], vec![]),
        (
            "older list",
            json!({"AttributeNames": ["SenderId"]}),
            vec!["SenderId"],
            vec![],
        ),
        (
            "trace header",
            json!({"AttributeNames": ["AWSTraceHeader"]}),
            vec!["AWSTraceHeader"],
            vec![],
        ),
        (
            "one",
            json!({"MessageAttributeNames": ["picture"]}),
            vec![],
            vec!["picture"],
        ),
        (
            "beginning",
            json!({"MessageAttributeNames": ["trace.*"]}),
            vec![],
            vec!["trace.kind"],
        ),
        (
            "all",
            json!({"MessageAttributeNames": ["All"]}),
            vec![],
            vec!["picture", "trace.kind"],
        ),
    ];
    for (reason, wanted, system, names) in cases {
        let message = receive(&sqs, &queue, wanted).await.remove(0);
        assert_eq!(keys(&message["Attributes"]), system, "{reason}");
        assert_eq!(keys(&message["MessageAttributes"]), names, "{reason}");
    }
    let message = receive(&sqs, &queue, json!({"MessageAttributeNames": [".*"]}))
        .await
        .remove(0);
    assert_eq!(message["MessageAttributes"], own, "values are unchanged");
}

#[tokio::test]
async fn malformed_trace_attribute_is_refused() {
    let sqs = Sqs::start().await.unwrap();
    let queue = sqs.create("orders", &Settings::default()).await.unwrap();
    let cases = [
        ("not a header", attribute("nonsense")),
        (
            "binary",
            json!({"AWSTraceHeader": {"DataType": "Binary", "StringValue": HEADER}}),
        ),
        (
            "another name",
            json!({"Mine": {"DataType": "String", "StringValue": HEADER}}),
        ),
    ];
    for (reason, system) in cases {
        let input =
            json!({"QueueUrl": queue.url, "MessageBody": "m", "MessageSystemAttributes": system});
        let output = post(&sqs, "SendMessage", None, input).await;
        assert_eq!(
            output["__type"], "InvalidParameterValue",
            "{reason}: {output}"
        );
    }
    assert!(receive(&sqs, &queue, json!({})).await.is_empty());
}

#[tokio::test]
async fn trace_header_is_kept_in_the_dead_letter_queue() {
    let sqs = Sqs::start().await.unwrap();
    let dead = sqs.create("dead", &Settings::default()).await.unwrap();
    let settings = Settings {
        visibility_timeout: Duration::ZERO,
        redrive: Some((dead.clone(), 1)),
        ..Settings::default()
    };
    let queue = sqs.create("orders", &settings).await.unwrap();
    let input = json!({"QueueUrl": queue.url, "MessageBody": "m"});
    post(&sqs, "SendMessage", Some(HEADER), input).await;
    assert_eq!(receive(&sqs, &queue, json!({})).await.len(), 1);
    assert_eq!(receive(&sqs, &queue, json!({})).await.len(), 0);
    let moved = receive(&sqs, &dead, json!({"AttributeNames": ["All"]})).await;
    assert_eq!(moved[0]["Attributes"]["AWSTraceHeader"], HEADER);
}

#[tokio::test]
async fn errors_have_code_and_message() {
    let sqs = Sqs::start().await.unwrap();
    let error = sqs.call(
        "SendMessage",
        json!({"QueueUrl": "http://x/none", "MessageBody": "m"}),
    );
    assert_eq!(
        error.await.unwrap_err().code,
        "AWS.SimpleQueueService.NonExistentQueue"
    );
    let output = client::post_json(&sqs.endpoint(), &[], &json!({}))
        .await
        .unwrap()
        .body;
    assert!(
        output["message"].as_str().unwrap().contains("X-Amz-Target"),
        "{output}"
    );
}
