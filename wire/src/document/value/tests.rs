use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::ser::{SerializeMap, SerializeSeq, SerializeStructVariant, Serializer};
use serde_json::json;

use super::*;

#[derive(Serialize)]
struct Unit;

#[derive(Serialize)]
struct Pair(u8, &'static str);

#[derive(Serialize)]
struct Wrapper(Option<i64>);

#[derive(Serialize)]
struct Record {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<u8>,
    rate: f32,
    letter: char,
}

#[derive(Serialize)]
enum Event {
    Unit,
    One(Wrapper),
    Two(Pair, bool),
    Fields { a: Record, b: Option<Unit> },
}

#[test]
fn values_equal_the_result_of_serde_json() {
    let record = || Record {
        id: u64::MAX,
        absent: None,
        rate: 1.5,
        letter: 'é',
    };
    let fields = Event::Fields {
        a: record(),
        b: Some(Unit),
    };
    let value = (
        (Unit, Pair(1, "x"), Wrapper(Some(-1)), Wrapper(None)),
        (
            record(),
            f64::NAN,
            i128::from(i64::MAX),
            u128::from(u64::MAX),
        ),
        [
            Event::Unit,
            Event::One(Wrapper(None)),
            Event::Two(Pair(2, "y"), true),
            fields,
        ],
        BTreeMap::from([(1, "number"), (2, "as key")]),
        BTreeMap::from([(true, 1)]),
        BTreeMap::from([('c', b"bytes")]),
        (),
    );
    assert_eq!(
        to_value(&value).unwrap(),
        serde_json::to_value(&value).unwrap()
    );
}

#[test]
fn errors_match_serde_json() {
    let key = BTreeMap::from([((1, 2), 3)]);
    assert!(to_value(&key).is_err() && serde_json::to_value(&key).is_err());
    assert!(to_value(&u128::MAX).is_err() && serde_json::to_value(u128::MAX).is_err());
}

/// Like `serde_json` with its features `arbitrary_precision` and `raw_value`.
#[test]
fn json_text_is_parsed() {
    struct Raw(&'static str);
    impl Serialize for Raw {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct;
            let mut raw = serializer.serialize_struct("$serde_json::private::RawValue", 1)?;
            raw.serialize_field("$serde_json::private::RawValue", self.0)?;
            raw.end()
        }
    }
    assert_eq!(
        to_value(&[Raw("{\"a\":[1]}")]).unwrap(),
        json!([{ "a": [1] }])
    );
    assert!(to_value(&Raw("{")).is_err());
}

/// A value that contains itself, in one of the ways that serde has.
#[derive(Clone, Copy, Debug)]
enum Endless {
    List,
    Tuple,
    Map,
    Key,
    Variant,
    Newtype,
    NewtypeVariant,
    Some,
}

thread_local! {
    static SERIALIZED: Cell<usize> = const { Cell::new(0) };
}

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        SERIALIZED.set(SERIALIZED.get() + 1);
        match self {
            Self::List => {
                let mut list = serializer.serialize_seq(Some(usize::MAX))?;
                list.serialize_element(self)?;
                list.end()
            }
            Self::Tuple => (1, self).serialize(serializer),
            Self::Map => serializer.collect_map([("k", self)]),
            Self::Key => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry(self, &1)?;
                map.end()
            }
            Self::Variant => {
                let mut variant = serializer.serialize_struct_variant("E", 0, "V", 1)?;
                variant.serialize_field("k", self)?;
                variant.end()
            }
            Self::Newtype => serializer.serialize_newtype_struct("N", self),
            Self::NewtypeVariant => serializer.serialize_newtype_variant("E", 0, "V", self),
            Self::Some => serializer.serialize_some(self),
        }
    }
}

#[test]
fn value_that_is_nested_without_end_is_cut() {
    for endless in [
        Endless::List,
        Endless::Tuple,
        Endless::Map,
        Endless::Variant,
        Endless::Newtype,
        Endless::NewtypeVariant,
        Endless::Some,
    ] {
        SERIALIZED.set(0);
        let json = to_value(&endless).unwrap().to_string();
        assert!(json.contains(TOO_DEEP), "{endless:?}: {json}");
        assert!(SERIALIZED.get() <= 300, "{endless:?}");
        let parsed: Result<Value, _> = serde_json::from_str(&json);
        assert!(parsed.is_ok(), "{endless:?} can be parsed again");
    }
}

#[test]
fn key_that_is_nested_without_end_is_an_error() {
    assert!(to_value(&Endless::Key).is_err());
}

#[test]
fn sixty_four_levels_are_kept_whole() {
    for (levels, whole) in [(1, true), (64, true), (65, false), (100, false)] {
        let nested = (0..levels).fold(Value::from("leaf"), |inner, _| json!([inner]));
        let serialized = to_value(&nested).unwrap();
        assert_eq!(serialized == nested, whole, "{levels}");
        let mut limited = nested.clone();
        limit(&mut limited, usize::MAX);
        assert_eq!(limited, serialized, "{levels}");
    }
}

#[test]
fn texts_and_keys_are_cleaned_and_cut() {
    let long = "é".repeat(300);
    let mut value = json!({ "https://h?s": ["https://u:s@h/x?s", 1, null, long], &long: true });
    limit(&mut value, 250);
    let cut = "é".repeat(250);
    assert_eq!(
        value,
        json!({ "https://h": ["https://h/x", 1, null, cut], &cut: true })
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(".{0,5}", inner, 0..5).prop_map(|entries| entries
                .into_iter()
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_unchanged(value in any_json()) {
        prop_assert_eq!(to_value(&value).unwrap(), value);
    }
}
