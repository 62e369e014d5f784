//! Readers of the fields of spans and events.

use std::error::Error;
use std::fmt;

use serde_json::Value;
use tracestitch_wire::document::{
    AnnotationValue, Cause, Document, Exception, clean_message, clean_urls,
};
use tracing::field::{Field, Visit};

use crate::support::user_code;

/// Fields that hold the data a function works on, and `self`, which has the same clients and
/// settings in every span. They are recorded only if
/// [`SpanLayer::annotate`](super::SpanLayer::annotate) names them.
const DATA: [&str; 7] = [
    "self", "event", "request", "message", "payload", "body", "headers",
];

/// Words in names of fields that hold secrets, without separators. Fields with such a name are
/// recorded only if [`SpanLayer::annotate`](super::SpanLayer::annotate) names them.
const SECRETS: [&str; 11] = [
    "apikey",
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "session",
    "token",
];

/// Returns true for a name with a word of [`SECRETS`], in any case, with any separators.
fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(|letter| letter.is_alphanumeric());
    let joined: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    SECRETS.iter().any(|word| joined.contains(word))
}

/// Longest text of a field, in characters.
const FIELD_LENGTH: usize = 1000;

/// Longest part of a field that is read, in bytes. Fields may be long, such as the bytes of a file,
/// and the handler waits.
const READ_LENGTH: usize = 8 * 1024;

/// Collects a span's fields. The user's code formats their values, so the document must not be
/// locked meanwhile.
pub(super) struct SpanFields<'a> {
    annotations: &'a [String],
    facts: Vec<FieldValue>,
}

enum FieldValue {
    Annotation(&'static str, AnnotationValue),
    Metadata(&'static str, Value),
    Failure(Cause),
}

impl<'a> SpanFields<'a> {
    /// Creates a reader that turns fields of these names into annotations.
    pub(super) fn new(annotations: &'a [String]) -> Self {
        Self {
            annotations,
            facts: Vec::new(),
        }
    }

    fn is_annotation(&self, name: &str) -> bool {
        self.annotations.iter().any(|annotated| annotated == name)
    }

    fn put<V: Into<Value>>(&mut self, field: &Field, value: impl FnOnce() -> V) {
        let name = field.name();
        if self.is_annotation(name) {
            let value = annotation(value().into());
            self.facts.push(FieldValue::Annotation(name, value));
        } else if !DATA.contains(&name) && !is_secret(name) {
            self.facts.push(FieldValue::Metadata(name, value().into()));
        }
    }

    pub(super) fn put_on(self, document: &mut Document) {
        for fact in self.facts {
            match fact {
                FieldValue::Annotation(name, value) => document.annotate(name.into(), value),
                FieldValue::Metadata(name, value) => {
                    document.put_metadata("default".into(), name.into(), value);
                }
                FieldValue::Failure(cause) => document.fail(cause),
            }
        }
    }
}

fn annotation(value: Value) -> AnnotationValue {
    match value {
        Value::Bool(value) => value.into(),
        Value::String(text) => text.into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        other => other.to_string().into(),
    }
}

impl Visit for SpanFields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.put(field, || value);
        } else {
            self.put(field, || value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, || value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, || value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, || value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, || cut(value));
    }

    fn record_error(&mut self, _field: &Field, error: &(dyn Error + 'static)) {
        let mut cause = user_code::cause_of(|| Cause::from_error(error));
        cause.leave_out_quoted();
        self.facts.push(FieldValue::Failure(cause));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, || cut(&user_code::shown(value, READ_LENGTH + 1)));
    }
}

/// Cuts a text and removes secrets of the URLs in it: libraries put whole URLs into the fields of
/// their spans.
fn cut(text: &str) -> String {
    let mut read = &text[..text.floor_char_boundary(READ_LENGTH)];
    if read.len() < text.len() {
        // Half of a URL does not show where its user ends.
        let last = read.rfind(char::is_whitespace);
        read = &read[..last.unwrap_or(read.len())];
    }
    let mut text = clean_urls(read).into_owned();
    if let Some((end, _)) = text.char_indices().nth(FIELD_LENGTH) {
        text.truncate(end);
    }
    text
}

/// The message and the error of an event.
#[derive(Default)]
pub(super) struct ErrorEvent {
    chain: Option<Cause>,
    /// Value of the field that `#[instrument(err)]` fills.
    error: Option<String>,
    message: Option<String>,
}

impl ErrorEvent {
    pub(super) fn cause(self, target: &str) -> Cause {
        self.chain.unwrap_or_else(|| {
            let message = self.error.or(self.message);
            let message = message.unwrap_or_else(|| format!("an error event of {target}"));
            let message = clean_message(&message).into_owned();
            Cause::from_exception(Exception::new("error event", message))
        })
    }
}

impl Visit for ErrorEvent {
    fn record_error(&mut self, _field: &Field, error: &(dyn Error + 'static)) {
        self.chain
            .get_or_insert_with(|| user_code::cause_of(|| Cause::from_error(error)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "error" | "err" => self.error = Some(user_code::shown(value, READ_LENGTH)),
            "message" => self.message = Some(user_code::shown(value, READ_LENGTH)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_word_for_a_secret_are_secret() {
        for word in SECRETS {
            for name in [
                word.to_owned(),
                word.to_uppercase(),
                format!("user_{word}"),
                format!("{word}s"),
                format!("db.{word}.old"),
                format!("{}_{}", &word[..3], &word[3..]),
            ] {
                assert!(is_secret(&name), "{name}");
            }
        }
        for name in [
            "order_id",
            "items",
            "key",
            "author",
            "pass_rate",
            "api_version",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
