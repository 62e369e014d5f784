//! An item of a batch: a message, or a record of a stream.

use serde_json::Value;
use tracestitch_wire::header::TraceHeader;

use crate::settings::carriers::Carriers;

/// Properties of an item of a batch: a message, or a record of a stream.
pub(crate) trait Item {
    /// Name of the source in rules of sampling, and namespace of the item's metadata.
    const SOURCE: &'static str;

    /// Returns the trace header that the item carries.
    fn carried(&self, carriers: &Carriers) -> Option<TraceHeader>;

    /// Returns the group of the item. Items of a group are handled in order, up to the first that
    /// fails.
    fn group(&self) -> Option<&str>;

    /// Returns the name of the queue, stream or table that the item came from.
    fn came_from(&self) -> String;

    /// Returns metadata for the item's segment, without contents. `now` is in milliseconds since
    /// the epoch.
    fn facts(&self, now: i64) -> Vec<(&'static str, Option<Value>)>;
}
