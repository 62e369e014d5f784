//! Finished documents on their way to the daemon.

use std::ops::{Index, Range};

/// Most bytes that an empty list keeps for its next documents: more than one step of a ring has.
const MOST_SPARE: usize = 64 * 1024;

/// A list of documents in one buffer: an allocator does more work for each of several hundred bytes
/// than the copy takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Documents {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Documents {
    /// Appends a document.
    pub(crate) fn push(&mut self, document: &[u8]) {
        let place = self.store(document);
        self.places.push(place);
    }

    /// Replaces the document at `index` by any number of others.
    pub(crate) fn replace(&mut self, index: usize, documents: &[Vec<u8>]) {
        let places: Vec<_> = documents.iter().map(|it| self.store(it)).collect();
        self.places.splice(index..=index, places);
    }

    fn store(&mut self, document: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(document);
        start..self.bytes.len()
    }

    /// Number of documents.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// All documents, oldest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.iter_from(0)
    }

    /// The documents from `index` on.
    pub(crate) fn iter_from(&self, index: usize) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let places = self.places[index..].iter();
        places.map(|place| &self.bytes[place.clone()])
    }

    /// Removes all documents. A buffer of usual size is kept.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
        self.bytes.shrink_to(MOST_SPARE);
        self.places.shrink_to(MOST_SPARE / 512);
    }
}

impl Index<usize> for Documents {
    type Output = [u8];

    fn index(&self, index: usize) -> &[u8] {
        &self.bytes[self.places[index].clone()]
    }
}

impl<D: AsRef<[u8]>> FromIterator<D> for Documents {
    fn from_iter<I: IntoIterator<Item = D>>(documents: I) -> Self {
        let mut list = Self::default();
        for document in documents {
            list.push(document.as_ref());
        }
        list
    }
}
