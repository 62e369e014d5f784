//! A segment or subsegment, reduced to the facts that a reader of the trace looks for.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// Members of `aws` that are displayed, with their short names.
const AWS_FACTS: [(&str, &str); 11] = [
    ("operation", "operation"),
    ("table_name", "table"),
    ("queue_url", "queue"),
    ("topic_arn", "topic"),
    ("function_name", "function"),
    ("bucket_name", "bucket"),
    ("event_bus_name", "bus"),
    ("state_machine_arn", "state_machine"),
    ("stream_name", "stream"),
    ("message_count", "messages"),
    ("retries", "retries"),
];

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Work of a service, which is a node of the service map.
    Segment,
    /// Work or a call inside a segment.
    Subsegment,
}

/// A recorded fact, displayed as `name=value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// A short name, such as `table`, or an annotation's key.
    pub name: String,
    /// The value as text.
    pub value: String,
}

/// A pointer to a segment or subsegment of any trace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Link {
    /// The trace id of its target.
    pub trace_id: String,
    /// The id of its target.
    pub id: String,
}

/// A segment or subsegment with its children.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// The id, 16 hexadecimal digits.
    pub id: String,
    /// The parent's id, received or not.
    pub parent_id: Option<String>,
    /// Segment or subsegment.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// `aws` or `remote` for a call, the origin for a segment, `None` for local work.
    pub class: Option<String>,
    /// The start in seconds since 1970.
    pub start: f64,
    /// The end in seconds since 1970; `None` while in progress.
    pub end: Option<f64>,
    /// True if the work or a called service failed (5xx).
    pub fault: bool,
    /// True if the caller made an error (4xx).
    pub error: bool,
    /// True if the caller sent too many requests (429).
    pub throttle: bool,
    /// Type and message of the first exception.
    pub cause: Option<String>,
    /// Selected facts, then the annotations by key.
    pub facts: Vec<Fact>,
    /// Links to other segments and subsegments.
    pub links: Vec<Link>,
    /// The nodes under this one, by start time, then id.
    pub children: Vec<Self>,
}

impl Node {
    pub(super) fn read(body: &Value, parent_id: Option<String>, kind: Kind) -> Self {
        let text = |member: &str| body[member].as_str().map(str::to_owned);
        let flag = |member: &str| body[member] == true;
        Self {
            id: text("id").unwrap_or_default(),
            parent_id,
            kind,
            name: text("name").unwrap_or_default(),
            class: text("namespace").or_else(|| text("origin")),
            start: body["start_time"].as_f64().unwrap_or_default(),
            end: body["end_time"].as_f64(),
            fault: flag("fault"),
            error: flag("error"),
            throttle: flag("throttle"),
            cause: cause(body),
            facts: facts(body),
            links: links(body),
            children: Vec::new(),
        }
    }

    /// Returns this node and all nodes under it, each before its children.
    pub fn walk(&self) -> impl Iterator<Item = &Self> {
        let mut waiting = vec![self];
        std::iter::from_fn(move || {
            let node = waiting.pop()?;
            waiting.extend(node.children.iter().rev());
            Some(node)
        })
    }

    /// Returns the value of a fact or annotation.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts
            .iter()
            .find(|fact| fact.name == name)
            .map(|fact| fact.value.as_str())
    }

    /// Returns the seconds from start to end; `None` while in progress.
    #[must_use]
    pub fn duration(&self) -> Option<f64> {
        self.end.map(|end| (end - self.start).max(0.0))
    }
}

fn cause(body: &Value) -> Option<String> {
    let exception = &body["cause"]["exceptions"][0];
    let kind = exception["type"].as_str();
    match (kind, exception["message"].as_str()) {
        (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
        (kind, message) => kind.or(message).map(str::to_owned),
    }
}

fn facts(body: &Value) -> Vec<Fact> {
    let aws = AWS_FACTS
        .iter()
        .map(|(member, name)| (*name, &body["aws"][*member]));
    let http = [
        ("method", &body["http"]["request"]["method"]),
        ("url", &body["http"]["request"]["url"]),
        ("status", &body["http"]["response"]["status"]),
    ];
    let sql = [("query", &body["sql"]["sanitized_query"])];
    let annotations = body["annotations"].as_object().into_iter().flatten();
    let annotations = annotations.map(|(key, value)| (key.as_str(), value));
    let all = aws
        .chain(http)
        .chain(sql)
        .chain(annotations)
        .filter(|(_, value)| !value.is_null());
    all.map(|(name, value)| Fact {
        name: name.to_owned(),
        value: readable(name, value),
    })
    .collect()
}

fn readable(name: &str, value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    match name {
        // The rest of the URL is the same for all queues.
        "queue" => text.rsplit('/').next().unwrap_or_default().to_owned(),
        _ => text,
    }
}

fn links(body: &Value) -> Vec<Link> {
    let links = body["links"].as_array().into_iter().flatten();
    let read = |link: &Value| {
        Some(Link {
            trace_id: link["trace_id"].as_str()?.to_owned(),
            id: link["id"].as_str()?.to_owned(),
        })
    };
    links
        .filter_map(read)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
