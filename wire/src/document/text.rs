//! Strings as X-Ray accepts them.

use std::borrow::Cow;
use std::fmt;

use super::json::{Json, write_plain};

/// Characters that X-Ray keeps of a name.
const NAME_LENGTH: usize = 200;

/// Characters that X-Ray keeps of any other string, unless it says otherwise.
const TEXT_LENGTH: usize = 250;

/// Name of a segment or subsegment: 1 to 200 letters, digits, spaces and `_.:/%&#=+-@`.
///
/// Other characters are left out, longer names are cut, an empty one becomes `unnamed`.
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
    /// The name as it goes out.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn allowed_in_name(character: char) -> bool {
    if character.is_ascii() {
        plain_in_name(character as u8)
    } else {
        character.is_alphanumeric() || is_space(character)
    }
}

/// ASCII characters of a name.
fn plain_in_name(byte: u8) -> bool {
    const PLAIN: [bool; 256] = table(b" _.:/%&#=+-@");
    PLAIN[usize::from(byte)]
}

/// Which bytes are ASCII letters, digits, or among `others`: one look for each byte of a text,
/// where comparisons would take several.
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

/// Space separators (Unicode category Zs): `char::is_whitespace` without line and control ones.
fn is_space(character: char) -> bool {
    character.is_whitespace()
        && !character.is_control()
        && !matches!(character, '\u{2028}' | '\u{2029}')
}

impl From<Cow<'static, str>> for Name {
    fn from(name: Cow<'static, str>) -> Self {
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

/// Any other string of a document: at most 250 characters, longer ones are cut.
///
/// ```
/// use tracestitch_wire::document::Text;
///
/// assert_eq!(Text::from("é".repeat(300)).as_str().chars().count(), 250);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Text(Cow<'static, str>);

impl Text {
    /// The text as it goes out.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Cow<'static, str>> for Text {
    fn from(text: Cow<'static, str>) -> Self {
        Self(cut(text, TEXT_LENGTH))
    }
}

/// What X-Ray keeps of `text`.
pub(super) fn start(text: &str) -> &str {
    // A character takes at least one byte, so short texts need not be walked through.
    if text.len() <= TEXT_LENGTH {
        return text;
    }
    let end = text.char_indices().nth(TEXT_LENGTH);
    end.map_or(text, |(end, _)| &text[..end])
}

/// `text` without what stands after its first `length` characters.
pub(super) fn cut(text: Cow<'static, str>, length: usize) -> Cow<'static, str> {
    // A character takes at least one byte, so short texts need not be walked through.
    if text.len() <= length {
        return text;
    }
    match (text.char_indices().nth(length), text) {
        (None, text) => text,
        (Some((end, _)), Cow::Borrowed(text)) => Cow::Borrowed(&text[..end]),
        (Some((end, _)), Cow::Owned(mut text)) => {
            text.truncate(end);
            Cow::Owned(text)
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

/// No character of a name needs an escape.
impl Json for Name {
    fn write(&self, out: &mut Vec<u8>) {
        write_plain(out, self.0.as_bytes());
    }
}

impl Json for Text {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}
