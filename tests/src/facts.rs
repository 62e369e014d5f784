//! Facts that a function puts on a subsegment: annotations, metadata, an error.
//!
//! Facts are the part of the document that they make up, as a JSON object:
//!
//! ```json
//! {"annotations": {"order": "o-1"}, "metadata": {"default": {"basket": [3, 4], "filler": null}}}
//! ```
//!
//! `null` stands for any value. An element of an array stands for any element of the document's
//! array, in whatever order.

use serde_json::{Map, Value};

/// Adds `more` to `facts`.
pub fn add(facts: &mut Value, more: Value) {
    match (facts, more) {
        (Value::Object(facts), Value::Object(more)) => {
            for (key, value) in more {
                add(facts.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(facts), Value::Array(more)) => facts.extend(more),
        (facts, more) => *facts = more,
    }
}

/// Returns the path of the first fact that `document` lacks.
pub fn missing(facts: &Value, document: &Value) -> Option<String> {
    match facts {
        Value::Null => document.is_null().then(String::new),
        Value::Object(facts) => facts.iter().find_map(|(key, fact)| {
            missing(fact, &document[key]).map(|path| format!(".{key}{path}"))
        }),
        Value::Array(facts) => {
            let found = document.as_array().map_or(&[][..], Vec::as_slice);
            let lacks = |fact: &&Value| !found.iter().any(|one| missing(fact, one).is_none());
            facts.iter().find(lacks).map(|fact| format!("[{fact}]"))
        }
        fact => (fact != document).then(String::new),
    }
}

/// Returns the keys of annotations and of metadata in the namespace `default` that `document` has
/// and `facts` does not.
pub fn foreign(facts: &Value, document: &Value) -> Vec<String> {
    let places = ["/annotations", "/metadata/default"];
    let keys = |value: &Value, place| -> Vec<String> {
        let object = value.pointer(place).and_then(Value::as_object);
        object.into_iter().flat_map(Map::keys).cloned().collect()
    };
    let of_place = |place| {
        let known = keys(facts, place);
        let found = keys(document, place).into_iter();
        found.filter(move |key| !known.contains(key))
    };
    places.into_iter().flat_map(of_place).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn facts_are_looked_for_in_the_document() {
        let document = json!({
            "annotations": { "order": "o-1", "items": 3 },
            "metadata": { "default": { "filler": "xxx" } },
            "cause": { "exceptions": [{ "type": "A", "id": "1" }, { "type": "B", "id": "2" }] },
        });
        for (facts, expected) in [
            (json!({}), None),
            (json!({ "annotations": { "items": 3 } }), None),
            (
                json!({ "metadata": { "default": { "filler": null } } }),
                None,
            ),
            (
                json!({ "cause": { "exceptions": [{ "type": "B" }] } }),
                None,
            ),
            (
                json!({ "annotations": { "items": 4 } }),
                Some(".annotations.items"),
            ),
            (
                json!({ "annotations": { "paid": null } }),
                Some(".annotations.paid"),
            ),
            (
                json!({ "cause": { "exceptions": [{ "type": "C" }] } }),
                Some(r#".cause.exceptions[{"type":"C"}]"#),
            ),
        ] {
            assert_eq!(missing(&facts, &document).as_deref(), expected, "{facts}");
        }
    }

    #[test]
    fn keys_that_were_not_put_are_foreign() {
        let facts = json!({ "annotations": { "order": "o-1" } });
        let document = json!({
            "annotations": { "order": "o-2", "items": 3 },
            "metadata": { "default": { "a": 1 }, "tracestitch": { "b": 1 } },
        });
        assert_eq!(foreign(&facts, &document), ["items", "a"]);
    }

    #[test]
    fn added_facts_are_merged() {
        let mut facts = json!({ "annotations": { "a": 1 }, "links": [1] });
        add(
            &mut facts,
            json!({ "annotations": { "a": 2, "b": 3 }, "links": [2] }),
        );
        let expected = json!({ "annotations": { "a": 2, "b": 3 }, "links": [1, 2] });
        assert_eq!(facts, expected);
    }
}
