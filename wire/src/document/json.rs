//! Documents as JSON, written by hand: a subsegment is written twice on the handler's path, once
//! when it begins and once when it ends, and this takes less than half the instructions that
//! derived serialisers take.

use std::borrow::Cow;

use serde_json::Value;

/// Something that can be a value in a document.
pub(super) trait Json {
    /// Appends it as compact JSON.
    fn write(&self, out: &mut Vec<u8>);

    /// True when an object does without it: it is none, false, or has nothing in it.
    fn is_absent(&self) -> bool {
        false
    }
}

/// A JSON object that is being written.
///
/// Each member comes with the comma before it; the first one's is made the brace at the end.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

/// A member's name as it stands between two members: written in one piece.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use key;

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    /// A member under a `key` made by [`key!`]; left out when it is absent.
    pub(super) fn member(&mut self, key: &'static str, value: &impl Json) -> &mut Self {
        if !value.is_absent() {
            self.out.extend_from_slice(key.as_bytes());
            value.write(self.out);
        }
        self
    }

    /// A member whose value is always the same, written out with the comma before it; left out
    /// unless it is `present`.
    pub(super) fn constant(&mut self, present: bool, member: &'static str) -> &mut Self {
        if present {
            self.out.extend_from_slice(member.as_bytes());
        }
        self
    }

    pub(super) fn end(&mut self) {
        match self.out.get_mut(self.start) {
            Some(first) => *first = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
    }
}

/// Whether a byte of `text` stands escaped in a string: quote, backslash, control characters
/// (RFC 8259, section 7). Eight bytes are looked at together: every text of a document comes
/// through here, most of them twice.
fn has_escaped(text: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = EACH * 0x80;
    // A byte of `word` below `limit`, in its high bit; may also mark bytes above a marked one.
    let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word & HIGH;
    let is_escaped = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        let quote = word ^ (EACH * u64::from(b'"'));
        let backslash = word ^ (EACH * u64::from(b'\\'));
        below(word, 0x20) | below(quote, 1) | below(backslash, 1) != 0
    };
    match text.last_chunk() {
        Some(last) => is_escaped(last) || text.as_chunks().0.iter().any(is_escaped),
        None => text
            .iter()
            .any(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')),
    }
}

/// Appends a string that needs no escapes.
pub(super) fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

impl Json for str {
    fn write(&self, out: &mut Vec<u8>) {
        if has_escaped(self.as_bytes()) {
            // Into memory, and a string: nothing can fail.
            let _ = serde_json::to_writer(out, self);
        } else {
            write_plain(out, self.as_bytes());
        }
    }
}

impl Json for &str {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

impl Json for Cow<'static, str> {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

impl Json for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }

    fn is_absent(&self) -> bool {
        !self
    }
}

impl<T: Json> Json for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Json> Json for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut separator = b'[';
        for value in self {
            out.push(separator);
            separator = b',';
            value.write(out);
        }
        if separator == b'[' {
            out.push(b'[');
        }
        out.push(b']');
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Json> Json for Box<T> {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

macro_rules! through_serde {
    ($($value:ty),*) => {$(
        impl Json for $value {
            fn write(&self, out: &mut Vec<u8>) {
                // Into memory, with keys that are strings: nothing can fail.
                let _ = serde_json::to_writer(out, self);
            }
        }
    )*};
}

through_serde!(u16, u32, u64, usize, i64, f64);

impl Json for Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::String(text) => text.as_str().write(out),
            other => {
                let _ = serde_json::to_writer(out, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_that_needs_an_escape_is_seen_at_each_place() {
        for length in 1..20 {
            for place in 0..length {
                for byte in u8::MIN..=u8::MAX {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    let expected = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(
                        has_escaped(&text),
                        expected,
                        "{byte:#x} at {place} of {length}"
                    );
                }
            }
        }
        assert!(!has_escaped(b""));
        assert!(!has_escaped("Ω≈ç√∫ žluťoučký 漢字 \u{7f}".as_bytes()));
    }
}
