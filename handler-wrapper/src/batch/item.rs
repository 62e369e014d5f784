//! An item of a batch: a message, or a record of a stream.

use serde_json::Value;
use tracestitch_wire::header::TraceHeader;

use crate::settings::carriers::Carriers;

/// What is asked of an item of a batch: a message, or a record of a stream.
pub(crate) trait Item {
    /// Its source, as rules of sampling call it; what a segment says of it stands under this.
    const SOURCE: &'static str;

    /// The trace header that it brings.
    fn carried(&self, carriers: &Carriers) -> Option<TraceHeader>;

    /// Items of one group are handled in their order, up to the first that fails. `fifo` says
    /// that the queue is one even if the item does not.
    fn group(&self, fifo: bool) -> Option<&str>;

    /// Name of the queue, stream or table that it came from.
    fn came_from(&self) -> String;

    /// What its segment says of it, never contents; `now` in milliseconds of the epoch.
    fn facts(&self, now: i64) -> Vec<(&'static str, Option<Value>)>;
}
