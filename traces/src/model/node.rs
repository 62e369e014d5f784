//! A segment or subsegment, with typed access to the members that readers of a trace look for.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

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
    /// Work of a service, which is a node of the service graph.
    Segment,
    /// Work or a call inside a segment.
    Subsegment,
    /// A segment that X-Ray derived from a call whose callee sent none.
    Inferred,
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

/// One exception of a cause. The outermost is the first; each is caused by the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// Type or code of the error; empty if it was not recorded.
    #[serde(rename = "type")]
    pub kind: String,
    /// The message; empty if it was not recorded.
    pub message: String,
    /// True if the called service reported it.
    pub remote: bool,
}

/// A segment or subsegment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// The id, 16 hexadecimal digits; empty for a subsegment without a valid id.
    pub id: String,
    /// The parent's id, received or not.
    pub parent_id: Option<String>,
    /// Segment, subsegment or inferred segment.
    pub kind: Kind,
    /// The name.
    pub name: String,
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
    /// The recorded chain of errors.
    pub exceptions: Vec<Exception>,
    /// Links to other segments and subsegments, without repetitions.
    pub links: Vec<Link>,
    /// The members of the document without `subsegments`.
    pub document: Map<String, Value>,
}

impl Node {
    pub(super) fn read(body: &Value, parent_id: Option<String>, kind: Kind) -> Self {
        let text = |member: &str| body[member].as_str().map(str::to_owned);
        let flag = |member: &str| body[member] == true;
        let members = body.as_object().into_iter().flatten();
        let members = members.filter(|(name, _)| *name != "subsegments");
        Self {
            id: text("id").unwrap_or_default().to_ascii_lowercase(),
            parent_id,
            kind,
            name: text("name").unwrap_or_default(),
            start: body["start_time"].as_f64().unwrap_or_default(),
            end: body["end_time"].as_f64(),
            fault: flag("fault"),
            error: flag("error"),
            throttle: flag("throttle"),
            exceptions: exceptions(body),
            links: links(body),
            document: members
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        }
    }

    /// Returns the seconds from start to end; `None` while in progress.
    #[must_use]
    pub fn duration(&self) -> Option<f64> {
        self.end.map(|end| (end - self.start).max(0.0))
    }

    /// Returns whether the node has an error, a fault or a throttle.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.error || self.fault || self.throttle
    }

    /// Returns the namespace of a call, `aws` or `remote`.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.text(&["namespace"])
    }

    /// Returns the type of the service that sent a segment, such as `AWS::Lambda::Function`.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        self.text(&["origin"])
    }

    /// Returns the namespace of a call or the origin of a segment; `None` for local work.
    #[must_use]
    pub fn class(&self) -> Option<&str> {
        self.namespace().or_else(|| self.origin())
    }

    /// Returns whether this is a call of a service, which X-Ray draws as an edge.
    #[must_use]
    pub fn is_call(&self) -> bool {
        self.kind == Kind::Subsegment && matches!(self.namespace(), Some("aws" | "remote"))
    }

    /// Returns the text at a path of members, such as `["http", "request", "url"]`.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.value(path)?.as_str()
    }

    /// Returns the value at a path of members.
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let first = self.document.get(*first)?;
        rest.iter().try_fold(first, |value, name| value.get(name))
    }

    /// Returns the status of the HTTP response.
    #[must_use]
    pub fn status(&self) -> Option<u64> {
        self.value(&["http", "response", "status"])?.as_u64()
    }

    /// Returns the annotations by key.
    pub fn annotations(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members("annotations")
    }

    /// Returns the metadata as namespace, key and value.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.members("metadata").flat_map(|(namespace, keys)| {
            let keys = keys.as_object().into_iter().flatten();
            keys.map(move |(key, value)| (namespace, key.as_str(), value))
        })
    }

    fn members(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        let members = self.document.get(name).and_then(Value::as_object);
        let members = members.into_iter().flatten();
        members.map(|(key, value)| (key.as_str(), value))
    }

    /// Returns the facts for one line of text: of the call, the request and the query, then the
    /// annotations.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        let aws = AWS_FACTS
            .iter()
            .map(|(member, name)| (*name, self.value(&["aws", member])));
        let others = [
            ("method", self.value(&["http", "request", "method"])),
            ("url", self.value(&["http", "request", "url"])),
            ("status", self.value(&["http", "response", "status"])),
            ("query", self.value(&["sql", "sanitized_query"])),
            ("user", self.value(&["user"])),
        ];
        let known = aws.chain(others);
        let known = known.filter_map(|(name, value)| Some((name, value?)));
        known
            .chain(self.annotations())
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| Fact {
                name: name.to_owned(),
                value: readable(name, value),
            })
            .collect()
    }

    /// Returns the first exception as `type: message`.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        self.exceptions.first().map(Exception::to_string)
    }
}

impl std::fmt::Display for Exception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.kind.as_str(), self.message.as_str()) {
            ("", message) => f.write_str(message),
            (kind, "") => f.write_str(kind),
            (kind, message) => write!(f, "{kind}: {message}"),
        }
    }
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

fn exceptions(body: &Value) -> Vec<Exception> {
    let exceptions = body["cause"]["exceptions"].as_array();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let read = |exception: &Value| Exception {
        kind: text(&exception["type"]),
        message: text(&exception["message"]),
        remote: exception["remote"] == true,
    };
    exceptions.into_iter().flatten().map(read).collect()
}

fn links(body: &Value) -> Vec<Link> {
    let links = body["links"].as_array().into_iter().flatten();
    let read = |link: &Value| {
        Some(Link {
            trace_id: link["trace_id"].as_str()?.to_ascii_lowercase(),
            id: link["id"].as_str()?.to_ascii_lowercase(),
        })
    };
    let links: BTreeSet<_> = links.filter_map(read).collect();
    links.into_iter().collect()
}
