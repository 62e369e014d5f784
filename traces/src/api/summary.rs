//! The summary of one trace, as `GetTraceSummaries` returns it.
//!
//! Source of each rule: X-Ray API reference, `TraceSummary`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::model::{Callee, Kind, Node, Trace};
use crate::store::TraceRow;

/// Largest number of different annotations in a summary. X-Ray indexes 50 for each trace (X-Ray
/// quotas).
const ANNOTATIONS: usize = 200;
/// Largest length of a service's name: "segment documents", `name`.
const NAME: usize = 200;

/// Returns the summary of a trace.
pub(super) fn summarize(row: &TraceRow, trace: &Trace) -> Value {
    let found = Found::collect(trace);
    let root = trace
        .roots()
        .chain(trace.orphans())
        .find(|root| root.kind == Kind::Segment);
    let mut summary = json!({
        "Id": row.id,
        "StartTime": row.start,
        "Duration": milliseconds(trace.duration()),
        "ResponseTime": milliseconds(trace.response_time()),
        "HasFault": root.is_some_and(|root| root.fault),
        "HasError": root.is_some_and(|root| root.error),
        "HasThrottle": found.throttled,
        "IsPartial": trace.is_partial(),
        "Http": root.map_or_else(|| json!({}), |root| http(root)),
        "Annotations": found.annotations(),
        "Users": found.users(),
        "ServiceIds": services(&found.services),
        "ResourceARNs": list(&found.resources, "ARN"),
        "InstanceIds": list(&found.instances, "Id"),
        "AvailabilityZones": list(&found.zones, "Name"),
        // A number of 32 bits in the service's model.
        "Revision": row.revision.min(i64::from(i32::MAX)),
    });
    if let Some(root) = root {
        summary["EntryPoint"] = Service::of(root).value();
    }
    summary
}

/// Rounds to whole milliseconds, the resolution of the service's durations.
fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

/// A service that took part in a trace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Service {
    name: String,
    kind: Option<String>,
    account: Option<String>,
}

impl Service {
    fn of(segment: &Node) -> Self {
        Self {
            name: segment.name.chars().take(NAME).collect(),
            kind: segment.origin().map(str::to_owned),
            account: segment.text(&["aws", "account_id"]).map(str::to_owned),
        }
    }

    /// Returns the service that is inferred from a call.
    fn inferred(call: &Node) -> Self {
        Self {
            name: call.name.chars().take(NAME).collect(),
            kind: Some(Callee::of(call).kind),
            account: None,
        }
    }

    fn value(&self) -> Value {
        let mut members = Map::new();
        members.insert("Name".to_owned(), self.name.clone().into());
        members.insert("Names".to_owned(), json!([self.name]));
        for (member, text) in [("Type", &self.kind), ("AccountId", &self.account)] {
            if let Some(text) = text {
                members.insert(member.to_owned(), text.clone().into());
            }
        }
        members.into()
    }
}

fn services(services: &BTreeSet<Service>) -> Value {
    services.iter().map(Service::value).collect()
}

fn http(segment: &Node) -> Value {
    let mut http = Map::new();
    for (member, name) in [
        ("HttpURL", "url"),
        ("HttpMethod", "method"),
        ("UserAgent", "user_agent"),
        ("ClientIp", "client_ip"),
    ] {
        if let Some(text) = segment.text(&["http", "request", name]) {
            http.insert(member.to_owned(), text.into());
        }
    }
    // A number of 32 bits in the service's model.
    if let Some(status) = segment
        .status()
        .and_then(|status| i32::try_from(status).ok())
    {
        http.insert("HttpStatus".to_owned(), status.into());
    }
    http.into()
}

fn list(values: &BTreeSet<String>, member: &str) -> Value {
    values
        .iter()
        .map(|value| json!({ member: value }))
        .collect()
}

/// The facts in the documents of one trace.
#[derive(Debug, Default)]
struct Found {
    throttled: bool,
    services: BTreeSet<Service>,
    resources: BTreeSet<String>,
    instances: BTreeSet<String>,
    zones: BTreeSet<String>,
    /// The services of each user.
    users: BTreeMap<String, BTreeSet<Service>>,
    /// By name and value, the value as JSON in the form of the API: the services that have it.
    annotations: BTreeMap<(String, String), BTreeSet<Service>>,
}

impl Found {
    fn collect(trace: &Trace) -> Self {
        let mut found = Self::default();
        // The service of each node above the present one.
        let mut above: Vec<Service> = Vec::new();
        for place in trace.nodes() {
            above.truncate(place.depth());
            let service = match above.last() {
                Some(service) if place.kind == Kind::Subsegment => service.clone(),
                _ => Service::of(place),
            };
            if place.kind != Kind::Subsegment {
                found.services.insert(service.clone());
            }
            found.add(place, &service);
            above.push(service);
        }
        found
            .services
            .extend(trace.unanswered_calls().map(|call| Service::inferred(call)));
        found
    }

    fn add(&mut self, node: &Node, service: &Service) {
        self.throttled |= node.throttle;
        if let Some(user) = node.text(&["user"]) {
            self.users
                .entry(user.to_owned())
                .or_default()
                .insert(service.clone());
        }
        let text = |path: &[&str]| node.text(path).map(str::to_owned);
        self.resources.extend(text(&["resource_arn"]));
        self.instances.extend(text(&["aws", "ec2", "instance_id"]));
        self.zones
            .extend(text(&["aws", "ec2", "availability_zone"]));
        for (name, value) in node.annotations() {
            let member = match value {
                Value::String(_) => "StringValue",
                Value::Number(_) => "NumberValue",
                Value::Bool(_) => "BooleanValue",
                _ => continue,
            };
            let key = (name.to_owned(), json!({ member: value }).to_string());
            if self.annotations.len() < ANNOTATIONS || self.annotations.contains_key(&key) {
                self.annotations
                    .entry(key)
                    .or_default()
                    .insert(service.clone());
            }
        }
    }

    fn users(&self) -> Value {
        let user = |(name, of): (&String, &BTreeSet<Service>)| json!({ "UserName": name, "ServiceIds": services(of) });
        self.users.iter().map(user).collect()
    }

    fn annotations(&self) -> Value {
        let mut members: Map<String, Value> = Map::new();
        for ((name, value), of) in &self.annotations {
            let value: Value = serde_json::from_str(value).unwrap_or_default();
            let entry = json!({ "AnnotationValue": value, "ServiceIds": services(of) });
            let values = members.entry(name.clone()).or_insert_with(|| json!([]));
            if let Some(values) = values.as_array_mut() {
                values.push(entry);
            }
        }
        members.into()
    }
}
