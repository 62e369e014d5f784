//! Conversion of members into recorded facts, by type.

use serde_json::Value;
use tracestitch_wire::document::Fact;

/// Longest list that is recorded in full. DynamoDB accepts at most 100 tables in one call.
const MOST: usize = 100;

/// A member that can be recorded.
pub(super) trait Member {
    fn recorded(&self) -> Option<Fact<'_>>;
}

impl<T: Member> Member for Option<T> {
    fn recorded(&self) -> Option<Fact<'_>> {
        self.as_ref().and_then(Member::recorded)
    }
}

impl Member for str {
    fn recorded(&self) -> Option<Fact<'_>> {
        Some(Fact::Text(self))
    }
}

impl Member for String {
    fn recorded(&self) -> Option<Fact<'_>> {
        self.as_str().recorded()
    }
}

impl<T: Member> Member for Vec<T> {
    fn recorded(&self) -> Option<Fact<'_>> {
        list(self, Member::recorded)
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Member for $type {
            fn recorded(&self) -> Option<Fact<'_>> {
                Some(Fact::from(*self))
            }
        }
    )*};
}
plain!(bool, i32, i64, f64);

/// Implements [`Member`] for enumerations, which are recorded by name.
macro_rules! enumerations {
    ($($type:ty),* $(,)?) => {$(
        impl Member for $type {
            fn recorded(&self) -> Option<Fact<'_>> {
                self.as_str().recorded()
            }
        }
    )*};
}
pub(super) use enumerations;

/// Converts each item with `record` and collects the results into a list.
pub(super) fn list<'a, T>(
    items: impl IntoIterator<Item = T>,
    record: impl FnMut(T) -> Option<Fact<'a>>,
) -> Option<Fact<'static>> {
    let items = items.into_iter().take(MOST).filter_map(record);
    Some(Fact::Value(items.map(Value::from).collect()))
}

/// Returns the keys of a map, sorted, because maps of the SDK are unordered.
pub(super) fn keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Fact<'static>> {
    let mut keys: Vec<&str> = keys.into_iter().collect();
    keys.sort_unstable();
    list(keys, Member::recorded)
}

/// Returns the length of a list, or `None` if it is absent.
pub(super) fn count<T>(list: Option<&[T]>) -> Option<Fact<'static>> {
    list.map(|list| list.len().into())
}

/// Returns an object of the fields that are present.
pub(super) fn object<const N: usize>(
    fields: [(&str, Option<Fact<'_>>); N],
) -> Option<Fact<'static>> {
    let fields = fields
        .into_iter()
        .filter_map(|(key, fact)| Some((key.to_owned(), Value::from(fact?))));
    Some(Fact::Value(Value::Object(fields.collect())))
}

/// Defines a function that returns true for inputs whose names are read here.
macro_rules! names_of {
    ($($type:ty),* $(,)?) => {
        pub(super) fn has_names(input: &Input) -> bool {
            $(input.downcast_ref::<$type>().is_some())||*
        }
    };
}
pub(super) use names_of;

/// Defines a function that finds the type of an erased input or output and reads a member of it.
macro_rules! members {
    (fn $name:ident($erased:ty); $($type:ty as $bind:ident { $($member:literal => $value:expr,)* })*) => {
        pub(super) fn $name<'a>(erased: &'a $erased, member: &str) -> Option<Fact<'a>> {
            $(
                if let Some($bind) = erased.downcast_ref::<$type>() {
                    return match member {
                        $($member => $value,)*
                        _ => None,
                    };
                }
            )*
            None
        }
    };
}
pub(super) use members;
