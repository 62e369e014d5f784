//! A small map that keeps the order of insertion.

use std::collections::HashMap;
use std::hash::Hash;

use super::json::Json;

/// Number of entries up to which a scan is cheaper than a hash. Most documents hold fewer.
const SCANNED: usize = 32;

/// Keys and values in order of insertion. A repeated key replaces its value.
///
/// ```
/// let mut fields = tracestitch_wire::document::Fields::new();
/// fields.insert("b", 1);
/// fields.insert("a", 2);
/// fields.insert("b", 3);
/// assert_eq!(fields.get(&"b"), Some(&3));
/// assert_eq!(fields.len(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct Fields<K, V> {
    entries: Vec<(K, V)>,
    /// Positions of the keys, once there are too many to scan.
    #[expect(
        clippy::box_collection,
        reason = "a map is 48 bytes, and most documents have none"
    )]
    positions: Option<Box<HashMap<K, usize>>>,
}

impl<K, V> Fields<K, V> {
    /// A map without entries; allocates nothing.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            positions: None,
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if the map has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys and values, to be changed. Keys that become equal are not merged: both are written, and
    /// a reader of the JSON sees the last.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (K, V)> {
        self.positions = None;
        self.entries.iter_mut()
    }
}

impl<K: Clone + Eq + Hash, V> Fields<K, V> {
    /// Adds `value` under `key`, or replaces the value that is there.
    pub fn insert(&mut self, key: K, value: V) {
        match self.position(&key) {
            Some(position) => self.entries[position].1 = value,
            None => self.push(key, value),
        }
    }

    /// Returns the value under `key`; adds the default if there is none.
    pub fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let position = self.position(&key).unwrap_or(self.entries.len());
        if position == self.entries.len() {
            self.push(key, V::default());
        }
        &mut self.entries[position].1
    }

    /// Returns the value under `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        let position = self.position(key)?;
        Some(&self.entries[position].1)
    }

    #[inline]
    fn position(&self, key: &K) -> Option<usize> {
        match &self.positions {
            Some(positions) => positions.get(key).copied(),
            None => self.entries.iter().position(|(known, _)| known == key),
        }
    }

    fn push(&mut self, key: K, value: V) {
        if let Some(positions) = &mut self.positions {
            positions.insert(key.clone(), self.entries.len());
        }
        self.entries.push((key, value));
        if self.positions.is_none() && self.entries.len() > SCANNED {
            // Backwards: of equal keys the first one counts, as in a scan.
            let entries = self.entries.iter().enumerate().rev();
            let positions = entries.map(|(position, (key, _))| (key.clone(), position));
            self.positions = Some(Box::new(positions.collect()));
        }
    }
}

impl<K, V> Default for Fields<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Fields<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<K: Json, V: Json> Json for Fields<K, V> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut separator = b'{';
        for (key, value) in &self.entries {
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
        self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    /// A key that counts how often one is compared or hashed.
    #[derive(Debug, Clone)]
    struct Counted(u32);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            LOOKS.set(LOOKS.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            LOOKS.set(LOOKS.get() + 1);
            self.0.hash(state);
        }
    }

    /// Looks at keys while `count` entries are added, replaced and read.
    fn looks(count: u32) -> u64 {
        LOOKS.set(0);
        let mut fields = Fields::new();
        for n in 0..count {
            fields.insert(Counted(n), n);
            *fields.entry(Counted(n / 2)) += 1;
            assert!(fields.get(&Counted(n)).is_some());
        }
        LOOKS.get()
    }

    #[test]
    fn ten_times_the_entries_take_at_most_twelve_times_the_work() {
        for count in [100, 1_000, 8_000] {
            let (few, many) = (looks(count), looks(10 * count));
            assert!(
                many <= 12 * few,
                "{count} entries: {few}, ten times: {many}"
            );
        }
    }

    proptest! {
        /// Below and above the number of entries from which on keys are hashed.
        #[test]
        fn behaves_like_a_list_of_pairs(steps in prop::collection::vec((0..60_u8, any::<u8>()), 0..200)) {
            let mut fields = Fields::new();
            let mut pairs: Vec<(u8, u8)> = Vec::new();
            for (key, value) in steps {
                fields.insert(key, value);
                match pairs.iter_mut().find(|(known, _)| *known == key) {
                    Some(pair) => pair.1 = value,
                    None => pairs.push((key, value)),
                }
                prop_assert_eq!(&fields.entries, &pairs);
                prop_assert_eq!(fields.get(&key), Some(&value));
                prop_assert_eq!(fields.get(&61), None);
            }
        }

        #[test]
        fn changed_keys_are_found(count in 1..100_u8) {
            let mut fields = Fields::new();
            (0..count).for_each(|key| fields.insert(key, key));
            fields.iter_mut().for_each(|(key, _)| *key += 100);
            fields.insert(count - 1 + 100, 7);
            *fields.entry(100) = 8;
            fields.insert(0, 9);
            prop_assert_eq!(fields.len(), usize::from(count) + 1);
            prop_assert_eq!(fields.get(&100), Some(&8));
        }
    }
}
