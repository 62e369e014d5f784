//! Looks for a trace header in JSON: at the places where events, envelopes and producers put one.
//!
//! | place | in |
//! |---|---|
//! | `headers`, `multiValueHeaders` | API Gateway, load balancer, function URL, VPC Lattice; embedded in a body |
//! | `request.headers` | AppSync; of a batch, the first resolver's: all are of one request |
//! | `Records[0].Sns`, and an SNS envelope in a body | `MessageAttributes`, then the JSON in `Message` |
//! | `Records[0].kinesis.data`, `Records[0].dynamodb.NewImage` | streams, when the batch is one record |
//! | `detail` | EventBridge, also in a body |
//! | the outermost object | Step Functions, direct invokes, bodies |
//!
//! Each under the names of [`is_header`], or as `traceparent`, which counts where nothing else is
//! found. Names match in any case; of several valid ones the first wins.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use memchr::memmem;
use tracestitch_wire::{header::TraceHeader, w3c};

use super::{
    carried,
    cursor::{Cursor, unescape},
    sources::{Source, Sources},
};
use crate::report::Once;

/// Largest text that is looked into: that of an SQS message (SQS developer guide, "Message
/// quotas"), in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// How many texts may lie in each other: an EventBridge event in an SNS envelope in a message.
const MAX_TEXTS: u8 = 2;

/// The first valid trace header in an event. An event of SQS has none: each record has its own.
pub(crate) fn find_in_event(event: &[u8], sources: &Sources) -> Option<TraceHeader> {
    static UNREADABLE: Once = Once::new();
    if !looks_like_json(event) || std::str::from_utf8(event).is_err() {
        UNREADABLE.warn(format_args!(
            "an event that was searched for a trace header is not JSON in UTF-8: it is handled \
             without one"
        ));
        return None;
    }
    find(event, sources, Place::Event)
}

/// False for what cannot be JSON, by its two ends: most mistakes are seen there, and a parser
/// would have to walk through all of it.
pub(crate) fn looks_like_json(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    match (text.first(), text.last()) {
        (Some(b'{'), Some(last)) => *last == b'}',
        (Some(b'['), Some(last)) => *last == b']',
        (Some(b'"'), Some(last)) => *last == b'"',
        (Some(first), _) => *first == b'-' || first.is_ascii_digit() || is_literal(text),
        (None, _) => false,
    }
}

fn is_literal(text: &[u8]) -> bool {
    [&b"true"[..], b"false", b"null"].contains(&text)
}

/// The first valid trace header in a text that came in an event, such as a message body. What is
/// not a JSON object carries none.
pub(crate) fn find_in_body(body: &[u8], sources: &Sources) -> Option<TraceHeader> {
    if body.len() > MAX_BODY {
        return None;
    }
    find(body, sources, Place::Body)
}

/// False when no name of a trace header is in `text`: most bodies with many fields end here.
fn may_carry(text: &[u8]) -> bool {
    // "Trace" and "trace" as well as "TRACE": a vectorised search for what they share.
    memmem::find(text, b"race").is_some() || memmem::find(text, b"RACE").is_some()
}

fn find(json: &[u8], sources: &Sources, place: Place) -> Option<TraceHeader> {
    let mut cursor = match place {
        Place::Body => Cursor::hoping(json, may_carry),
        // In an event a name may stand in the base64 of a stream's record.
        _ => Cursor::new(json),
    };
    let mut search = Search {
        sources,
        traceparent: None,
        texts: 0,
    };
    let place = match place {
        Place::Event if cursor.eat(b'[') => Place::Resolver,
        _ => place,
    };
    search
        .object(&mut cursor, place)
        .or_else(|| at_paths(json, sources))
        .or(search.traceparent)
}

/// Names of fields, attributes and HTTP headers that hold a header of X-Ray, or a trace id.
fn is_header(key: &[u8]) -> bool {
    [
        "X-Amzn-Trace-Id",
        "_traceId",
        "traceHeader",
        "AWSTraceHeader",
    ]
    .into_iter()
    .any(|name| key.eq_ignore_ascii_case(name.as_bytes()))
}

/// What kind of object this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Event,
    Body,
    Headers,
    /// The first of a list, which is AppSync's batch.
    Resolver,
    Request,
    /// An envelope's own fields: its attributes, or EventBridge's detail.
    Envelope,
    Record,
    Kinesis,
    DynamoDb,
    Fields,
}

impl Place {
    /// Whose fields here hold headers.
    fn source(self) -> Option<Source> {
        match self {
            Self::Headers => Some(Source::Http),
            Self::Envelope => Some(Source::Envelope),
            Self::Event | Self::Body | Self::Fields => Some(Source::Embedded),
            Self::Resolver | Self::Request | Self::Record | Self::Kinesis | Self::DynamoDb => None,
        }
    }

    /// The object under `key`, if headers may be in it.
    fn under(self, key: &[u8]) -> Option<Self> {
        let is = |name: &str| key.eq_ignore_ascii_case(name.as_bytes());
        match self {
            Self::Event | Self::Body => match () {
                () if is("headers") || is("multiValueHeaders") => Some(Self::Headers),
                () if is("detail") || is("MessageAttributes") => Some(Self::Envelope),
                () if is("request") => Some(Self::Request),
                () if is("Records") && self == Self::Event => Some(Self::Record),
                () => None,
            },
            Self::Resolver => is("request").then_some(Self::Request),
            Self::Request => is("headers").then_some(Self::Headers),
            Self::Record if is("Sns") => Some(Self::Body),
            Self::Record if is("kinesis") => Some(Self::Kinesis),
            Self::Record if is("dynamodb") => Some(Self::DynamoDb),
            Self::DynamoDb => is("NewImage").then_some(Self::Fields),
            _ => None,
        }
    }
}

/// The trace context of the W3C in one object: its two fields come in any order.
#[derive(Default)]
struct W3c<'j> {
    parent: Option<TraceHeader>,
    state: Option<Cow<'j, str>>,
}

impl W3c<'_> {
    fn header(self) -> Option<TraceHeader> {
        let (parent, state) = (self.parent?, self.state);
        Some(match state {
            Some(state) => parent.with_state(&state),
            None => parent,
        })
    }
}

struct Search<'a> {
    sources: &'a Sources,
    /// Counts when nothing else is found.
    traceparent: Option<TraceHeader>,
    texts: u8,
}

impl Search<'_> {
    /// Moves past an object, unless a header is found in it.
    fn object(&mut self, cursor: &mut Cursor<'_>, place: Place) -> Option<TraceHeader> {
        if !cursor.eat(b'{') {
            cursor.skip();
            return None;
        }
        let mut context = W3c::default();
        let found = self.members(cursor, place, &mut context);
        if self.traceparent.is_none() && self.sources.allow(Source::W3c) {
            self.traceparent = context.header();
        }
        found
    }

    fn members<'j>(
        &mut self,
        cursor: &mut Cursor<'j>,
        place: Place,
        context: &mut W3c<'j>,
    ) -> Option<TraceHeader> {
        while let Some(raw) = cursor.next_key() {
            let Some(key) = unescape(raw) else {
                cursor.skip()?;
                continue;
            };
            let key = key.as_bytes();
            let allowed = place
                .source()
                .is_some_and(|source| self.sources.allow(source));
            let found = if allowed && is_header(key) {
                candidate(cursor).and_then(|text| carried(&text))
            } else if allowed && key.eq_ignore_ascii_case(w3c::NAME.as_bytes()) {
                let parsed = candidate(cursor).and_then(|text| w3c::parse(text.trim()).ok());
                context.parent = context.parent.take().or(parsed);
                None
            } else if allowed && key.eq_ignore_ascii_case(w3c::STATE_NAME.as_bytes()) {
                let state = candidate(cursor);
                context.state = context.state.take().or(state);
                None
            } else {
                match place.under(key) {
                    Some(Place::Record) => self.single_record(cursor),
                    Some(inner) => self.object(cursor, inner),
                    None => self.text(cursor, place, key),
                }
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The records of a batch have traces of their own: only one alone is the invocation's.
    fn single_record(&mut self, cursor: &mut Cursor<'_>) -> Option<TraceHeader> {
        if !cursor.eat(b'[') {
            cursor.skip();
            return None;
        }
        if !cursor.next_element() {
            return None;
        }
        let mut rest = cursor.clone();
        rest.skip()?;
        let mut single = true;
        while rest.next_element() {
            single = false;
            rest.skip()?;
        }
        let found = single.then(|| self.object(cursor, Place::Record)).flatten();
        *cursor = rest;
        found
    }

    /// JSON in a string: the message of an SNS envelope, the data of a Kinesis record.
    fn text(&mut self, cursor: &mut Cursor<'_>, place: Place, key: &[u8]) -> Option<TraceHeader> {
        let data = place == Place::Kinesis && key == b"data";
        let message = place == Place::Body && key == b"Message";
        if !(data || message) || self.texts == MAX_TEXTS {
            cursor.skip();
            return None;
        }
        if cursor.peek() != Some(b'"') {
            cursor.skip();
            return None;
        }
        let raw = cursor.string().filter(|raw| raw.len() <= MAX_BODY)?;
        let text = if data {
            BASE64_STANDARD.decode(raw).ok()?
        } else {
            unescape(raw)?.into_owned().into_bytes()
        };
        self.texts += 1;
        let found = self.object(&mut Cursor::new(&text), Place::Body);
        self.texts -= 1;
        found
    }
}

/// A value that may be a header, and moves past it: a string, a list that begins with one, or an
/// attribute (SNS `{"Type","Value"}`, DynamoDB `{"S"}`).
fn candidate<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, str>> {
    match cursor.peek()? {
        b'"' => unescape(cursor.string()?),
        b'[' => {
            cursor.eat(b'[');
            let mut first = None;
            while cursor.next_element() {
                if first.is_none() && cursor.peek() == Some(b'"') {
                    first = cursor.string();
                } else {
                    first = first.or(Some(b""));
                    cursor.skip()?;
                }
            }
            unescape(first?)
        }
        b'{' => {
            cursor.eat(b'{');
            let mut value = None;
            while let Some(key) = cursor.next_key() {
                if value.is_none()
                    && matches!(key, b"Value" | b"S" | b"stringValue" | b"StringValue")
                    && cursor.peek() == Some(b'"')
                {
                    value = cursor.string();
                } else {
                    cursor.skip()?;
                }
            }
            unescape(value?)
        }
        _ => {
            cursor.skip();
            None
        }
    }
}

/// The first valid header at the paths that the user named.
fn at_paths(json: &[u8], sources: &Sources) -> Option<TraceHeader> {
    sources.paths.iter().find_map(|path| {
        let mut cursor = Cursor::new(json);
        for wanted in path.split('.') {
            if !cursor.eat(b'{') {
                return None;
            }
            loop {
                let key = unescape(cursor.next_key()?);
                if key.is_some_and(|key| key == wanted) {
                    break;
                }
                cursor.skip()?;
            }
        }
        let text = candidate(&mut cursor)?;
        carried(&text).or_else(|| w3c::parse(text.trim()).ok())
    })
}

#[cfg(test)]
mod tests;
