//! What the X-Ray daemon reads: a header line and one document in each UDP datagram.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray"; the daemon's read buffer is
//! 64 KiB, and IPv4 carries at most 65,507 bytes.

mod pace;
mod refusal;

use std::io::{self, ErrorKind, Write};

use serde_json::{Map, Value, json};

pub use self::{pace::Pace, refusal::Refusal};
use crate::Error;

/// The line before the document.
pub const PREAMBLE: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";

/// Most bytes of one document: 63 KiB with the preamble, as in the X-Ray SDK for Java. X-Ray
/// accepts 64 KB.
pub const MAX_DOCUMENT: usize = 63 * 1024 - PREAMBLE.len();

/// Most stack frames that are kept when a document has to be trimmed.
const TRIMMED_STACK: usize = 16;

/// One datagram with `document` in it.
pub fn encode(document: &[u8]) -> Vec<u8> {
    [PREAMBLE, document].concat()
}

/// The document in `datagram`.
///
/// # Errors
///
/// When the first line is not a preamble of format `json` and version 1, or nothing follows it.
pub fn decode(datagram: &[u8]) -> Result<&[u8], Error> {
    let refuse = || {
        Error::expected_bytes(
            "a line {\"format\":\"json\",\"version\":1} and a document",
            datagram,
        )
    };
    let end = datagram
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or_else(refuse)?;
    let preamble: Value = serde_json::from_slice(&datagram[..end]).map_err(|_| refuse())?;
    let json = preamble["format"]
        .as_str()
        .is_some_and(|format| format.eq_ignore_ascii_case("json"));
    if !json || preamble["version"] != 1 || datagram.len() == end + 1 {
        return Err(refuse());
    }
    Ok(&datagram[end + 1..])
}

/// What became of a document on its way into datagrams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fitted {
    /// Documents of at most [`MAX_DOCUMENT`] bytes.
    pub documents: Vec<Vec<u8>>,
    /// How many of them say that a part of their content was left out.
    pub trimmed: usize,
    /// Documents that cannot be sent at all.
    pub lost: usize,
}

/// `document` as one or more documents of at most [`MAX_DOCUMENT`] bytes.
///
/// A larger one is split first: its embedded subsegments become independent ones. What is still
/// too large is trimmed: metadata goes first, then stack frames, at last everything but identity,
/// times and flags. A trimmed document says so in `metadata.tracestitch.trimmed`.
///
/// A document that is not a JSON object, or whose name or ids alone are too large, cannot be
/// sent at all: it is counted as lost.
///
/// ```
/// use tracestitch_wire::datagram::fit;
///
/// assert_eq!(fit(b"{}".to_vec()).documents, [b"{}".to_vec()]);
/// assert_eq!(fit(vec![b'x'; 100_000]).lost, 1);
/// ```
pub fn fit(document: Vec<u8>) -> Fitted {
    fit_within(document, MAX_DOCUMENT)
}

/// Like [`fit`], for a path that carries documents of `most` bytes only.
pub fn fit_within(document: Vec<u8>, most: usize) -> Fitted {
    let mut fitted = Fitted::default();
    if document.len() <= most {
        fitted.documents.push(document);
        return fitted;
    }
    let Ok(Value::Object(document)) = serde_json::from_slice(&document) else {
        fitted.lost = 1;
        return fitted;
    };
    let mut pending = vec![document];
    while let Some(mut document) = pending.pop() {
        if let Some(json) = to_json(&document, most) {
            fitted.documents.push(json);
            continue;
        }
        let before = pending.len();
        fitted.lost += split(&mut document, &mut pending);
        if pending.len() > before
            && let Some(json) = to_json(&document, most)
        {
            fitted.documents.push(json);
        } else if let Some(json) = trim(document, most) {
            fitted.documents.push(json);
            fitted.trimmed += 1;
        } else {
            fitted.lost += 1;
        }
    }
    fitted
}

/// The document's JSON unless it is too large.
fn to_json(document: &Map<String, Value>, most: usize) -> Option<Vec<u8>> {
    let mut json = Bounded {
        bytes: Vec::new(),
        most,
    };
    serde_json::to_writer(&mut json, document).ok()?;
    Some(json.bytes)
}

/// Stops at the first byte too many: each level of a deep tree asks for its size.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes the embedded subsegments out, as documents that stand on their own. Gives back how many
/// were no documents.
fn split(document: &mut Map<String, Value>, children: &mut Vec<Map<String, Value>>) -> usize {
    let Some(Value::Array(embedded)) = document.remove("subsegments") else {
        return 0;
    };
    let mut lost = 0;
    for child in embedded {
        let Value::Object(mut child) = child else {
            lost += 1;
            continue;
        };
        child.insert("type".to_owned(), "subsegment".into());
        for (from, to) in [("trace_id", "trace_id"), ("id", "parent_id")] {
            if let Some(id) = document.get(from) {
                child.insert(to.to_owned(), id.clone());
            }
        }
        children.push(child);
    }
    lost
}

fn trim(mut document: Map<String, Value>, most: usize) -> Option<Vec<u8>> {
    let mark = |what: &str| json!({ "tracestitch": { "trimmed": what } });
    document.insert("metadata".to_owned(), mark("metadata"));
    if let Some(json) = to_json(&document, most) {
        return Some(json);
    }
    if let Some(Value::Array(exceptions)) = document
        .get_mut("cause")
        .and_then(|cause| cause.get_mut("exceptions"))
    {
        for exception in exceptions {
            let Some(Value::Array(stack)) = exception.get_mut("stack") else {
                continue;
            };
            let left_out = stack.len().saturating_sub(TRIMMED_STACK);
            stack.truncate(TRIMMED_STACK);
            let before = exception["truncated"].as_u64().unwrap_or(0);
            exception["truncated"] = (before + left_out as u64).into();
        }
    }
    document.insert("metadata".to_owned(), mark("metadata, stack"));
    if let Some(json) = to_json(&document, most) {
        return Some(json);
    }
    const IDENTITY: [&str; 14] = [
        "name",
        "id",
        "trace_id",
        "parent_id",
        "type",
        "start_time",
        "end_time",
        "in_progress",
        "origin",
        "namespace",
        "error",
        "throttle",
        "fault",
        "links",
    ];
    document.retain(|key, _| IDENTITY.contains(&key.as_str()));
    document.insert(
        "metadata".to_owned(),
        mark("all but identity, times and flags"),
    );
    to_json(&document, most)
}

#[cfg(test)]
mod tests {
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
    fn what_fits_is_left_alone() {
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
    fn metadata_goes_first() {
        let parts = fitted(json!({
            "metadata": { "default": { "k": "x".repeat(200_000) } },
            "annotations": { "a": 1 },
        }));
        assert_eq!(parts.len(), 1);
        assert_eq!(
            parts[0]["metadata"],
            json!({ "tracestitch": { "trimmed": "metadata" } })
        );
        assert_eq!(parts[0]["annotations"]["a"], 1);
    }

    #[test]
    fn then_stack_frames() {
        let frame = json!({ "path": "src/main.rs", "line": 1, "label": "main" });
        let parts = fitted(json!({
            "cause": { "exceptions": [{ "id": "1", "stack": vec![frame; 10_000] }] },
        }));
        let exception = &parts[0]["cause"]["exceptions"][0];
        assert_eq!(exception["stack"].as_array().unwrap().len(), 16);
        assert_eq!(exception["truncated"], 9_984);
        assert_eq!(
            parts[0]["metadata"]["tracestitch"]["trimmed"],
            "metadata, stack"
        );
    }

    #[test]
    fn at_last_all_but_identity() {
        let parts = fitted(json!({ "aws": { "k": "x".repeat(100_000) } }));
        assert!(parts[0].get("aws").is_none());
        assert_eq!(parts[0]["fault"], true);
    }

    #[test]
    fn a_name_that_is_too_large_cannot_be_sent() {
        let fitted = fit(document(json!({ "name": "x".repeat(100_000) })));
        assert_eq!((fitted.documents.len(), fitted.lost), (0, 1));
    }

    #[test]
    fn a_tree_of_megabytes_becomes_documents_of_datagrams() {
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
    fn what_is_no_document_is_counted_and_nothing_panics() {
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
                "children that are none",
            ),
            (
                json!({ "subsegments": {}, "name": filler }),
                0,
                1,
                "no list",
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
                "a cause by its id",
            ),
            (json!([filler]), 0, 1, "no object"),
        ] {
            let fitted = fit(text.to_string().into_bytes());
            assert_eq!(
                (fitted.documents.len(), fitted.lost),
                (documents, lost),
                "{reason}"
            );
        }
    }

    #[test]
    fn datagrams_are_read_as_the_daemon_reads_them() {
        assert_eq!(decode(&encode(b"{}")), Ok(&b"{}"[..]));
        for (datagram, valid, reason) in [
            (
                &b"{ \"format\": \"JSON\", \"version\": 1 }\n{}"[..],
                true,
                "spaces, any case",
            ),
            (
                b"{\"format\":\"json\",\"version\":1}\n",
                false,
                "no document",
            ),
            (b"{\"format\":\"json\",\"version\":1}", false, "no line end"),
            (
                b"{\"format\":\"json\",\"version\":2}\n{}",
                false,
                "other version",
            ),
            (
                b"{\"format\":\"xml\",\"version\":1}\n{}",
                false,
                "other format",
            ),
            (b"\xff\n{}", false, "not JSON"),
            (b"", false, "empty"),
        ] {
            assert_eq!(decode(datagram).is_ok(), valid, "{reason}");
        }
    }
}
