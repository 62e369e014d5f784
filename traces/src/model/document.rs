//! A document as it was received: a segment or an independent subsegment.

use serde_json::Value;

/// A segment or an independent subsegment.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The trace id, `1-xxxxxxxx-xxxxxxxxxxxxxxxxxxxxxxxx`.
    pub trace_id: String,
    /// The id, 16 hexadecimal digits.
    pub id: String,
    /// The id of the segment or subsegment above it.
    pub parent_id: Option<String>,
    /// The name on the service map.
    pub name: String,
    /// True if its `type` is `subsegment`.
    pub is_subsegment: bool,
    /// True while it has no end.
    pub in_progress: bool,
    /// The whole document.
    pub body: Value,
}

impl Document {
    /// Reads the members that every document has; returns `None` if one is missing.
    #[must_use]
    pub fn read(body: Value) -> Option<Self> {
        let text = |field: &str| body[field].as_str().map(str::to_owned);
        Some(Self {
            trace_id: text("trace_id")?,
            id: text("id")?,
            parent_id: text("parent_id"),
            name: text("name")?,
            is_subsegment: body["type"] == "subsegment",
            in_progress: body["in_progress"] == true,
            body,
        })
    }
}
