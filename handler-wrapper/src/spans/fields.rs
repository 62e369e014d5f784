//! What the fields of spans and events say.

use std::error::Error;
use std::fmt;

use serde_json::Value;
use tracestitch_wire::document::{
    AnnotationValue, Cause, Document, Exception, clean_message, clean_urls,
};
use tracing::field::{Field, Visit};

use crate::support::user_code;

/// Fields that hold what a function was given to work on, and `self`, which with its clients and
/// settings is the same in every span: they are not recorded unless they are named in
/// [`SpanLayer::annotate`](super::SpanLayer::annotate).
const DATA: [&str; 7] = [
    "self", "event", "request", "message", "payload", "body", "headers",
];

/// Characters of a field's text.
const FIELD_LENGTH: usize = 1000;

/// Bytes that are looked at of it. Fields may be long (a file's bytes), and the handler waits.
const READ_LENGTH: usize = 8 * 1024;

/// Collects a span's fields. Their values write themselves, as the user's code has it, so the
/// document must not be locked meanwhile.
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
    /// Those of these names become annotations.
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
        } else if !DATA.contains(&name) {
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
        let cause = user_code::cause_of(|| Cause::from_error(error));
        self.facts.push(FieldValue::Failure(cause));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, || cut(&user_code::shown(value, READ_LENGTH + 1)));
    }
}

/// Libraries put whole URLs into the fields of their spans, where they are a log's matter.
fn cut(text: &str) -> String {
    let mut read = &text[..text.floor_char_boundary(READ_LENGTH)];
    if read.len() < text.len() {
        // Half a URL does not tell its user from its host.
        let last = read.rfind(char::is_whitespace);
        read = &read[..last.unwrap_or(read.len())];
    }
    let mut text = clean_urls(read).into_owned();
    if let Some((end, _)) = text.char_indices().nth(FIELD_LENGTH) {
        text.truncate(end);
    }
    text
}

/// What an error event says.
#[derive(Default)]
pub(super) struct ErrorEvent {
    chain: Option<Cause>,
    /// `#[instrument(err)]` writes the error's text into this field.
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
