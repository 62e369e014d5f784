//! Histograms of times.

use serde::Serialize;

/// Most buckets of a histogram.
const BUCKETS: usize = 200;

/// The number of occurrences of a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bucket {
    /// The time in seconds.
    pub value: f64,
    /// The number of occurrences.
    pub count: u64,
}

/// Times with their numbers. Times are rounded to a millisecond; if there are more than 200
/// different ones, neighbours are merged into the larger.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Histogram {
    buckets: Vec<Bucket>,
}

impl Histogram {
    /// Adds a time in seconds.
    pub fn add(&mut self, seconds: f64) {
        let value = (seconds * 1000.0).round() / 1000.0;
        match self
            .buckets
            .binary_search_by(|bucket| bucket.value.total_cmp(&value))
        {
            Ok(found) => self.buckets[found].count += 1,
            Err(place) => self.buckets.insert(place, Bucket { value, count: 1 }),
        }
        if self.buckets.len() > BUCKETS {
            self.merge();
        }
    }

    /// Merges the two neighbours that are closest in relation to their value.
    fn merge(&mut self) {
        let distance = |pair: &[Bucket]| (pair[1].value - pair[0].value) / pair[1].value;
        let pairs = self.buckets.windows(2).map(distance).enumerate();
        let closest = pairs.min_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((index, _)) = closest {
            let lower = self.buckets.remove(index);
            self.buckets[index].count += lower.count;
        }
    }

    /// Returns the buckets, the smallest time first.
    #[must_use]
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }
}
