//! Checks trace documents against X-Ray's rules.
//!
//! Source: the published segment schema, version 1.0.0, and the X-Ray developer guide ("Segment
//! documents", "Sending trace data"). The rules are written here independently of the crate that
//! writes documents, so that a mistake there is found.

mod entity;
mod object;
mod rule;
mod text;

use std::collections::HashSet;

use serde_json::Value;

use object::Object;
pub use object::Refusal;

/// Largest document in bytes: "64 KB" (X-Ray quotas).
const DOCUMENT: usize = 64 * 1024;

/// Checks a datagram: a header line, then a document as [`document`] checks it.
///
/// # Errors
///
/// Returns the first broken rule.
pub fn datagram(datagram: &[u8]) -> Result<Value, Refusal> {
    document(datagram_body(datagram)?)
}

/// Checks the header line of a datagram and returns the document after it.
///
/// # Errors
///
/// Returns the broken rule of the header line.
pub fn datagram_body(datagram: &[u8]) -> Result<&[u8], Refusal> {
    let Some(end) = datagram.iter().position(|byte| *byte == b'\n') else {
        return Err(Refusal::new(
            "",
            "no header line: a datagram is a line of JSON, a line feed, a document",
        ));
    };
    let (header, body) = (&datagram[..end], &datagram[end + 1..]);
    let header: Value = serde_json::from_slice(header)
        .map_err(|error| Refusal::new("", format!("the header line is not JSON: {error}")))?;
    let format = header["format"].as_str();
    if !format.is_some_and(|format| format.eq_ignore_ascii_case("json")) {
        let reason = format!("header {header}: expected format \"json\"");
        return Err(Refusal::new("format", reason));
    }
    if header["version"] != 1 {
        let reason = format!("header {header}: expected version 1");
        return Err(Refusal::new("version", reason));
    }
    Ok(body)
}

/// Checks the text of one segment or independent subsegment.
///
/// ```
/// use tracestitch_traces::lint;
///
/// let refusal = lint::document(br#"{"name":"shop","id":"70DE"}"#).unwrap_err();
/// assert_eq!(refusal.field, "id");
/// ```
///
/// # Errors
///
/// Returns the first broken rule.
pub fn document(text: &[u8]) -> Result<Value, Refusal> {
    if text.len() > DOCUMENT {
        let reason = format!("{} bytes, expected at most {DOCUMENT}", text.len());
        return Err(Refusal::new("", reason));
    }
    let text = str::from_utf8(text)
        .map_err(|error| Refusal::new("", format!("the document is not UTF-8: {error}")))?;
    let body: Value = serde_json::from_str(text)
        .map_err(|error| Refusal::new("", format!("the document is not JSON: {error}")))?;
    let root = Object::root(&body)?;

    entity::check(&root, &mut HashSet::new())?;
    for required in entity::DOCUMENT {
        required.check(&root)?;
    }
    if root.get("type").is_some() && root.get("parent_id").is_none() {
        return Err(root.missing("parent_id"));
    }
    // The X-Ray daemon searches for these strings to find the ids of a document that it could not
    // upload.
    for member in ["id", "trace_id"] {
        if !text.contains(&format!("\"{member}\":\"")) {
            let reason = "expected no white space between the name and the value";
            return Err(root.refuse(member, reason));
        }
    }
    Ok(body)
}
