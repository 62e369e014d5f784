use proptest::prelude::*;
use serde_json::json;

use super::*;

fn document(extra: Value) -> Vec<u8> {
    let mut document = json!({
        "name": "n", "id": "53995c3f42cd8ad8", "trace_id": "1-5759e988-bd862e3fe1be46a994272793",
        "start_time": 1.0, "end_time": 2.0, "fault": true,
    });
    document
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    serde_json::to_vec(&document).unwrap()
}

fn fitted(extra: Value) -> Vec<Value> {
    let documents = fit(document(extra)).documents;
    assert!(
        documents
            .iter()
            .all(|document| document.len() <= MAX_DOCUMENT)
    );
    documents
        .iter()
        .map(|document| serde_json::from_slice(document).unwrap())
        .collect()
}

#[test]
fn small_document_is_unchanged() {
    let small = document(json!({ "metadata": { "default": { "k": 1 } } }));
    assert_eq!(fit(small.clone()).documents, [small]);
}

#[test]
fn children_become_independent_before_anything_is_trimmed() {
    let child = |n: u32| {
        json!({ "name": "c", "id": format!("{n:016x}"), "start_time": 1.0, "end_time": 2.0,
                "metadata": { "default": { "k": "x".repeat(40_000) } } })
    };
    let parts = fitted(json!({ "subsegments": [child(1), child(2)] }));
    assert_eq!(parts.len(), 3);
    for part in parts.iter().filter(|part| part["name"] == "c") {
        assert_eq!(part["type"], "subsegment");
        assert_eq!(part["parent_id"], "53995c3f42cd8ad8");
        assert_eq!(part["trace_id"], "1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(
            part["metadata"]["default"]["k"].as_str().unwrap().len(),
            40_000
        );
    }
}

#[test]
fn metadata_is_trimmed_first() {
    let parts = fitted(json!({
        "metadata": { "default": { "k": "x".repeat(200_000) } },
        "annotations": { "a": 1 },
        "aws": { "operation": "GetItem" },
    }));
    assert_eq!(parts.len(), 1);
    assert_eq!(
        parts[0]["metadata"],
        json!({
            "default": { "k": "left out: 200002 bytes" },
            "tracestitch": { "trimmed": "metadata" },
        })
    );
    assert_eq!(parts[0]["annotations"]["a"], 1);
    assert_eq!(parts[0]["aws"]["operation"], "GetItem");
}

#[test]
fn small_metadata_stays_beside_a_large_value() {
    let ours = json!({ "message_id": "m-1" });
    for (large, kept, reason) in [
        (200_000, 60_000, "one is enough"),
        (70_000, 100, "just too large"),
        (63_000, 2_000, "no value alone is too large"),
    ] {
        let parts = fitted(json!({ "metadata": {
            "default": { "large": "x".repeat(large), "small": "y".repeat(kept), "n": 1 },
            "order": { "id": "o-1" },
            "tracestitch": ours,
        } }));
        let metadata = &parts[0]["metadata"];
        let note = format!("left out: {} bytes", large + 2);
        assert_eq!(metadata["default"]["large"], note, "{reason}");
        assert_eq!(metadata["default"]["small"], "y".repeat(kept), "{reason}");
        assert_eq!(metadata["default"]["n"], 1, "{reason}");
        assert_eq!(metadata["order"]["id"], "o-1", "{reason}");
        assert_eq!(metadata["tracestitch"]["message_id"], "m-1", "{reason}");
    }
}

#[test]
fn stacks_are_trimmed_if_metadata_is_not_enough() {
    let frame = json!({ "path": "src/main.rs", "line": 1, "label": "main" });
    let parts = fitted(json!({
        "cause": { "exceptions": [{ "id": "1", "truncated": 1, "stack": vec![frame; 10_000] }] },
        "metadata": { "default": { "k": "stays" } },
    }));
    let exception = &parts[0]["cause"]["exceptions"][0];
    assert_eq!(exception["stack"].as_array().unwrap().len(), 16);
    assert_eq!(exception["truncated"], 9_985);
    assert_eq!(parts[0]["metadata"]["tracestitch"]["trimmed"], "stack");
    assert_eq!(parts[0]["metadata"]["default"]["k"], "stays");
}

#[test]
fn stacks_and_metadata_are_trimmed_together() {
    let frame = json!({ "path": "src/main.rs", "line": 1, "label": "main" });
    let parts = fitted(json!({
        "cause": { "exceptions": [{ "id": "1", "stack": vec![frame; 10_000] }] },
        "metadata": { "default": { "k": "x".repeat(100_000), "small": 1 } },
    }));
    let metadata = &parts[0]["metadata"];
    assert_eq!(metadata["tracestitch"]["trimmed"], "stack, metadata");
    assert_eq!(metadata["default"]["small"], 1);
    assert!(parts[0]["cause"]["exceptions"][0]["stack"].is_array());
}

#[test]
fn members_are_removed_if_stacks_are_not_enough() {
    let large = "x".repeat(100_000);
    for (members, trimmed, reason) in [
        (json!({ "aws": { "k": large } }), "aws", "one is enough"),
        (
            json!({ "aws": { "k": large }, "sql": large }),
            "aws, sql",
            "largest first",
        ),
        (
            json!({ "unknown": large, "other": large }),
            "others",
            "not of the format",
        ),
    ] {
        let mut members = members;
        members["annotations"] = json!({ "a": 1 });
        members["metadata"] = json!({ "default": { "k": "stays" } });
        let parts = fitted(members);
        assert_eq!(parts[0]["fault"], true, "{reason}");
        assert_eq!(parts[0]["annotations"]["a"], 1, "{reason}");
        assert_eq!(parts[0]["metadata"]["default"]["k"], "stays", "{reason}");
        assert_eq!(
            parts[0]["metadata"]["tracestitch"]["trimmed"], trimmed,
            "{reason}"
        );
    }
}

#[test]
fn document_with_a_name_that_is_too_large_is_lost() {
    let fitted = fit(document(json!({ "name": "x".repeat(100_000) })));
    assert_eq!((fitted.documents.len(), fitted.lost), (0, 1));
}

#[test]
fn tree_of_megabytes_is_split_into_datagrams() {
    let filler = "x".repeat(40_000);
    let branch = |levels: u32| {
        let mut tree = json!({ "name": "leaf", "id": "1", "annotations": { "k": filler } });
        for level in 1..levels {
            tree = json!({ "name": level.to_string(), "id": "2", "subsegments": [tree],
                           "annotations": { "k": filler } });
        }
        tree
    };
    let tree = document(json!({ "subsegments": [branch(60), branch(60)] }));
    assert!(tree.len() > 4_800_000);
    let fitted = fit(tree);
    assert_eq!((fitted.trimmed, fitted.lost), (0, 0));
    assert_eq!(fitted.documents.len(), 121);
}

#[test]
fn malformed_documents_are_counted_and_nothing_panics() {
    let filler = "x".repeat(70_000);
    for (text, documents, lost, reason) in [
        (
            json!({ "subsegments": [{ "k": filler }] }),
            2,
            0,
            "no ids at all",
        ),
        (
            json!({ "subsegments": [1, [], filler] }),
            1,
            3,
            "children that are not objects",
        ),
        (
            json!({ "subsegments": {}, "name": filler }),
            0,
            1,
            "subsegments that are not a list",
        ),
        (
            json!({ "k": filler, "cause": { "exceptions": [1, { "stack": [], "truncated": "x" }] } }),
            1,
            0,
            "odd exceptions",
        ),
        (
            json!({ "k": filler, "cause": "0123456789abcdef" }),
            1,
            0,
            "a cause that is an id",
        ),
        (json!([filler]), 0, 1, "not an object"),
    ] {
        let fitted = fit(text.to_string().into_bytes());
        assert_eq!(
            (fitted.documents.len(), fitted.lost),
            (documents, lost),
            "{reason}"
        );
    }
}

/// Documents of any shape, with members of the format and any sizes.
fn any_document() -> impl Strategy<Value = Value> {
    let filler = || (0..4_000_usize).prop_map(|length| Value::from("x".repeat(length)));
    let leaf = prop_oneof![filler(), Just(json!(1)), Just(json!([]))];
    let members = [
        "metadata",
        "default",
        "tracestitch",
        "aws",
        "cause",
        "exceptions",
        "stack",
        "sql",
        "id",
        "trimmed",
        "subsegments",
        "other",
    ];
    let key = prop::sample::select(members.to_vec()).prop_map(str::to_owned);
    let object = leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            2 => prop::collection::btree_map(key.clone(), inner.clone(), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            1 => prop::collection::vec(inner, 0..40).prop_map(Value::from),
        ]
    });
    object.prop_filter("documents are objects", Value::is_object)
}

proptest! {
    #[test]
    fn every_part_fits_and_every_document_is_accounted_for(
        document in any_document(),
        most in 200..6_000_usize,
    ) {
        let fitted = fit_within(document.to_string().into_bytes(), most);
        prop_assert!(fitted.documents.iter().all(|part| part.len() <= most));
        prop_assert!(fitted.documents.len() + fitted.lost >= 1);
        let parts = fitted.documents.iter().map(|part| serde_json::from_slice(part).unwrap());
        let marked = parts.filter(|part: &Value| part["metadata"]["tracestitch"]["trimmed"].is_string());
        prop_assert!(marked.count() >= fitted.trimmed);
    }
}
