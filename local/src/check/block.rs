//! The nested blocks of a document, one function for each block of the guide.

use serde_json::Value;

use super::{Block, Checked, STRING, shorten};

/// Segment schema: an annotation's text.
const ANNOTATION: usize = 1000;
/// Segment schema: an annotation's key.
const ANNOTATION_KEY: usize = 500;
/// Developer guide, "Linking traces": links of one segment.
const LINKS: usize = 20;

pub(super) fn http(entity: &Block<'_>) -> Checked {
    let Some(http) = entity.block("http")? else {
        return Ok(());
    };
    if let Some(request) = http.block("request")? {
        for text in ["method", "url", "user_agent", "client_ip"] {
            request.text(text, STRING)?;
        }
        for flag in ["x_forwarded_for", "traced"] {
            request.flag(flag)?;
        }
    }
    if let Some(response) = http.block("response")? {
        response.integer("status")?;
        response.integer("content_length")?;
    }
    Ok(())
}

pub(super) fn sql(entity: &Block<'_>) -> Checked {
    let Some(sql) = entity.block("sql")? else {
        return Ok(());
    };
    for text in [
        "connection_string",
        "url",
        "sanitized_query",
        "database_type",
        "database_version",
        "driver_version",
        "user",
    ] {
        sql.text(text, STRING)?;
    }
    match sql.text("preparation", STRING)? {
        None | Some("call" | "statement") => Ok(()),
        Some(other) => sql.refuse(
            "preparation",
            format!("{other:?}, expected \"call\" or \"statement\""),
        ),
    }
}

/// `aws` and `service`: any members, but no null and no long string in them.
pub(super) fn facts(entity: &Block<'_>, member: &str) -> Checked {
    match entity.block(member)? {
        Some(block) => block
            .members
            .iter()
            .try_for_each(|(name, value)| fact(&block, name, value)),
        None => Ok(()),
    }
}

fn fact(block: &Block<'_>, path: &str, value: &Value) -> Checked {
    match value {
        Value::Null => block.refuse(path, "null, expected a value or no such member"),
        Value::String(text) if text.chars().count() > STRING => {
            let length = text.chars().count();
            block.refuse(
                path,
                format!("{length} characters, expected at most {STRING}"),
            )
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| fact(block, &format!("{path}[{index}]"), item)),
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| fact(block, &format!("{path}.{name}"), value)),
        _ => Ok(()),
    }
}

pub(super) fn annotations(entity: &Block<'_>) -> Checked {
    let Some(annotations) = entity.block("annotations")? else {
        return Ok(());
    };
    for (key, value) in annotations.members {
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if key.is_empty() || key.len() > ANNOTATION_KEY || !key.bytes().all(is_key) {
            let reason = "not a key of 1 to 500 letters, digits and underscores of ASCII";
            return annotations.refuse(key, reason);
        }
        match value {
            Value::String(_) => {
                annotations.text(key, ANNOTATION)?;
            }
            Value::Number(_) | Value::Bool(_) => {}
            other => {
                let expected = "expected a string, a number, true or false";
                return annotations.refuse(key, format!("{}, {expected}", shorten(other)));
            }
        }
    }
    Ok(())
}

pub(super) fn metadata(entity: &Block<'_>) -> Checked {
    let Some(metadata) = entity.block("metadata")? else {
        return Ok(());
    };
    for namespace in metadata.members.keys() {
        metadata.block(namespace)?;
        if namespace.starts_with("AWS.") {
            return metadata.refuse(namespace, "namespaces beginning with \"AWS.\" are reserved");
        }
    }
    Ok(())
}

pub(super) fn cause(entity: &Block<'_>) -> Checked {
    if entity.get("cause").is_some_and(Value::is_string) {
        return entity.id("cause").map(|_| ());
    }
    let Some(cause) = entity.block("cause")? else {
        return Ok(());
    };
    cause.read("working_directory", "a string", Value::as_str)?;
    strings(&cause, "paths")?;
    for index in 0..cause.list("exceptions")?.len() {
        exception(&cause.item("exceptions", index)?)?;
    }
    Ok(())
}

fn exception(exception: &Block<'_>) -> Checked {
    exception.id("id")?.ok_or_else(|| exception.missing("id"))?;
    exception.id("cause")?;
    // No length is checked: the official SDKs send messages as they come.
    for text in ["message", "type"] {
        exception.read(text, "a string", Value::as_str)?;
    }
    exception.flag("remote")?;
    for count in ["truncated", "skipped"] {
        exception.integer(count)?;
    }
    for index in 0..exception.list("stack")?.len() {
        let frame = exception.item("stack", index)?;
        frame.read("path", "a string", Value::as_str)?;
        frame.read("label", "a string", Value::as_str)?;
        frame.integer("line")?;
    }
    Ok(())
}

fn strings(block: &Block<'_>, member: &str) -> Checked {
    match block
        .list(member)?
        .iter()
        .position(|item| !item.is_string())
    {
        Some(index) => block.refuse(&format!("{member}[{index}]"), "expected a string"),
        None => Ok(()),
    }
}

pub(super) fn links(entity: &Block<'_>) -> Checked {
    let count = entity.list("links")?.len();
    if count > LINKS {
        return entity.refuse("links", format!("{count} links, expected at most {LINKS}"));
    }
    for index in 0..count {
        let link = entity.item("links", index)?;
        link.id("id")?.ok_or_else(|| link.missing("id"))?;
        match link.text("trace_id", STRING)? {
            Some(trace_id) if super::is_trace_id(trace_id) => {}
            Some(trace_id) => {
                return link.refuse("trace_id", format!("{trace_id:?} is not a trace id"));
            }
            None => return Err(link.missing("trace_id")),
        }
        link.block("attributes")?;
    }
    Ok(())
}
