//! Annotations, which X-Ray indexes.

use std::borrow::Cow;
use std::fmt;

use super::{
    json::{Json, write_plain},
    text::{cut, from_strings, table},
    url::cleaned,
};

/// Most characters of an annotation key.
const KEY_LENGTH: usize = 500;

/// Most characters of an annotation that is a string.
const VALUE_LENGTH: usize = 1000;

/// Key of an annotation: 1 to 500 ASCII letters, digits and underscores.
///
/// Any other character becomes an underscore.
///
/// ```
/// use tracestitch_wire::document::AnnotationKey;
///
/// assert_eq!(AnnotationKey::from("order-id").as_str(), "order_id");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AnnotationKey(Cow<'static, str>);

impl AnnotationKey {
    /// The cleaned key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Cow<'static, str>> for AnnotationKey {
    fn from(key: Cow<'static, str>) -> Self {
        const PLAIN: [bool; 256] = table(b"_");
        // Most keys are valid, and contain no URL then.
        if !key.is_empty() && key.bytes().all(|byte| PLAIN[usize::from(byte)]) {
            return Self(cut(key, KEY_LENGTH));
        }
        let key = cleaned(key);
        let key = if key.is_empty() {
            Cow::Borrowed("_")
        } else {
            key.chars()
                .map(|c| match c {
                    'a'..='z' | 'A'..='Z' | '0'..='9' => c,
                    _ => '_',
                })
                .collect::<String>()
                .into()
        };
        Self(cut(key, KEY_LENGTH))
    }
}

from_strings!(AnnotationKey);

/// Without escapes: no character of a key needs one.
impl Json for AnnotationKey {
    fn write(&self, out: &mut Vec<u8>) {
        write_plain(out, self.0.as_bytes());
    }
}

/// Value of an annotation: a string of at most 1000 characters, a number or a boolean.
///
/// NaN and infinite numbers, which JSON does not have, become strings.
///
/// ```
/// use tracestitch_wire::document::AnnotationValue;
///
/// assert_eq!(AnnotationValue::from(3), AnnotationValue::Integer(3));
/// assert_eq!(AnnotationValue::from(f64::NAN), AnnotationValue::from("NaN"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AnnotationValue {
    /// A string.
    Text(AnnotationText),
    /// A whole number.
    Integer(i64),
    /// A whole number above `i64::MAX`.
    Unsigned(u64),
    /// A finite number.
    Number(f64),
    /// True or false.
    Boolean(bool),
}

impl Json for AnnotationValue {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => text.write(out),
            Self::Integer(number) => number.write(out),
            Self::Unsigned(number) => number.write(out),
            Self::Number(number) => number.write(out),
            Self::Boolean(value) => value.write(out),
        }
    }
}

/// A string of at most 1000 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct AnnotationText(Cow<'static, str>);

impl AnnotationText {
    /// The cut text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Cow<'static, str>> for AnnotationText {
    fn from(text: Cow<'static, str>) -> Self {
        Self(cut(cleaned(text), VALUE_LENGTH))
    }
}

from_strings!(AnnotationText);

impl Json for AnnotationText {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl From<&'static str> for AnnotationValue {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for AnnotationValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Cow<'static, str>> for AnnotationValue {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Text(text.into())
    }
}

impl From<f64> for AnnotationValue {
    fn from(number: f64) -> Self {
        if number.is_finite() {
            Self::Number(number)
        } else {
            number.to_string().into()
        }
    }
}

impl From<f32> for AnnotationValue {
    fn from(number: f32) -> Self {
        f64::from(number).into()
    }
}

impl From<bool> for AnnotationValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {$(
        impl From<$integer> for AnnotationValue {
            fn from(number: $integer) -> Self {
                match i64::try_from(number) {
                    Ok(number) => Self::Integer(number),
                    Err(_) => Self::Unsigned(number as u64),
                }
            }
        }
    )*};
}

from_integers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);
