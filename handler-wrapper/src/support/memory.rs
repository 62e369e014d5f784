//! A reusable per-thread buffer for serialised documents.

use std::cell::Cell;

use tracestitch_wire::document::Document;

/// Largest buffer that is kept, in bytes. Most documents are far smaller, and the memory of a large
/// one is freed.
const KEPT: usize = 4 * 1024;

thread_local! {
    static JSON: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `take` with the JSON of `document`.
pub(crate) fn with_json(document: &Document, take: impl FnOnce(&[u8])) {
    // The storage of an ending thread is gone.
    let mut json = JSON.try_with(Cell::take).unwrap_or_default();
    document.write_json(&mut json);
    take(&json);
    let _ = JSON.try_with(|kept| kept.set(emptied(json)));
}

/// Returns the buffer, emptied.
pub(crate) fn emptied(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.capacity() > KEPT {
        return Vec::new();
    }
    bytes.clear();
    bytes
}

#[cfg(test)]
mod tests {
    use tracestitch_wire::{id::SegmentId, time::Timestamp};

    use super::*;
    use crate::tests::header::ROOT;

    #[test]
    fn document_leaves_nothing_for_the_next() {
        let work = |name: &str| {
            let now = Timestamp::from_micros(1_478_293_361_271_000);
            let parent = SegmentId::new();
            Document::subsegment(name.to_owned().into(), ROOT.parse().unwrap(), parent, now)
        };
        let mut large = work("large");
        large.put_metadata("default".into(), "text".into(), "x".repeat(KEPT).into());
        for document in [work("a longer name"), work("short"), large, work("last")] {
            with_json(&document, |json| {
                assert_eq!(json, document.to_json());
                // A sink may record something itself.
                with_json(&work("inner"), |inner| assert_ne!(inner, json));
            });
        }
        assert!(JSON.take().capacity() <= KEPT);
    }
}
