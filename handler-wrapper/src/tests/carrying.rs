//! Events with a context at each place where their service or producer puts one.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::header::SAMPLED;

/// The context of [`SAMPLED`] in the format of the W3C.
const TRACEPARENT: &str = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";

/// Puts a text under a name.
type Put = fn(&mut Value, &str, &str);

/// The name in `TRACESTITCH_IGNORE` of the carrier at this place, and the field that holds the
/// context.
type Slot = (&'static str, &'static str, Put);

/// Returns the event with a context at each place where one of its kind may have it, under each
/// name, with the carrier. Only one record is kept, because each would have its own context.
pub(crate) fn carrying(kind: &str, bare: &Value) -> Vec<(&'static str, Value)> {
    let mut bare = bare.clone();
    if let Some(records) = bare.get_mut("Records").and_then(Value::as_array_mut) {
        records.truncate(1);
    }
    let mut events = Vec::new();
    for (source, name, put) in places(kind, &bare) {
        let mut with = |source, name, text| {
            let mut event = bare.clone();
            put(&mut event, name, text);
            events.push((source, event));
        };
        with(source, name, SAMPLED);
        // Only X-Ray uses the system attribute.
        if source != "sqs" {
            with("w3c", "traceparent", TRACEPARENT);
        }
    }
    events
}

fn places(kind: &str, event: &Value) -> Vec<Slot> {
    match kind {
        "http" => vec![("http", "X-Amzn-Trace-Id", in_headers)],
        // AppSync's authorizer gets a token and no headers.
        "appsync" if event["authorizationToken"].is_null() => {
            vec![("http", "X-Amzn-Trace-Id", in_resolvers)]
        }
        "eventbridge" => vec![("envelope", "traceHeader", in_detail)],
        "sns" => vec![
            ("envelope", "traceHeader", |event, name, text| {
                in_attributes_of_sns(&mut event["Records"][0]["Sns"], name, text);
            }),
            ("embedded", "_traceId", |event, name, text| {
                in_json(
                    &mut event["Records"][0]["Sns"]["Message"],
                    name,
                    text,
                    in_fields,
                );
            }),
        ],
        "sqs" => places_in_message(&event["Records"][0]["body"]),
        "kinesis" => vec![("embedded", "_traceId", |event, name, text| {
            let mut data = json!({ "order": 1 });
            in_fields(&mut data, name, text);
            let data = BASE64_STANDARD.encode(data.to_string());
            event["Records"][0]["kinesis"]["data"] = data.into();
        })],
        "dynamodb" => vec![("embedded", "_traceId", |event, name, text| {
            event["Records"][0]["dynamodb"]["NewImage"][name] = json!({ "S": text });
        })],
        "direct" => vec![("embedded", "_traceId", in_fields)],
        // S3 does not know a producer.
        _ => Vec::new(),
    }
}

/// Returns the places in a message of SQS, which depend on the sender.
fn places_in_message(body: &Value) -> Vec<Slot> {
    let body: Value = serde_json::from_str(body.as_str().unwrap()).unwrap_or_default();
    let mut places: Vec<Slot> = vec![("sqs", "AWSTraceHeader", |event, name, text| {
        event["Records"][0]["attributes"][name] = text.into();
    })];
    if body["Type"] == "Notification" {
        places.push(("envelope", "traceHeader", |event, name, text| {
            in_body(event, name, text, in_attributes_of_sns);
        }));
        places.push(("embedded", "_traceId", |event, name, text| {
            in_body(event, name, text, |notification, name, text| {
                in_json(&mut notification["Message"], name, text, in_fields);
            });
        }));
    } else if body["detail-type"].is_string() {
        places.push(("envelope", "traceHeader", |event, name, text| {
            in_body(event, name, text, in_detail);
        }));
    } else if body["Records"].is_null() {
        places.push(("attribute", "traceHeader", |event, name, text| {
            event["Records"][0]["messageAttributes"][name] = json!({
                "stringValue": text, "dataType": "String",
                "stringListValues": [], "binaryListValues": [],
            });
        }));
        places.push(("embedded", "_traceId", |event, name, text| {
            in_body(event, name, text, in_fields);
        }));
    }
    places
}

fn in_body(event: &mut Value, name: &str, text: &str, put: Put) {
    in_json(&mut event["Records"][0]["body"], name, text, put);
}

/// Puts a field into the JSON object in a string. Replaces any other string, because a producer
/// that embeds a context sends an object.
fn in_json(string: &mut Value, name: &str, text: &str, put: Put) {
    let object = serde_json::from_str(string.as_str().unwrap()).ok();
    let mut object = object.filter(Value::is_object).unwrap_or_else(|| json!({}));
    put(&mut object, name, text);
    *string = object.to_string().into();
}

fn in_fields(object: &mut Value, name: &str, text: &str) {
    object[name] = text.into();
}

fn in_detail(event: &mut Value, name: &str, text: &str) {
    event["detail"][name] = text.into();
}

fn in_attributes_of_sns(notification: &mut Value, name: &str, text: &str) {
    notification["MessageAttributes"][name] = json!({ "Type": "String", "Value": text });
}

/// Puts a header into the one request that all resolvers of a batch share.
fn in_resolvers(event: &mut Value, name: &str, text: &str) {
    match event {
        Value::Array(batch) => batch
            .iter_mut()
            .for_each(|event| in_resolvers(event, name, text)),
        event => in_headers(&mut event["request"], name, text),
    }
}

/// Replaces `headers` and `multiValueHeaders`, if they are there.
fn in_headers(request: &mut Value, name: &str, text: &str) {
    if !request["headers"].is_object() && !request["multiValueHeaders"].is_object() {
        request["headers"] = json!({});
    }
    for (maps, value) in [
        ("headers", json!(text)),
        ("multiValueHeaders", json!([text])),
    ] {
        let Some(headers) = request.get_mut(maps).and_then(Value::as_object_mut) else {
            continue;
        };
        // VPC Lattice has lists under the one name.
        let lists = headers.values().any(Value::is_array);
        headers.retain(|name, _| !name.eq_ignore_ascii_case("X-Amzn-Trace-Id"));
        let value = if lists { json!([text]) } else { value };
        headers.insert(name.to_owned(), value);
    }
}
