//! Looks for a trace header in JSON without building the document: only strings under the names
//! that carry one are kept, everything else is skipped.

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use tracestitch_wire::header::TraceHeader;

use crate::report::Once;

/// Objects that are looked into: HTTP headers, the HTTP request of an AppSync event, the
/// envelope of an EventBridge event.
const NESTED: [&str; 4] = ["headers", "multivalueheaders", "request", "detail"];

/// How deep the objects above may lie in each other.
const DEPTH: u8 = 3;

/// Largest message body that is looked into, in bytes.
#[cfg(feature = "sqs")]
const MAX_BODY: usize = 256 * 1024;

/// The first valid trace header in an event.
pub(crate) fn find_in_event(event: &[u8]) -> Option<TraceHeader> {
    static UNREADABLE: Once = Once::new();
    find(event).unwrap_or_else(|error| {
        UNREADABLE.warn(format_args!(
            "an event was searched for a trace header and is not JSON ({error}): it is handled \
             without one"
        ));
        None
    })
}

/// The first valid trace header in a message body. A body that is not a JSON object carries none.
#[cfg(feature = "sqs")]
pub(crate) fn find_in_body(message_id: &str, body: &str) -> Option<TraceHeader> {
    static UNREADABLE: Once = Once::new();
    if body.len() > MAX_BODY {
        return None;
    }
    find(body.as_bytes()).unwrap_or_else(|error| {
        UNREADABLE.warn(format_args!(
            "message {} has no trace header, and its body is not JSON in which one could be \
             ({error}): it is handled in the invocation's trace",
            message_id.escape_debug()
        ));
        None
    })
}

fn find(json: &[u8]) -> serde_json::Result<Option<TraceHeader>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let found = Object { depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(found)
}

fn carries_header(key: &str) -> bool {
    ["x-amzn-trace-id", "_traceid", "traceheader"]
        .into_iter()
        .any(|name| key.eq_ignore_ascii_case(name))
}

/// An object in which a header may be, or anything else, in which none is.
struct Object {
    depth: u8,
}

/// A value that may be a header: a string, or a list that begins with one.
struct Candidate;

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Option<TraceHeader>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> DeserializeSeed<'de> for Candidate {
    type Value = Option<TraceHeader>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A key, borrowed from the text where it holds no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Everything in which no header is.
macro_rules! nothing_found {
    ($($visit:ident: $value:ty),*) => {$(
        fn $visit<E>(self, _: $value) -> Result<Self::Value, E> {
            Ok(None)
        }
    )*};
}

impl<'de> Visitor<'de> for Object {
    type Value = Option<TraceHeader>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(Key(key)) = map.next_key()? {
            if found.is_some() {
                map.next_value::<IgnoredAny>()?;
            } else if carries_header(&key) {
                found = map.next_value_seed(Candidate)?;
            } else if self.depth < DEPTH && NESTED.iter().any(|name| key.eq_ignore_ascii_case(name))
            {
                found = map.next_value_seed(Self {
                    depth: self.depth + 1,
                })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    nothing_found!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

impl<'de> Visitor<'de> for Candidate {
    type Value = Option<TraceHeader>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(super::carried(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let first = list.next_element_seed(Self)?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first.flatten())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    nothing_found!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";

    #[track_caller]
    fn found(json: &str) -> Option<String> {
        find(json.replace("HEADER", HEADER).as_bytes())
            .unwrap()
            .map(|header| header.to_string())
    }

    #[test]
    fn places_where_a_header_is_found() {
        for (json, reason) in [
            (
                r#"{"headers":{"X-Amzn-Trace-Id":"HEADER"}}"#,
                "API Gateway REST",
            ),
            (
                r#"{"version":"2.0","headers":{"x-amzn-trace-id":"HEADER"}}"#,
                "HTTP API, function URL",
            ),
            (
                r#"{"multiValueHeaders":{"x-amzn-trace-id":["HEADER","other"]}}"#,
                "load balancer",
            ),
            (
                r#"{"headers":null,"multiValueHeaders":{"X-Amzn-Trace-Id":["HEADER"]}}"#,
                "null headers",
            ),
            (
                r#"{"request":{"headers":{"x-amzn-trace-id":"HEADER"}}}"#,
                "AppSync",
            ),
            (
                r#"{"detail":{"traceHeader":"HEADER"}}"#,
                "EventBridge envelope",
            ),
            (r#"{"order":{"id":1},"_traceId":"HEADER"}"#, "embedded"),
            (r#"{"traceHeader":"HEADER"}"#, "embedded"),
            (r#"{"\u005ftraceId":"HEADER"}"#, "key with an escape"),
            (
                r#"{"_traceId":"nonsense","traceHeader":"HEADER"}"#,
                "first valid one wins",
            ),
            (
                r#"{"_traceId":7,"traceHeader":"HEADER"}"#,
                "other types are passed over",
            ),
        ] {
            assert_eq!(found(json).as_deref(), Some(HEADER), "{reason}");
        }
        assert_eq!(
            found(r#"{"_traceId":"1-5759e988-bd862e3fe1be46a994272793"}"#).as_deref(),
            Some("Root=1-5759e988-bd862e3fe1be46a994272793"),
            "a trace id alone has no decision"
        );
    }

    #[test]
    fn places_where_none_is() {
        for json in [
            "null",
            "7",
            "true",
            "\"text\"",
            "[]",
            "[{\"_traceId\":\"HEADER\"}]",
            "{}",
            r#"{"body":{"_traceId":"HEADER"}}"#,
            r#"{"headers":"text"}"#,
            r#"{"headers":{"x-amzn-trace-id":{"a":1}}}"#,
            r#"{"headers":{"x-amzn-trace-id":[]}}"#,
            r#"{"detail":{"detail":{"detail":{"detail":{"traceHeader":"HEADER"}}}}}"#,
        ] {
            assert_eq!(found(json), None, "{json}");
        }
    }

    #[test]
    fn what_is_not_json_is_an_error_and_never_a_panic() {
        let deep = "[".repeat(100_000);
        for (json, reason) in [
            (&b"plain text"[..], "text"),
            (b"", "empty"),
            (b"{\"_traceId\":", "cut off"),
            (b"\xff\xfe{}", "not UTF-8"),
            (b"{\"a\":\"\xff\"} x", "trailing text"),
            (deep.as_bytes(), "nested too deeply"),
        ] {
            assert!(find(json).is_err(), "{reason}");
        }
    }
}
