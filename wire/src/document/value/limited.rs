//! A serialiser into a [`Value`] that counts levels, which the one of `serde_json` does not.

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::value::Serializer as Json;
use serde_json::{Error, Map, Value};

/// Levels of arrays and objects inside each other. A document is parsed again to split or close it,
/// and `serde_json` parses at most 128 levels.
pub(super) const LEVELS: usize = 64;

/// Replacement of a value below the last level.
pub(super) const TOO_DEEP: &str = "nested too deeply";

/// Most nested calls while a value is serialised. Wrappers such as `Some` and newtypes add no level
/// to the JSON, but use the stack.
const CALLS: usize = 256;

/// Prefix of the struct names with which `serde_json` marks JSON text: numbers with its feature
/// `arbitrary_precision`, values with `raw_value`.
const JSON_TEXT: &str = "$serde_json::private::";

/// A serialiser with the levels and calls that are left.
#[derive(Clone, Copy)]
pub(super) struct Limited {
    levels: usize,
    calls: usize,
}

impl Limited {
    pub(super) fn new(levels: usize) -> Self {
        Self {
            levels,
            calls: CALLS,
        }
    }

    fn value<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        match self.calls.checked_sub(1) {
            Some(calls) => value.serialize(Self { calls, ..self }),
            None => Ok(TOO_DEEP.into()),
        }
    }

    /// The serialiser for the contents of an array or object; `None` at the last level.
    fn inner(self) -> Option<Self> {
        let levels = self.levels.checked_sub(1)?;
        Some(Self { levels, ..self })
    }

    /// The serialiser for a key. It has one level, so that an array or object is not taken for the
    /// text that replaces it below the last level.
    fn key(self) -> Self {
        Self {
            levels: self.levels.min(1),
            ..self
        }
    }

    fn list(self, length: usize) -> List {
        List {
            inner: self.inner(),
            // The length is a hint and may be wrong.
            values: Vec::with_capacity(length.min(512)),
            variant: None,
        }
    }

    fn object(self) -> Object {
        Object {
            inner: self.inner(),
            entries: Map::new(),
            key: String::new(),
            variant: None,
            is_json_text: false,
        }
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        fn $method(self, value: $type) -> Result<Value, Error> {
            Json.$method(value)
        }
    )*};
}

impl Serializer for Limited {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Object;
    type SerializeStruct = Object;
    type SerializeStructVariant = Object;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        self.value(value)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, Error> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        self.value(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        match self.inner() {
            Some(inner) => Ok(named(Some(variant), inner.value(value)?)),
            None => Ok(TOO_DEEP.into()),
        }
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, Error> {
        Ok(self.list(length.unwrap_or(0)))
    }

    fn serialize_tuple(self, length: usize) -> Result<List, Error> {
        Ok(self.list(length))
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<List, Error> {
        Ok(self.list(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<List, Error> {
        let list = self.list(length);
        Ok(List {
            // An array in an object.
            inner: list.inner.and_then(Self::inner),
            variant: Some(variant),
            ..list
        })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Object, Error> {
        Ok(self.object())
    }

    fn serialize_struct(self, name: &'static str, _length: usize) -> Result<Object, Error> {
        Ok(Object {
            is_json_text: name.starts_with(JSON_TEXT),
            ..self.object()
        })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Object, Error> {
        let object = self.object();
        Ok(Object {
            // An object in an object.
            inner: object.inner.and_then(Self::inner),
            variant: Some(variant),
            ..object
        })
    }
}

/// Puts `value` into an object under the name of its variant, if it has one.
fn named(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Map::from_iter([(variant.to_owned(), value)]).into(),
        None => value,
    }
}

/// An array that is being serialised. Below the last level its elements are ignored.
pub(super) struct List {
    inner: Option<Limited>,
    values: Vec<Value>,
    variant: Option<&'static str>,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if let Some(inner) = self.inner {
            self.values.push(inner.value(value)?);
        }
        Ok(())
    }

    fn finish(self) -> Result<Value, Error> {
        Ok(match self.inner {
            Some(_) => named(self.variant, self.values.into()),
            None => TOO_DEEP.into(),
        })
    }
}

/// An object that is being serialised. Below the last level its members are ignored.
pub(super) struct Object {
    inner: Option<Limited>,
    entries: Map<String, Value>,
    key: String,
    variant: Option<&'static str>,
    is_json_text: bool,
}

impl Object {
    fn insert<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), Error> {
        if let Some(inner) = self.inner {
            self.entries.insert(key, inner.value(value)?);
        }
        Ok(())
    }

    fn finish(self) -> Result<Value, Error> {
        if self.is_json_text {
            let text = self.entries.values().next().and_then(Value::as_str);
            return serde_json::from_str(text.unwrap_or_default());
        }
        Ok(match self.inner {
            Some(_) => named(self.variant, self.entries.into()),
            None => TOO_DEEP.into(),
        })
    }
}

macro_rules! list {
    ($($role:ident::$method:ident),*) => {$(
        impl $role for List {
            type Ok = Value;
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.push(value)
            }

            fn end(self) -> Result<Value, Error> {
                self.finish()
            }
        }
    )*};
}

list! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
}

macro_rules! object {
    ($($role:ident),*) => {$(
        impl $role for Object {
            type Ok = Value;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.insert(key.to_owned(), value)
            }

            fn end(self) -> Result<Value, Error> {
                self.finish()
            }
        }
    )*};
}

object!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Object {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        if let Some(inner) = self.inner {
            self.key = match inner.key().value(key)? {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => return Err(Error::custom("key must be a string")),
            };
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = std::mem::take(&mut self.key);
        self.insert(key, value)
    }

    fn end(self) -> Result<Value, Error> {
        self.finish()
    }
}
