//! Message attributes and the trace header of a message.
//!
//! The emulator keeps text attributes only. Both therefore travel through it as one text attribute,
//! which is packed when the message is sent and unpacked when it is received. A message is never
//! visible without its trace header.

use http::HeaderMap;
use serde_json::{Map, Value, json};
use tracestitch_wire::header::{NAME, TraceHeader};

use super::error::SqsError;

/// The only attribute that the emulator gets.
const PACK: &str = "tracestitch-local.pack";
const TRACE_HEADER: &str = "AWSTraceHeader";

/// Packs each message of a send request.
///
/// The HTTP header covers every message; the attribute of a message overrides it (X-Ray developer
/// guide, "Amazon SQS and AWS X-Ray"). A malformed header is ignored, a malformed attribute is
/// refused (SQS API reference, `MessageSystemAttributeValue`).
pub(super) fn pack(
    operation: &str,
    headers: &HeaderMap,
    input: &mut Value,
) -> Result<(), SqsError> {
    let header = headers.get(NAME).and_then(|header| header.to_str().ok());
    let header = header.filter(|header| header.parse::<TraceHeader>().is_ok());
    match operation {
        "SendMessage" => pack_message(header, input),
        "SendMessageBatch" => {
            let entries = input["Entries"].as_array_mut().into_iter().flatten();
            entries
                .into_iter()
                .try_for_each(|entry| pack_message(header, entry))
        }
        _ => Ok(()),
    }
}

fn pack_message(header: Option<&str>, message: &mut Value) -> Result<(), SqsError> {
    let Some(message) = message.as_object_mut() else {
        return Err(SqsError::invalid("a message is not a JSON object"));
    };
    let system = message
        .remove("MessageSystemAttributes")
        .unwrap_or_default();
    let mut trace_header = header.map(str::to_owned);
    for (name, value) in system.as_object().into_iter().flatten() {
        trace_header = Some(trace_attribute(name, value)?);
    }
    let attributes = message.remove("MessageAttributes").unwrap_or_default();
    let pack = json!({TRACE_HEADER: trace_header, "attributes": attributes});
    let pack = json!({PACK: {"DataType": "String", "StringValue": pack.to_string()}});
    message.insert("MessageAttributes".to_owned(), pack);
    Ok(())
}

fn trace_attribute(name: &str, attribute: &Value) -> Result<String, SqsError> {
    if name != TRACE_HEADER {
        return Err(SqsError::invalid(format!(
            "system attribute {name:?}, expected {TRACE_HEADER}"
        )));
    }
    if attribute["DataType"] != "String" {
        let found = &attribute["DataType"];
        return Err(SqsError::invalid(format!(
            "{TRACE_HEADER} has DataType {found}, expected String"
        )));
    }
    let value = attribute["StringValue"].as_str().unwrap_or_default();
    match value.parse::<TraceHeader>() {
        Ok(_) => Ok(value.to_owned()),
        Err(error) => Err(SqsError::invalid(format!(
            "{TRACE_HEADER} is not a trace header: {error}"
        ))),
    }
}

/// Unpacks each received message and keeps the attributes that `request` names.
pub(super) fn unpack(request: &Value, output: &mut Value) {
    let names = |member: &str| -> Vec<&str> {
        request[member]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let system = [
        names("MessageSystemAttributeNames"),
        names("AttributeNames"),
    ]
    .concat();
    let own = names("MessageAttributeNames");
    for message in output["Messages"].as_array_mut().into_iter().flatten() {
        unpack_message(&system, &own, message);
    }
}

fn unpack_message(system: &[&str], own: &[&str], message: &mut Value) {
    let pack = message["MessageAttributes"][PACK]["StringValue"].as_str();
    let mut pack: Value = pack
        .and_then(|pack| serde_json::from_str(pack).ok())
        .unwrap_or_default();

    if !pack[TRACE_HEADER].is_null() {
        message["Attributes"][TRACE_HEADER] = pack[TRACE_HEADER].take();
    }
    let all = system.contains(&"All");
    keep(message, "Attributes", |name| all || system.contains(&name));

    message["MessageAttributes"] = pack["attributes"].take();
    keep(message, "MessageAttributes", |name| {
        own.iter().any(|wanted| matches(wanted, name))
    });
}

/// Returns whether a requested name matches an attribute's: `All`, `.*`, the name, or its beginning
/// before `.*` (SQS API reference, `ReceiveMessage`).
fn matches(wanted: &str, name: &str) -> bool {
    match wanted.strip_suffix(".*") {
        Some(beginning) => name.starts_with(beginning),
        None => wanted == "All" || wanted == name,
    }
}

/// Keeps the entries of the object at `member` for which `wanted` is true; removes an empty object.
fn keep(message: &mut Value, member: &str, wanted: impl Fn(&str) -> bool) {
    let Some(message) = message.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(entries)) = message.get_mut(member) {
        entries.retain(|name, _| wanted(name));
    }
    if message
        .get(member)
        .and_then(Value::as_object)
        .is_none_or(Map::is_empty)
    {
        message.remove(member);
    }
}
