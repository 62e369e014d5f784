//! A serialiser for documents. Each subsegment is written twice while the handler runs, at its
//! begin and its end; this takes less than half the instructions of derived serialisers.

use std::borrow::Cow;

use serde_json::Value;

/// A value in a document.
pub(super) trait Json {
    /// Appends the value to `out`, as compact JSON.
    fn write(&self, out: &mut Vec<u8>);

    /// Returns true if an object omits the value: none, false or empty.
    fn is_absent(&self) -> bool {
        false
    }
}

/// A JSON object that is being written. Each member is written after a comma; at the end, the first
/// comma becomes the opening brace.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

/// The name of a member with the comma before and the colon after it, as one constant.
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

    /// Writes a member unless its value is absent. `key` comes from [`key!`].
    // Inlined, the name has a known length, and is copied without a call.
    #[inline(always)]
    pub(super) fn member(&mut self, key: &'static str, value: &impl Json) -> &mut Self {
        if !value.is_absent() {
            self.out.extend_from_slice(key.as_bytes());
            value.write(self.out);
        }
        self
    }

    /// Writes a constant member if it is `present`. `member` begins with a comma.
    #[inline(always)]
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

/// Returns true if `text` contains a character that JSON escapes: quote, backslash, control
/// character (RFC 8259, section 7). Checks eight bytes at once, because every text of a document
/// passes through here, most of them twice.
fn has_escaped(text: &[u8]) -> bool {
    const EACH: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = EACH * 0x80;
    // Sets the high bit of each byte below `limit`, and perhaps of bytes above one.
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

/// Appends `text` as a string, without escapes.
#[inline]
pub(super) fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

impl Json for str {
    fn write(&self, out: &mut Vec<u8>) {
        if has_escaped(self.as_bytes()) {
            // A string written to memory cannot fail.
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
    #[inline]
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
                // A number written to memory cannot fail.
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
    fn each_byte_to_escape_is_found_at_each_position() {
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
