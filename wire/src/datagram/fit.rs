//! Large documents, split and trimmed until each fits a datagram.

mod trim;

use serde_json::{Map, Value};

use self::trim::{to_json, trim};
use super::encoding::MAX_DOCUMENT;

/// The documents that [`fit`] made of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fitted {
    /// Documents of at most [`MAX_DOCUMENT`] bytes.
    pub documents: Vec<Vec<u8>>,
    /// Number of documents that lost a part of their content. The mark in each names the part.
    pub trimmed: usize,
    /// Number of documents that cannot be sent at all.
    pub lost: usize,
}

/// Turns `document` into one or more documents of at most [`MAX_DOCUMENT`] bytes.
///
/// A larger document is split first: its embedded subsegments become independent ones. Each part
/// that is still too large is trimmed, only as far as necessary and largest first: metadata values,
/// then stack frames, then whole members such as `aws`. Identity, times and flags always stay. The
/// mark `metadata.tracestitch.trimmed` lists what was trimmed.
///
/// A document that is not a JSON object, or whose name and ids alone are too large, is lost.
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

/// Like [`fit`], for a network path that only carries documents of `most` bytes.
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

/// Moves the embedded subsegments to `children`, as independent documents. Returns how many of them
/// were not JSON objects.
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

#[cfg(test)]
mod tests;
