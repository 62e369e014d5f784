//! What kind of event it is, by its outermost keys: for the rules of sampling.

use std::borrow::Cow;

use super::cursor::{Cursor, unescape};

/// Kind and, of an HTTP request, path.
pub(crate) fn of_event(event: &[u8]) -> (&'static str, Option<Cow<'_, str>>) {
    let mut cursor = Cursor::new(event);
    let (mut kind, mut path) = ("direct", None);
    // AppSync's batch: a list of resolvers' contexts.
    if cursor.eat(b'[') {
        let resolver = has(cursor, b"info");
        return (if resolver { "appsync" } else { kind }, None);
    }
    if !cursor.eat(b'{') {
        return (kind, path);
    }
    while let Some(key) = cursor.next_key() {
        match key {
            b"Records" => return (of_record(&mut cursor).unwrap_or("direct"), None),
            b"detail-type" => return ("eventbridge", None),
            b"info" if kind == "direct" => kind = "appsync",
            // What a mapping template hands on may lack the field above.
            b"request" if kind == "direct" && has(cursor.clone(), b"headers") => kind = "appsync",
            // What AppSync asks its authorizer has the text of the GraphQL query in it (AppSync
            // developer guide, "AWS_LAMBDA authorization").
            b"requestContext" if has(cursor.clone(), b"queryString") => kind = "appsync",
            b"requestContext" => kind = "http",
            b"path" | b"rawPath" | b"raw_path" if cursor.peek() == Some(b'"') => {
                path = cursor.string().and_then(unescape);
                if key == b"raw_path" {
                    kind = "http";
                }
                continue;
            }
            _ => {}
        }
        if cursor.skip().is_none() {
            break;
        }
    }
    (kind, path.filter(|_| kind == "http"))
}

/// True when an object comes next that has this key.
fn has(mut cursor: Cursor<'_>, wanted: &[u8]) -> bool {
    if !cursor.eat(b'{') {
        return false;
    }
    while let Some(key) = cursor.next_key() {
        if key == wanted {
            return true;
        }
        if cursor.skip().is_none() {
            return false;
        }
    }
    false
}

fn of_record(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    if !(cursor.eat(b'[') && cursor.eat(b'{')) {
        return None;
    }
    while let Some(key) = cursor.next_key() {
        if key.eq_ignore_ascii_case(b"eventSource") {
            return match cursor.string()? {
                b"aws:sqs" => Some("sqs"),
                b"aws:sns" => Some("sns"),
                b"aws:s3" => Some("s3"),
                b"aws:kinesis" => Some("kinesis"),
                b"aws:dynamodb" => Some("dynamodb"),
                _ => None,
            };
        }
        cursor.skip()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded events are in `tests/recorded_events.rs`.
    #[test]
    fn a_mapping_template_of_appsync() {
        let text = br#"{"typeName":"Query","request":{"headers":{"host":"h"}},"prev":null}"#;
        assert_eq!(of_event(text), ("appsync", None));
        let text = br#"{"arguments":{"id":7},"info":{"fieldName":"order"}}"#;
        assert_eq!(of_event(text), ("appsync", None), "without the request");
        let text = br#"{"requestContext":{},"info":"a field of somebody's own"}"#;
        assert_eq!(of_event(text), ("http", None), "not of AppSync");
        for (text, reason) in [
            (&br#"{"request":{"userAttributes":{}}}"#[..], "Cognito"),
            (br#"{"request":"headers"}"#, "a text"),
            (br#"[{"detail-type":"Order"}]"#, "a list of something else"),
            (br#"[["info"]]"#, "a list in a list"),
        ] {
            assert_eq!(of_event(text), ("direct", None), "{reason}");
        }
    }

    #[test]
    fn what_is_no_event_is_direct() {
        for text in [
            "",
            "null",
            "{",
            "{\"Records\":",
            "{\"Records\":[7]}",
            "{\"path\":",
        ] {
            assert_eq!(of_event(text.as_bytes()), ("direct", None), "{text}");
        }
    }
}
