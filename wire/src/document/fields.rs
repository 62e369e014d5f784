//! A small map that keeps the order of insertion.

use super::json::Json;

/// Keys and values in the order in which they came; a key that comes again replaces its value.
///
/// Documents hold a handful of entries, for which a scan is cheaper than a hash.
///
/// ```
/// let mut fields = tracestitch_wire::document::Fields::new();
/// fields.insert("b", 1);
/// fields.insert("a", 2);
/// fields.insert("b", 3);
/// assert_eq!(fields.get(&"b"), Some(&3));
/// assert_eq!(fields.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Fields<K, V>(Vec<(K, V)>);

impl<K: PartialEq, V> Fields<K, V> {
    /// No entries, no allocation.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds `value` under `key`, or replaces the one that is there.
    pub fn insert(&mut self, key: K, value: V) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// The value under `key`, which is made if it is not there.
    pub fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let index = self
            .0
            .iter()
            .position(|(known, _)| *known == key)
            .unwrap_or_else(|| {
                self.0.push((key, V::default()));
                self.0.len() - 1
            });
        &mut self.0[index].1
    }

    /// The value under `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.0
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// Keys and values, to be changed. Keys that are made equal stay apart: the reader sees both.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (K, V)> {
        self.0.iter_mut()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: PartialEq, V> Default for Fields<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Json, V: Json> Json for Fields<K, V> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut separator = b'{';
        for (key, value) in &self.0 {
            out.push(separator);
            separator = b',';
            key.write(out);
            out.push(b':');
            value.write(out);
        }
        if separator == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
    }

    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}
