//! JSON values of any shape within the limits of a document.

mod limited;

use serde::Serialize;
use serde_json::{Error, Value};

use self::limited::{LEVELS, Limited, TOO_DEEP};
use super::{text::cut, url::cleaned};

/// Serialises `value`, like [`serde_json::to_value`], but stops at a depth.
///
/// Arrays and objects below the 64th level become the text `nested too deeply`. So do values that
/// are nested without end, which would overflow the stack: a tree of reference-counted nodes with a
/// cycle, for example.
///
/// # Errors
///
/// Returns an error under the same conditions as [`serde_json::to_value`]: an implementation of
/// [`Serialize`] fails, or a key of a map is not a string, number or boolean.
///
/// ```
/// use tracestitch_wire::document::to_value;
///
/// assert_eq!(to_value(&[Some(1), None])?, serde_json::json!([1, null]));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, Error> {
    value.serialize(Limited::new(LEVELS))
}

/// Brings `value` within the limits of a document: levels below the 64th become `nested too
/// deeply`, URLs in texts and keys lose what may be secret, and both are cut at `longest`
/// characters.
pub(super) fn limit(value: &mut Value, longest: usize) {
    limit_levels(value, longest, LEVELS);
}

fn limit_levels(value: &mut Value, longest: usize, levels: usize) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => limit_text(text, longest),
        Value::Array(_) | Value::Object(_) if levels == 0 => *value = TOO_DEEP.into(),
        Value::Array(values) => {
            for value in values {
                limit_levels(value, longest, levels - 1);
            }
        }
        Value::Object(entries) => {
            for value in entries.values_mut() {
                limit_levels(value, longest, levels - 1);
            }
            // The keys of a map cannot be changed in place.
            if entries.keys().any(|key| needs_limit(key, longest)) {
                let limited = std::mem::take(entries).into_iter().map(|(mut key, value)| {
                    limit_text(&mut key, longest);
                    (key, value)
                });
                *entries = limited.collect();
            }
        }
    }
}

fn needs_limit(text: &str, longest: usize) -> bool {
    text.len() > longest || text.contains(':')
}

fn limit_text(text: &mut String, longest: usize) {
    if needs_limit(text, longest) {
        *text = cut(cleaned(std::mem::take(text).into()), longest).into_owned();
    }
}

#[cfg(test)]
mod tests;
