//! Search for a trace header in JSON, at the places where events, envelopes and producers put one.
//!
//! | place | in |
//! |---|---|
//! | `headers`, `multiValueHeaders` | API Gateway, load balancer, function URL, VPC Lattice; embedded in a body |
//! | `request.headers` | AppSync; in a batch only the first resolver's, since all belong to one request |
//! | `Records[0].Sns`, and an SNS envelope in a body | `MessageAttributes`, then the JSON in `Message` |
//! | `Records[0].kinesis.data`, `Records[0].dynamodb.NewImage` | streams, if the batch is one record |
//! | `detail` | EventBridge, also in a body |
//! | the outermost object | Step Functions, direct invocations, bodies |
//!
//! [`places`](super::places) is the table of them. Names match in any case. If several headers are
//! valid, the most recent hop wins (see [`Hop`]); within one hop, the first. `traceparent` counts
//! if no other header is valid.
//!
//! JSON that breaks off or is invalid carries what stands before the error.

use std::borrow::Cow;
use std::fmt;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};
use tracestitch_wire::{header::TraceHeader, w3c};

use super::{
    names,
    places::{Evidence, HOPS, Hop, ObjectKind, Role},
    text::carried,
};
use crate::{
    settings::carriers::{Carrier, Carriers},
    support::diagnostics::Once,
};

/// Largest body that is searched, in bytes: the limit of an SQS message (SQS developer guide,
/// "Message quotas").
const MAX_BODY: usize = 1024 * 1024;

/// Nesting of JSON in strings: an EventBridge event in an SNS envelope in a message.
const MAX_TEXTS: u8 = 2;

/// Longest JSON value that may hold a header, in bytes: a list of all values of an HTTP header.
const MAX_VALUE: usize = 16 * 1024;

/// Properties of an event that decide about its trace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// First valid trace header. An event of SQS has none: each record has its header.
    pub(crate) header: Option<TraceHeader>,
    /// Name of the event source in rules of sampling.
    pub(crate) source: &'static str,
    /// Path of an HTTP request.
    pub(crate) path: Option<String>,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            header: None,
            source: Evidence::None.source(),
            path: None,
        }
    }
}

/// Reads an event of Lambda, once.
pub(crate) fn read_event(event: &[u8], carriers: &Carriers) -> Event {
    static UNREADABLE: Once = Once::new();
    let mut search = Search::new(carriers, 0);
    // The source is known at the end of the event only.
    search.to_the_end = true;
    let text = std::str::from_utf8(event).ok();
    let Some(text) = text.filter(|text| looks_like_json(text)) else {
        UNREADABLE.warn(format_args!(
            "expected an event in JSON and UTF-8 to search it for a trace header; it is handled \
             without one"
        ));
        return Event::default();
    };
    search.outermost(text, ObjectKind::Event);
    let source = search.evidence.source();
    Event {
        path: search.path.take().filter(|_| source == "http"),
        header: search.header(text),
        source,
    }
}

/// Returns the first valid trace header in a text that came in an event, such as a message body.
/// A text that is not a JSON object, and one over 1 MiB, carries none.
pub(crate) fn find_in_body(body: &[u8], carriers: &Carriers) -> Option<TraceHeader> {
    let text = std::str::from_utf8(body).ok()?;
    if text.len() > MAX_BODY {
        return None;
    }
    let mut search = Search::new(carriers, 0);
    search.outermost(text, ObjectKind::Body);
    search.header(text)
}

/// Returns false for a text that cannot be JSON, by its two ends: a parser would have to read the
/// whole text.
pub(crate) fn looks_like_json(text: &str) -> bool {
    let text = text.trim_ascii().as_bytes();
    match (text.first(), text.last()) {
        (Some(b'{'), Some(last)) => *last == b'}',
        (Some(b'['), Some(last)) => *last == b']',
        (Some(b'"'), Some(last)) => *last == b'"',
        (Some(first), _) => {
            *first == b'-'
                || first.is_ascii_digit()
                || [&b"true"[..], b"false", b"null"].contains(&text)
        }
        (None, _) => false,
    }
}

/// State of a search through one text.
struct Search<'c> {
    carriers: &'c Carriers,
    /// The first valid header of each hop.
    found: [Option<TraceHeader>; HOPS],
    traceparent: Option<TraceHeader>,
    evidence: Evidence,
    path: Option<String>,
    /// Number of strings around this text.
    texts: u8,
    /// True if the search continues after the header of the most recent hop.
    to_the_end: bool,
}

impl<'c> Search<'c> {
    fn new(carriers: &'c Carriers, texts: u8) -> Self {
        Self {
            carriers,
            found: Default::default(),
            traceparent: None,
            evidence: Evidence::None,
            path: None,
            texts,
            to_the_end: false,
        }
    }

    /// Searches a text whose outermost object is of this kind.
    fn outermost(&mut self, json: &str, kind: ObjectKind) {
        match json.trim_ascii_start().as_bytes().first() {
            Some(b'{') => self.object(json, kind),
            Some(b'[') if kind == ObjectKind::Event => {
                self.elements(json, |search, first, _| {
                    search.object(first, ObjectKind::Resolver);
                });
            }
            _ => {}
        }
    }

    /// Returns the header that wins, once the text has been searched.
    fn header(self, json: &str) -> Option<TraceHeader> {
        let carriers = self.carriers;
        let mut hops = self.found.into_iter().flatten();
        hops.next()
            .or_else(|| at_paths(json, carriers))
            .or(self.traceparent)
    }

    fn keep(&mut self, hop: Hop, header: Option<TraceHeader>) {
        let kept = &mut self.found[hop as usize];
        *kept = kept.take().or(header);
    }

    /// Searches an object. Errors in the JSON end the search.
    fn object(&mut self, json: &str, kind: ObjectKind) {
        if !json.trim_ascii_start().starts_with('{') {
            return;
        }
        let mut context = W3c::default();
        let members = Members {
            search: self,
            kind,
            context: &mut context,
        };
        let _ = serde_json::Deserializer::from_str(json).deserialize_map(members);
        if self.traceparent.is_none() && self.carriers.allow(Carrier::W3c) {
            self.traceparent = context.header();
        }
    }

    /// Calls `read` with the first element of a list, and whether it is the only one.
    fn elements(&mut self, json: &str, read: impl FnOnce(&mut Self, &str, bool)) {
        if !json.trim_ascii_start().starts_with('[') {
            return;
        }
        if let Ok((Some(first), only)) =
            serde_json::Deserializer::from_str(json).deserialize_seq(FirstElement)
        {
            read(self, first.get(), only);
        }
    }

    /// Reads the first record. Its headers count if it is the only one: the records of a batch have
    /// traces of their own.
    fn records(&mut self, json: &str) {
        self.elements(json, |search, first, only| {
            let mut record = Search {
                to_the_end: true,
                ..Search::new(search.carriers, search.texts)
            };
            record.object(first, ObjectKind::Record);
            search.evidence = search.evidence.max(record.evidence);
            if only {
                for (kept, found) in search.found.iter_mut().zip(record.found) {
                    *kept = kept.take().or(found);
                }
                search.traceparent = search.traceparent.take().or(record.traceparent);
            }
        });
    }

    /// Searches JSON that is a string of this text.
    fn text(&mut self, text: &str) {
        if self.texts == MAX_TEXTS || text.len() > MAX_BODY {
            return;
        }
        let mut inner = Search::new(self.carriers, self.texts + 1);
        inner.outermost(text, ObjectKind::Body);
        self.traceparent = self.traceparent.take().or(inner.traceparent);
        let best = inner.found.into_iter().flatten().next();
        self.keep(Hop::Text, best);
    }

    /// Reads the value of a key with a meaning.
    fn value(&mut self, role: Role, json: &str, context: &mut W3c) {
        match role {
            Role::Header(hop) => {
                let header = candidate(json).and_then(|text| carried(&text));
                self.keep(hop, header);
            }
            Role::Parent => {
                let parsed = candidate(json).and_then(|text| w3c::parse(text.trim()).ok());
                context.parent = context.parent.take().or(parsed);
            }
            Role::State => context.state = context.state.take().or_else(|| joined(json)),
            Role::Object(kind) => self.object(json, kind),
            Role::Records => self.records(json),
            Role::Text => {
                let text = names::may_occur(json).then(|| string(json)).flatten();
                if let Some(text) = text {
                    self.text(&text);
                }
            }
            Role::Base64 => {
                let bytes = string(json).and_then(|text| BASE64_STANDARD.decode(&*text).ok());
                let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
                if let Some(text) = text {
                    self.text(&text);
                }
            }
            Role::Path => {
                if let Some(path) = string(json) {
                    self.path = Some(path.into_owned());
                }
            }
            Role::Source => {
                if let Some(source) = string(json) {
                    self.evidence = self.evidence.max(Evidence::of_record(&source));
                }
            }
            Role::Presence => {}
        }
    }
}

/// The two fields of a W3C trace context in one object, which come in any order.
#[derive(Default)]
struct W3c {
    parent: Option<TraceHeader>,
    state: Option<String>,
}

impl W3c {
    fn header(self) -> Option<TraceHeader> {
        let parent = self.parent?;
        Some(match self.state {
            Some(state) => parent.with_state(&state),
            None => parent,
        })
    }
}

/// Reads the members of an object.
struct Members<'s, 'c> {
    search: &'s mut Search<'c>,
    kind: ObjectKind,
    context: &'s mut W3c,
}

impl<'j> Visitor<'j> for Members<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'j>>(self, mut map: A) -> Result<(), A::Error> {
        let Self {
            search,
            kind,
            context,
        } = self;
        let carriers = search.carriers;
        while let Some((role, evidence)) = map.next_key_seed(Key { kind, carriers })? {
            match role {
                Some(role) => {
                    search.value(role, map.next_value::<&RawValue>()?.get(), context);
                    search.evidence = search.evidence.max(evidence);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            let latest = &search.found[Hop::Own as usize];
            if latest.is_some() && !search.to_the_end {
                return Err(A::Error::custom("found"));
            }
        }
        Ok(())
    }
}

/// Looks up a key without a copy of it.
struct Key<'c> {
    kind: ObjectKind,
    carriers: &'c Carriers,
}

impl<'j> DeserializeSeed<'j> for Key<'_> {
    type Value = (Option<Role>, Evidence);

    fn deserialize<D: Deserializer<'j>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = (Option<Role>, Evidence);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.kind.role(key, self.carriers))
    }
}

/// Reads the first element of a list, and whether it is the only one.
struct FirstElement;

impl<'j> Visitor<'j> for FirstElement {
    type Value = (Option<&'j RawValue>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'j>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let first = list.next_element()?;
        let mut only = true;
        while list.next_element::<IgnoredAny>()?.is_some() {
            only = false;
        }
        Ok((first, only))
    }
}

/// Returns the text of a JSON string.
fn string(json: &str) -> Option<Cow<'_, str>> {
    /// Borrows the text unless it has escapes.
    #[derive(serde::Deserialize)]
    struct Text<'j>(#[serde(borrow)] Cow<'j, str>);

    serde_json::from_str(json).ok().map(|Text(text)| text)
}

/// Returns the text of a value that may be a header: a string, a list that begins with one, or an
/// attribute (`Value` of SNS, `S` of DynamoDB).
fn candidate(json: &str) -> Option<Cow<'_, str>> {
    if json.len() > MAX_VALUE {
        return None;
    }
    if json.starts_with('"') {
        return string(json);
    }
    let text = match serde_json::from_str(json).ok()? {
        Value::Array(list) => list.into_iter().next(),
        Value::Object(mut attribute) => ["Value", "S", "stringValue", "StringValue"]
            .into_iter()
            .find_map(|key| attribute.remove(key).filter(Value::is_string)),
        _ => None,
    };
    match text? {
        Value::String(text) => Some(text.into()),
        _ => None,
    }
}

/// Returns the text of a header that may come several times and is one list then (W3C Trace
/// Context, section 3.3.1).
fn joined(json: &str) -> Option<String> {
    if !json.starts_with('[') {
        return candidate(json).map(Cow::into_owned);
    }
    let short = Some(json).filter(|json| json.len() <= MAX_VALUE)?;
    let all: Vec<String> = serde_json::from_str(short).ok()?;
    Some(all.join(","))
}

/// Returns the first valid header at the paths that the user named (`TRACESTITCH_PATHS`).
fn at_paths(json: &str, carriers: &Carriers) -> Option<TraceHeader> {
    if carriers.paths.is_empty() {
        return None;
    }
    let document: Value = serde_json::from_str(json).ok()?;
    carriers.paths.iter().find_map(|path| {
        let value = path
            .split('.')
            .try_fold(&document, |value, key| value.as_object()?.get(key))?;
        let json = value.to_string();
        let text = candidate(&json)?;
        carried(&text).or_else(|| w3c::parse(text.trim()).ok())
    })
}

#[cfg(test)]
mod tests;
