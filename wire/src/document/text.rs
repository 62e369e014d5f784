//! Strings within the limits of X-Ray.

mod marks;

use std::borrow::Cow;
use std::fmt;

use super::{
    json::{Json, write_plain},
    url::{clean_url, cleaned},
};

/// Most characters of a name.
const NAME_LENGTH: usize = 200;

/// Most characters of any other string, if its own limit is not documented.
pub(super) const TEXT_LENGTH: usize = 250;

/// Name of a segment or subsegment: 1 to 200 letters, numbers, spaces and `_.:/%&#=+-@`.
///
/// Other characters are removed, a longer name is cut, and an empty one becomes `unnamed`. X-Ray
/// rejects the whole document for a single other character.
///
/// ```
/// use tracestitch_wire::document::Name;
///
/// assert_eq!(Name::from("GET /orders?id=1").as_str(), "GET /ordersid=1");
/// assert_eq!(Name::from("\n").as_str(), "unnamed");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Name(Cow<'static, str>);

impl Name {
    /// The cleaned name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn allowed_in_name(character: char) -> bool {
    if character.is_ascii() {
        plain_in_name(character as u8)
    } else {
        character.is_alphanumeric() && !marks::is_mark(character) || is_space(character)
    }
}

/// Returns true for the ASCII characters of a name.
fn plain_in_name(byte: u8) -> bool {
    const PLAIN: [bool; 256] = table(b" _.:/%&#=+-@");
    PLAIN[usize::from(byte)]
}

/// Table of the bytes that are ASCII letters, digits or among `others`. One lookup for each byte of
/// a text takes less than several comparisons.
pub(super) const fn table(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
}

/// Returns true for space separators (Unicode category Zs): white space other than control
/// characters and separators of lines and paragraphs.
fn is_space(character: char) -> bool {
    character.is_whitespace()
        && !character.is_control()
        && !matches!(character, '\u{2028}' | '\u{2029}')
}

impl From<Cow<'static, str>> for Name {
    fn from(name: Cow<'static, str>) -> Self {
        /// Without the colon, which a URL has.
        const COMMON: [bool; 256] = table(b" _./%&#=+-@");
        let is_plain = name.bytes().all(|byte| COMMON[usize::from(byte)]);
        if is_plain && name.len() <= NAME_LENGTH && name.as_bytes().first() > Some(&b' ') {
            return Self(name);
        }
        let name = cleaned(name);
        let name = if name.bytes().all(plain_in_name) || name.chars().all(allowed_in_name) {
            name
        } else {
            name.chars()
                .filter(|c| allowed_in_name(*c))
                .collect::<String>()
                .into()
        };
        let name = cut(name, NAME_LENGTH);
        Self(if name.chars().all(char::is_whitespace) {
            Cow::Borrowed("unnamed")
        } else {
            name
        })
    }
}

/// Any other string of a document: at most 250 characters. A longer one is cut.
///
/// ```
/// use tracestitch_wire::document::Text;
///
/// assert_eq!(Text::from("é".repeat(300)).as_str().chars().count(), 250);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(Cow<'static, str>);

impl Text {
    /// The cut text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        Self(cut(cleaned(text), TEXT_LENGTH))
    }
}

/// A URL of at most 250 characters, without credentials, query, fragment and parameters (see
/// [`clean_url`]).
///
/// ```
/// use tracestitch_wire::document::Url;
///
/// assert_eq!(Url::from("https://me:secret@h.example/@x?y").as_str(), "https://h.example/@x");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Cow<'static, str>);

impl Url {
    /// The cleaned URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Cow<'static, str>> for Url {
    fn from(url: Cow<'static, str>) -> Self {
        let cleaned = match clean_url(&url) {
            Cow::Owned(cleaned) => cleaned.into(),
            // A part of it, or all.
            Cow::Borrowed(part) if part.len() < url.len() => part.to_owned().into(),
            Cow::Borrowed(_) => url,
        };
        Self(cut(cleaned, TEXT_LENGTH))
    }
}

/// The first `length` characters of `text`.
#[inline]
pub(super) fn start(text: &str, length: usize) -> &str {
    // A character takes at least one byte: a short text need not be counted.
    if text.len() <= length {
        return text;
    }
    let end = text.char_indices().nth(length);
    end.map_or(text, |(end, _)| &text[..end])
}

/// Shortens `text` to its first `length` characters.
#[inline]
pub(super) fn cut(text: Cow<'static, str>, length: usize) -> Cow<'static, str> {
    match text {
        Cow::Borrowed(text) => start(text, length).into(),
        Cow::Owned(mut text) => {
            text.truncate(start(&text, length).len());
            text.into()
        }
    }
}

macro_rules! from_strings {
    ($text:ty) => {
        impl From<&'static str> for $text {
            fn from(text: &'static str) -> Self {
                Cow::Borrowed(text).into()
            }
        }

        impl From<String> for $text {
            fn from(text: String) -> Self {
                Cow::<str>::Owned(text).into()
            }
        }

        impl fmt::Debug for $text {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
pub(super) use from_strings;

from_strings!(Name);
from_strings!(Text);
from_strings!(Url);

/// Without escapes: no character of a name needs one.
impl Json for Name {
    fn write(&self, out: &mut Vec<u8>) {
        write_plain(out, self.0.as_bytes());
    }
}

impl Json for Url {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl Json for Text {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::{Class, ClassUnicode, HirKind};

    use super::*;

    fn class(pattern: &str) -> ClassUnicode {
        match regex_syntax::parse(pattern).unwrap().into_kind() {
            HirKind::Class(Class::Unicode(class)) => class,
            other => panic!("expected a class, found {other:?}"),
        }
    }

    fn contains(class: &ClassUnicode, character: char) -> bool {
        let after = class
            .ranges()
            .partition_point(|range| range.start() <= character);
        after > 0 && character <= class.ranges()[after - 1].end()
    }

    /// The pattern is the one of `name` in the JSON schema that X-Ray publishes.
    #[test]
    fn name_keeps_the_characters_that_the_schema_allows() {
        let schema = class(r"[\p{L}\p{N}\p{Z}_.:/%&#=+\-@]");
        let assigned = class(r"\P{Cn}");
        for character in char::MIN..=char::MAX {
            let kept = allowed_in_name(character);
            let separator = matches!(character, '\u{2028}' | '\u{2029}');
            // The standard library may have newer tables than the test.
            let expected = contains(&schema, character) && !separator
                || kept && !contains(&assigned, character);
            assert_eq!(kept, expected, "{character:?}");
        }
    }

    #[test]
    fn marks_are_left_out_of_a_name() {
        for (name, expected, reason) in [
            ("नमस्ते", "नमसत", "vowel signs"),
            ("e\u{301}", "e", "a combining accent"),
            ("Ⓐ🄰1", "1", "letters in circles and squares"),
            ("\u{301}", "unnamed", "nothing else"),
        ] {
            assert_eq!(Name::from(name).as_str(), expected, "{reason}");
        }
    }
}
