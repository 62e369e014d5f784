//! Documents as JSON, written by hand: a subsegment is written twice on the handler's path, once
//! when it begins and once when it ends, and this takes less than half the instructions that
//! derived serialisers take.

use std::borrow::Cow;

use serde_json::Value;

use super::fields::Fields;

/// Something that can be a value in a document.
pub(super) trait Json {
    /// Appends it as compact JSON.
    fn write(&self, out: &mut Vec<u8>);
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

    /// A member under a `key` made by [`key!`].
    pub(super) fn member(&mut self, key: &'static str, value: &impl Json) -> &mut Self {
        self.out.extend_from_slice(key.as_bytes());
        value.write(self.out);
        self
    }

    /// A member that is left out when there is none.
    pub(super) fn optional(&mut self, key: &'static str, value: &Option<impl Json>) -> &mut Self {
        match value {
            Some(value) => self.member(key, value),
            None => self,
        }
    }

    /// A member whose value is always the same, written out with the comma before it; left out
    /// unless it is `present`.
    pub(super) fn constant(&mut self, present: bool, member: &'static str) -> &mut Self {
        if present {
            self.out.extend_from_slice(member.as_bytes());
        }
        self
    }

    /// A member that is left out when it is false.
    pub(super) fn flag(&mut self, key: &'static str, value: bool) -> &mut Self {
        if value { self.member(key, &true) } else { self }
    }

    /// A member that is left out when it is empty.
    pub(super) fn list<T: Json>(&mut self, key: &'static str, values: &Vec<T>) -> &mut Self {
        if values.is_empty() {
            self
        } else {
            self.member(key, values)
        }
    }

    /// A map that is left out when it is empty.
    pub(super) fn fields<K, V>(&mut self, key: &'static str, fields: &Fields<K, V>) -> &mut Self
    where
        K: Json + PartialEq,
        V: Json,
    {
        if fields.is_empty() {
            self
        } else {
            self.member(key, fields)
        }
    }

    pub(super) fn end(&mut self) {
        match self.out.get_mut(self.start) {
            Some(first) => *first = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
    }
}

/// Bytes that stand escaped in a string (RFC 8259, section 7). The strings of a document are
/// short, and looking each byte up takes less than comparing it three times.
const ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = true;
        control += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// Appends a string that needs no escapes.
pub(super) fn write_plain(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

impl Json for str {
    fn write(&self, out: &mut Vec<u8>) {
        if self.bytes().any(|byte| ESCAPED[usize::from(byte)]) {
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
