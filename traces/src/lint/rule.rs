//! Rules for single members of a document.

use serde_json::Value;

use super::object::{Object, Refusal, expected};
use super::text::{is_id, is_trace_id, name_problem};

/// Largest length of a string, in characters, where no other limit is named.
pub(super) const STRING: usize = 250;
/// Largest length of an annotation's text (schema).
const ANNOTATION: usize = 1000;
/// Largest length of an annotation's key (schema).
const ANNOTATION_KEY: usize = 500;

/// A rule for a value.
pub(super) enum Rule {
    /// A segment's or subsegment's name.
    Name,
    /// The id of a segment, subsegment or exception.
    Id,
    TraceId,
    /// Text of at most this many characters.
    Text(usize),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    Flag,
    Number,
    Integer,
    /// An object with these members, among others.
    Object(&'static [Member]),
    /// An object with these members, among others that are neither null nor long text at any depth.
    Facts(&'static [Member]),
    /// Up to so many items that all follow a rule.
    List(usize, &'static Self),
    /// Text, numbers and flags under keys of ASCII letters, digits and underscores.
    Annotations,
    /// An object of objects, one for each namespace.
    Metadata,
    /// An id in place of an object.
    IdOr(&'static Self),
}

/// A member of an object, by name.
pub(super) enum Member {
    Optional(&'static str, Rule),
    Required(&'static str, Rule),
}

impl Member {
    /// Checks this member of an object.
    pub(super) fn check(&self, object: &Object<'_>) -> Result<(), Refusal> {
        let (Self::Optional(name, rule) | Self::Required(name, rule)) = self;
        match (object.get(name), self) {
            (Some(value), _) => rule.check(object.path(name), value),
            (None, Self::Required(..)) => Err(object.missing(name)),
            (None, Self::Optional(..)) => Ok(()),
        }
    }
}

impl Rule {
    fn check(&self, path: String, value: &Value) -> Result<(), Refusal> {
        let problem = match self {
            Self::Name => text(value, name_problem),
            Self::Id => text(value, id_problem),
            Self::TraceId => text(value, trace_id_problem),
            Self::Text(limit) => text(value, |text| length_problem(text, *limit)),
            Self::OneOf(texts) => text(value, |text| {
                (!texts.contains(&text)).then(|| format!("{text:?}, expected one of {texts:?}"))
            }),
            Self::Flag => unless(value.is_boolean(), "true or false", value),
            Self::Number => unless(value.is_number(), "a number", value),
            Self::Integer => unless(value.is_i64(), "an integer", value),
            Self::Object(members) => {
                let object = Object::at(path, value)?;
                return members.iter().try_for_each(|member| member.check(&object));
            }
            Self::Facts(members) => {
                let object = Object::at(path, value)?;
                members
                    .iter()
                    .try_for_each(|member| member.check(&object))?;
                let mut all = object.members.iter();
                return all.try_for_each(|(name, value)| fact(object.path(name), value));
            }
            Self::List(limit, rule) => return list(path, value, *limit, rule),
            Self::Annotations => return annotations(&Object::at(path, value)?),
            Self::Metadata => return metadata(&Object::at(path, value)?),
            Self::IdOr(_) if value.is_string() => text(value, id_problem),
            Self::IdOr(rule) => return rule.check(path, value),
        };
        match problem {
            Some(reason) => Err(Refusal::new(path, reason)),
            None => Ok(()),
        }
    }
}

fn text(value: &Value, problem: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    match value.as_str() {
        Some(text) => problem(text),
        None => Some(expected("a string", value)),
    }
}

fn unless(is_valid: bool, wanted: &str, value: &Value) -> Option<String> {
    (!is_valid).then(|| expected(wanted, value))
}

fn id_problem(text: &str) -> Option<String> {
    (!is_id(text)).then(|| format!("{text:?} is not 16 hexadecimal digits"))
}

fn trace_id_problem(text: &str) -> Option<String> {
    (!is_trace_id(text))
        .then(|| format!("{text:?} is not 1-<8 hexadecimal digits>-<24 hexadecimal digits>"))
}

fn length_problem(text: &str, limit: usize) -> Option<String> {
    let length = text.chars().count();
    (length > limit).then(|| format!("{length} characters, expected at most {limit}"))
}

fn list(path: String, value: &Value, limit: usize, rule: &Rule) -> Result<(), Refusal> {
    let Some(items) = value.as_array() else {
        return Err(Refusal::new(path, expected("an array", value)));
    };
    if items.len() > limit {
        let reason = format!("{} items, expected at most {limit}", items.len());
        return Err(Refusal::new(path, reason));
    }
    let mut items = items.iter().enumerate();
    items.try_for_each(|(index, item)| rule.check(format!("{path}[{index}]"), item))
}

/// Checks a value of `aws` or `service`.
fn fact(path: String, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null => Err(Refusal::new(
            path,
            "null, expected a value or no such member",
        )),
        Value::String(_) => Rule::Text(STRING).check(path, value),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| fact(format!("{path}[{index}]"), item))
        }
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| fact(format!("{path}.{name}"), value)),
        Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn annotations(annotations: &Object<'_>) -> Result<(), Refusal> {
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    for (key, value) in annotations.members {
        if !(1..=ANNOTATION_KEY).contains(&key.len()) || !key.bytes().all(is_key) {
            let reason = "not a key of 1 to 500 ASCII letters, digits and underscores";
            return Err(annotations.refuse(key, reason));
        }
        match value {
            Value::String(_) => Rule::Text(ANNOTATION).check(annotations.path(key), value)?,
            Value::Number(_) | Value::Bool(_) => {}
            other => {
                let reason = expected("a string, a number, true or false", other);
                return Err(annotations.refuse(key, reason));
            }
        }
    }
    Ok(())
}

fn metadata(metadata: &Object<'_>) -> Result<(), Refusal> {
    for (namespace, value) in metadata.members {
        Object::at(metadata.path(namespace), value)?;
        // Developer guide, "Segment documents".
        if namespace.starts_with("AWS.") {
            let reason = "namespaces that begin with \"AWS.\" are reserved";
            return Err(metadata.refuse(namespace, reason));
        }
    }
    Ok(())
}
