//! An item of a batch: a message, or a record of a stream.

use serde_json::Value;
use tracestitch_wire::header::TraceHeader;

use crate::settings::carriers::Carriers;

/// Properties of an item of a batch: a message, or a record of a stream.
pub(crate) trait Item {
    /// Name of the source in rules of sampling, and namespace of the item's metadata.
    const SOURCE: &'static str;

    /// Word for an item in a sentence.
    const NOUN: &'static str = "record";

    /// Returns the trace header that the item carries.
    fn carried(&self, carriers: &Carriers) -> Option<TraceHeader>;

    /// Returns the group of the item. Items of a group are handled in order, up to the first that
    /// fails.
    fn group(&self) -> Option<&str>;

    /// Returns the id of the message, or the sequence number of the record.
    fn id(&self) -> Option<&str>;

    /// Returns how many times the message was received, if its source counts that.
    fn receive_count(&self) -> Option<u64> {
        None
    }

    /// Returns the name of the queue, stream or table that the item came from.
    fn came_from(&self) -> String;

    /// Returns annotations for the item's segment, by which its trace is found.
    fn annotations(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Returns metadata for the item's segment, without contents. `now` is in milliseconds since
    /// the epoch.
    fn facts(&self, now: i64) -> Vec<(&'static str, Option<Value>)>;
}
