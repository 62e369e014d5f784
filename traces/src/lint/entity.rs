//! Segments and subsegments: their members, and rules that span several members.
//!
//! The schema accepts any text as the name of a subsegment; the developer guide names one rule for
//! both, which is applied here. Text without a limit in the schema has the developer guide's
//! general limit, except for messages and paths, which the official SDKs send at any length.

use std::collections::HashSet;

use serde_json::Value;

use super::object::{Object, Refusal};
use super::rule::Member::{Optional, Required};
use super::rule::Rule::{
    Annotations, Facts, Flag, Id, IdOr, Integer, List, Metadata, Name, Number, OneOf, Text, TraceId,
};
use super::rule::{Member, Rule, STRING};

const TEXT: Rule = Text(STRING);
const LONG_TEXT: Rule = Text(usize::MAX);
const ANY: usize = usize::MAX;
/// Largest number of links of a segment (developer guide, "Linking traces").
const LINKS: usize = 20;

/// Members of a whole document only.
pub(super) static DOCUMENT: &[Member] = &[
    Required("trace_id", TraceId),
    Optional("parent_id", Id),
    Optional("type", OneOf(&["subsegment"])),
];

/// Members of every segment and subsegment.
static ENTITY: &[Member] = &[
    Required("name", Name),
    Required("id", Id),
    Required("start_time", Number),
    Optional("end_time", Number),
    Optional("in_progress", Flag),
    Optional("error", Flag),
    Optional("fault", Flag),
    Optional("throttle", Flag),
    Optional("traced", Flag),
    Optional("namespace", TEXT),
    Optional("origin", TEXT),
    Optional("user", TEXT),
    Optional("resource_arn", TEXT),
    Optional("precursor_ids", List(ANY, &Id)),
    Optional("http", HTTP),
    Optional("sql", SQL),
    Optional("aws", AWS),
    Optional("service", Facts(&[Optional("version", TEXT)])),
    Optional("annotations", Annotations),
    Optional("metadata", Metadata),
    Optional("cause", IdOr(&CAUSE)),
    Optional("links", List(LINKS, &LINK)),
    Optional("subsegments", List(ANY, &Rule::Object(&[]))),
];

const HTTP: Rule = Rule::Object(&[
    Optional(
        "request",
        Rule::Object(&[
            Optional("method", TEXT),
            Optional("url", TEXT),
            Optional("user_agent", TEXT),
            Optional("client_ip", TEXT),
            Optional("x_forwarded_for", Flag),
            Optional("traced", Flag),
        ]),
    ),
    Optional(
        "response",
        Rule::Object(&[
            Optional("status", Integer),
            Optional("content_length", Integer),
        ]),
    ),
]);

const SQL: Rule = Rule::Object(&[
    Optional("connection_string", TEXT),
    Optional("url", TEXT),
    Optional("sanitized_query", TEXT),
    Optional("database_type", TEXT),
    Optional("database_version", TEXT),
    Optional("driver_version", TEXT),
    Optional("user", TEXT),
    Optional("preparation", OneOf(&["call", "statement"])),
]);

/// Members that the schema or the developer guide describes; each service adds its own.
const AWS: Rule = Facts(&[
    Optional("account_id", TEXT),
    Optional("operation", TEXT),
    Optional("region", TEXT),
    Optional("request_id", TEXT),
    Optional("queue_url", TEXT),
    Optional("table_name", TEXT),
    Optional("ecs", Rule::Object(&[Optional("container", TEXT)])),
    Optional(
        "ec2",
        Rule::Object(&[
            Optional("instance_id", TEXT),
            Optional("availability_zone", TEXT),
        ]),
    ),
    Optional(
        "elastic_beanstalk",
        Rule::Object(&[
            Optional("environment_name", TEXT),
            Optional("version_label", TEXT),
            Optional("deployment_id", Number),
        ]),
    ),
    Optional("tracing", Rule::Object(&[Optional("sdk", TEXT)])),
    Optional(
        "xray",
        Rule::Object(&[
            Optional("sdk", TEXT),
            Optional("sdk_version", TEXT),
            Optional("sampling_rule_name", TEXT),
            Optional("auto_instrumentation", Flag),
        ]),
    ),
    Optional(
        "cloudwatch_logs",
        List(
            ANY,
            &Rule::Object(&[Optional("log_group", TEXT), Optional("arn", TEXT)]),
        ),
    ),
]);

const CAUSE: Rule = Rule::Object(&[
    Optional("working_directory", LONG_TEXT),
    Optional("paths", List(ANY, &LONG_TEXT)),
    Optional("exceptions", List(ANY, &EXCEPTION)),
]);

const EXCEPTION: Rule = Rule::Object(&[
    Required("id", Id),
    Optional("message", LONG_TEXT),
    Optional("type", LONG_TEXT),
    Optional("remote", Flag),
    Optional("truncated", Integer),
    Optional("skipped", Integer),
    Optional("cause", Id),
    Optional(
        "stack",
        List(
            ANY,
            &Rule::Object(&[
                Optional("path", LONG_TEXT),
                Optional("line", Integer),
                Optional("label", LONG_TEXT),
            ]),
        ),
    ),
]);

/// Not part of the schema: the form that the OpenTelemetry exporter for X-Ray sends.
const LINK: Rule = Rule::Object(&[
    Required("id", Id),
    Required("trace_id", TraceId),
    Optional("attributes", Rule::Object(&[])),
]);

/// Checks a segment or subsegment and those inside it. `ids` holds the ids found so far.
pub(super) fn check(entity: &Object<'_>, ids: &mut HashSet<String>) -> Result<(), Refusal> {
    ENTITY.iter().try_for_each(|member| member.check(entity))?;
    times(entity)?;
    let id = entity.members["id"].as_str().unwrap_or_default();
    if !ids.insert(id.to_ascii_lowercase()) {
        let reason = format!("{id} is used twice in this document");
        return Err(entity.refuse("id", reason));
    }
    let inner = entity.get("subsegments").and_then(Value::as_array);
    for (index, value) in inner.into_iter().flatten().enumerate() {
        let path = format!("{}[{index}]", entity.path("subsegments"));
        check(&Object::at(path, value)?, ids)?;
    }
    Ok(())
}

/// Checks that the times are seconds and that there is either an end or a mark of progress.
fn times(entity: &Object<'_>) -> Result<(), Refusal> {
    let number = |member: &str| entity.get(member).and_then(Value::as_f64);
    let start = number("start_time").unwrap_or_default();
    // 1e11 seconds are the year 5138; a larger number is in milliseconds.
    if !(0.0..1e11).contains(&start) {
        let reason = format!("{start}, expected seconds since 1970");
        return Err(entity.refuse("start_time", reason));
    }
    let in_progress = entity.get("in_progress").and_then(Value::as_bool);
    match (number("end_time"), in_progress) {
        (Some(_), Some(true)) => {
            let reason = "true beside end_time, expected one of the two";
            Err(entity.refuse("in_progress", reason))
        }
        (Some(end), _) if end < start => {
            let reason = format!("{end} is before start_time {start}");
            Err(entity.refuse("end_time", reason))
        }
        (None, None | Some(false)) => {
            Err(entity.refuse("end_time", "missing, expected it or in_progress: true"))
        }
        _ => Ok(()),
    }
}
