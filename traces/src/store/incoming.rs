//! Reading the text of a document into the values of the store's columns.
//!
//! The store accepts every document that it can assign to a trace. Other broken rules of X-Ray are
//! findings of [`lint`](crate::lint).

use std::fmt;

use serde_json::Value;

/// Largest document in bytes: "64 KB" (X-Ray quotas).
pub const DOCUMENT_LIMIT: usize = 64 * 1024;
/// The last second of the year 9999. Clients translate times into calendars that end there.
const LATEST: f64 = 253_402_300_799.0;
/// Largest number of annotations of one document that are indexed: "50 annotations per trace"
/// (X-Ray quotas).
const INDEXED: usize = 50;

/// A reason for which `PutTraceSegments` reports a document as unprocessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The document's id, if it has one.
    pub id: Option<String>,
    /// X-Ray's code, such as `InvalidTraceId`.
    pub code: &'static str,
    /// The found value and the expected form.
    pub cause: String,
}

impl fmt::Display for Refused {
    /// Writes the message of the real service, and the cause after it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Invalid segment. ErrorCode: {}, Cause: {}",
            self.code, self.cause
        )
    }
}

/// The value of an annotation, as the index stores it.
#[derive(Debug, Clone, PartialEq)]
pub enum Indexed {
    /// A string.
    Text(String),
    /// A number.
    Number(f64),
    /// A truth value.
    Flag(bool),
}

/// A document whose columns have been read.
#[derive(Debug)]
pub struct Incoming {
    pub(super) trace_id: String,
    pub(super) id: i64,
    pub(super) parent: Option<i64>,
    pub(super) name: String,
    /// The earliest start in the document.
    pub(super) start: f64,
    /// The latest end in the document, if something in it has ended.
    pub(super) end: Option<f64>,
    pub(super) in_progress: bool,
    pub(super) is_subsegment: bool,
    pub(super) failed: bool,
    pub(super) annotations: Vec<(String, Indexed)>,
    pub(super) text: String,
}

impl Incoming {
    /// Reads the text of one document.
    ///
    /// # Errors
    ///
    /// Returns the reason if the document cannot be assigned to a trace.
    pub fn read(text: String) -> Result<Self, Refused> {
        let body = parse(&text)?;
        let id_text = body["id"].as_str();
        let refuse = |code: &'static str, cause: String| Refused {
            id: id_text.map(|id| id.chars().take(64).collect()),
            code,
            cause,
        };
        let Some(id_text) = id_text else {
            return Err(refuse(
                "MissingId",
                expected(&body["id"], "16 hexadecimal digits", "id"),
            ));
        };
        let id = read_id(id_text).ok_or_else(|| {
            refuse(
                "InvalidId",
                expected(&body["id"], "16 hexadecimal digits", "id"),
            )
        })?;
        let trace_id = body["trace_id"]
            .as_str()
            .and_then(normal_trace_id)
            .ok_or_else(|| {
                let form = "1-, 8 hexadecimal digits, -, 24 hexadecimal digits";
                refuse(
                    "InvalidTraceId",
                    expected(&body["trace_id"], form, "trace_id"),
                )
            })?;
        let name = body["name"]
            .as_str()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| {
                refuse(
                    "InvalidName",
                    expected(&body["name"], "a text of 1 to 200 characters", "name"),
                )
            })?;
        let time = "seconds since 1970 up to the year 9999";
        let start = seconds(&body["start_time"]).ok_or_else(|| {
            refuse(
                "InvalidStartTime",
                expected(&body["start_time"], time, "start_time"),
            )
        })?;
        let end = match &body["end_time"] {
            Value::Null => None,
            found => Some(
                seconds(found)
                    .ok_or_else(|| refuse("InvalidEndTime", expected(found, time, "end_time")))?,
            ),
        };
        let in_progress = body["in_progress"] == true;
        if end.is_none() && !in_progress {
            let cause = "end_time is missing, expected it or \"in_progress\": true".to_owned();
            return Err(refuse("MissingEndTime", cause));
        }
        let parent = match &body["parent_id"] {
            Value::Null => None,
            found => Some(found.as_str().and_then(read_id).ok_or_else(|| {
                refuse(
                    "InvalidParentId",
                    expected(found, "16 hexadecimal digits", "parent_id"),
                )
            })?),
        };
        let mut read = Self {
            trace_id,
            id,
            parent,
            name: name.to_owned(),
            start,
            end,
            in_progress,
            is_subsegment: body["type"] == "subsegment",
            failed: false,
            annotations: Vec::new(),
            text: String::new(),
        };
        read.collect(&body);
        read.text = text;
        Ok(read)
    }

    /// Collects times, annotations and flags of an entity and of all below it.
    fn collect(&mut self, entity: &Value) {
        self.failed |= ["error", "fault", "throttle"]
            .iter()
            .any(|flag| entity[flag] == true);
        self.start = seconds(&entity["start_time"])
            .unwrap_or(self.start)
            .min(self.start);
        if let Some(end) = seconds(&entity["end_time"]) {
            self.end = Some(self.end.unwrap_or(end).max(end));
        }
        for (name, value) in entity["annotations"].as_object().into_iter().flatten() {
            let value = match value {
                Value::String(text) => Indexed::Text(text.clone()),
                Value::Number(number) => Indexed::Number(number.as_f64().unwrap_or_default()),
                Value::Bool(flag) => Indexed::Flag(*flag),
                _ => continue,
            };
            if self.annotations.len() < INDEXED {
                self.annotations.push((name.clone(), value));
            }
        }
        for child in entity["subsegments"].as_array().into_iter().flatten() {
            self.collect(child);
        }
    }
}

fn parse(text: &str) -> Result<Value, Refused> {
    let refuse = |cause: String| Refused {
        id: None,
        code: "ParseError",
        cause,
    };
    if text.len() > DOCUMENT_LIMIT {
        let length = text.len();
        return Err(refuse(format!(
            "{length} bytes, expected at most {DOCUMENT_LIMIT}"
        )));
    }
    // serde_json limits the nesting to 128 levels.
    let body: Value = serde_json::from_str(text)
        .map_err(|error| refuse(format!("the document is not JSON: {error}")))?;
    if body.is_object() {
        return Ok(body);
    }
    Err(refuse("the document is not a JSON object".to_owned()))
}

/// Returns "`member` is .., expected ..", with a long value cut.
fn expected(found: &Value, form: &str, member: &str) -> String {
    if found.is_null() {
        return format!("{member} is missing, expected {form}");
    }
    let text = found.to_string();
    let short: String = text.chars().take(80).collect();
    let dots = if short.len() < text.len() { ".." } else { "" };
    format!("{member} is {short}{dots}, expected {form}")
}

/// Reads 16 hexadecimal digits, the form of a segment's id.
pub(super) fn read_id(text: &str) -> Option<i64> {
    if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok().map(u64::cast_signed)
}

/// Returns a trace id in lower case, or `None` for another form.
#[must_use]
pub fn normal_trace_id(text: &str) -> Option<String> {
    let mut parts = text.split('-');
    let (version, epoch, unique) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    (version == "1" && hex(epoch, 8) && hex(unique, 24) && parts.next().is_none())
        .then(|| text.to_ascii_lowercase())
}

fn seconds(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .filter(|seconds| (0.0..=LATEST).contains(seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn valid() -> Value {
        json!({
            "trace_id": "1-581CF771-a006649127e371903a2de979", "id": "70de5b6f19ff9a0A",
            "name": "shop", "start_time": 1.5, "end_time": 2.0,
            "annotations": {"order": "A-1", "amount": 3, "gift": true, "none": null},
            "subsegments": [{"annotations": {"deep": "x"}, "fault": true}],
        })
    }

    #[test]
    fn columns_are_read_from_the_document_and_everything_below_it() {
        let read = Incoming::read(valid().to_string()).unwrap();
        assert_eq!(read.trace_id, "1-581cf771-a006649127e371903a2de979");
        assert_eq!(read.id.cast_unsigned(), 0x70de_5b6f_19ff_9a0a);
        assert!(read.failed);
        let mut names: Vec<_> = read
            .annotations
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["amount", "deep", "gift", "order"]);
    }

    #[test]
    fn document_that_belongs_to_no_trace_is_refused_with_its_reason() {
        let cases = [
            ("id", json!(null), "MissingId"),
            ("id", json!("xyz"), "InvalidId"),
            ("trace_id", json!("1-581cf771-zz"), "InvalidTraceId"),
            ("name", json!(""), "InvalidName"),
            ("start_time", json!(-62_135_596_800.0), "InvalidStartTime"),
            ("start_time", json!(1e300), "InvalidStartTime"),
            ("end_time", json!("soon"), "InvalidEndTime"),
            ("end_time", json!(null), "MissingEndTime"),
            ("parent_id", json!(7), "InvalidParentId"),
        ];
        for (member, value, code) in cases {
            let mut body = valid();
            body[member] = value;
            let refused = Incoming::read(body.to_string()).unwrap_err();
            assert_eq!(refused.code, code, "{refused}");
            assert!(refused.to_string().contains("expected"), "{refused}");
        }
    }

    #[test]
    fn text_that_is_no_object_is_refused() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let large = format!("{{\"name\":\"{}\"}}", "x".repeat(DOCUMENT_LIMIT));
        for text in ["", "[]", "NaN", "{\"start_time\":NaN}", &deep, &large] {
            let refused = Incoming::read(text.to_owned()).unwrap_err();
            assert_eq!(refused.code, "ParseError");
        }
    }
}
