//! What is recorded of a member, by its type.

use serde_json::Value;
use tracestitch_wire::document::Text;

/// Longest list that is recorded in full: DynamoDB takes no more tables in one call, and SQS no
/// more entries.
const MOST: usize = 100;

/// A member that is recorded as it is.
pub(super) trait Member {
    fn recorded(&self) -> Option<Value>;
}

impl<T: Member> Member for Option<T> {
    fn recorded(&self) -> Option<Value> {
        self.as_ref().and_then(Member::recorded)
    }
}

impl Member for str {
    fn recorded(&self) -> Option<Value> {
        Some(Text::from(self.to_owned()).into())
    }
}

impl Member for String {
    fn recorded(&self) -> Option<Value> {
        self.as_str().recorded()
    }
}

impl<T: Member> Member for Vec<T> {
    fn recorded(&self) -> Option<Value> {
        list(self, Member::recorded)
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Member for $type {
            fn recorded(&self) -> Option<Value> {
                Some(Value::from(*self))
            }
        }
    )*};
}
plain!(bool, i32, i64, f64);

/// Enumerations of the services, by their names.
macro_rules! enumerations {
    ($($type:ty),* $(,)?) => {$(
        impl Member for $type {
            fn recorded(&self) -> Option<Value> {
                self.as_str().recorded()
            }
        }
    )*};
}
pub(super) use enumerations;

/// A list of what `record` makes of each item.
pub(super) fn list<T>(
    items: impl IntoIterator<Item = T>,
    record: impl FnMut(T) -> Option<Value>,
) -> Option<Value> {
    let items: Vec<Value> = items.into_iter().take(MOST).filter_map(record).collect();
    Some(items.into())
}

/// The keys of a map, sorted: a map of the SDK has no order of its own.
pub(super) fn keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<Value> {
    let mut keys: Vec<&str> = keys.into_iter().collect();
    keys.sort_unstable();
    list(keys, Member::recorded)
}

/// How long a list is; None when it is absent.
pub(super) fn count<T>(list: Option<&[T]>) -> Option<Value> {
    list.map(|list| list.len().into())
}

/// An object of those fields that are there.
pub(super) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Option<Value> {
    let fields = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Some(Value::Object(fields.collect()))
}

/// A function that says of which inputs the names, too, are read here.
macro_rules! names_of {
    ($($type:ty),* $(,)?) => {
        pub(super) fn has_names(input: &Input) -> bool {
            $(input.downcast_ref::<$type>().is_some())||*
        }
    };
}
pub(super) use names_of;

/// A function that finds the type of an erased input or output, and in it the member.
macro_rules! members {
    (fn $name:ident($erased:ty); $($type:ty as $bind:ident { $($member:literal => $value:expr,)* })*) => {
        pub(super) fn $name(erased: &$erased, member: &str) -> Option<Value> {
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
