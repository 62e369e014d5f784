//! Documents as JSON, written by hand: a subsegment is written twice on the handler's path, once
//! when it begins and once when it ends, and this takes less than half the instructions that
//! derived serialisers take.

use std::borrow::Cow;

use serde_json::Value;

use super::fields::{Fields, Key};

/// Something that can be a value in a document.
pub(super) trait Json {
    /// Appends it as compact JSON.
    fn write(&self, out: &mut Vec<u8>);
}

/// A JSON object that is being written.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            separator: b'{',
        }
    }

    /// A member whose `key` needs no escapes.
    pub(super) fn member(&mut self, key: &str, value: &impl Json) -> &mut Self {
        self.out.extend_from_slice(&[self.separator, b'"']);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.separator = b',';
        value.write(self.out);
        self
    }

    /// A member that is left out when there is none.
    pub(super) fn optional(&mut self, key: &str, value: &Option<impl Json>) -> &mut Self {
        match value {
            Some(value) => self.member(key, value),
            None => self,
        }
    }

    /// A member that is left out when it is false.
    pub(super) fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        if value { self.member(key, &true) } else { self }
    }

    /// A member that is left out when it is empty.
    pub(super) fn list<T: Json>(&mut self, key: &str, values: &Vec<T>) -> &mut Self {
        if values.is_empty() {
            self
        } else {
            self.member(key, values)
        }
    }

    /// A map that is left out when it is empty.
    pub(super) fn fields<K: Key, V: Json>(&mut self, key: &str, fields: &Fields<K, V>) -> &mut Self
    where
        K: PartialEq,
    {
        if fields.is_empty() {
            self
        } else {
            self.member(key, fields)
        }
    }

    pub(super) fn end(&mut self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

impl Json for str {
    fn write(&self, out: &mut Vec<u8>) {
        let escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        if self.bytes().any(escaped) {
            // Into memory, and a string: nothing can fail.
            let _ = serde_json::to_writer(out, self);
        } else {
            out.push(b'"');
            out.extend_from_slice(self.as_bytes());
            out.push(b'"');
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

through_serde!(Value, u16, u32, u64, usize, i64, f64);
