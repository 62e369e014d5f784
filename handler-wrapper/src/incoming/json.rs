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
use memchr::{memchr, memmem};
use tracestitch_wire::{
    header::{self, TraceHeader},
    w3c,
};

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

fn find(json: &[u8], sources: &Sources, place: Place) -> Option<TraceHeader> {
    let mut cursor = Cursor::new(json);
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

/// Length of the longest name of [`Place::role`], in bytes.
const LONGEST: usize = "multiValueHeaders".len();

/// A key without its escapes, in `name`; None for one that is no name. Names have letters, `-` and
/// `_`, of which each is escaped by its number alone.
fn unescape_name<'n>(raw: &[u8], name: &'n mut [u8; LONGEST]) -> Option<&'n [u8]> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let (mut rest, mut length) = (raw, 0);
    while let [byte, others @ ..] = rest {
        let place = name.get_mut(length)?;
        (*place, rest) = match (byte, others) {
            (b'\\', [b'u', b'0', b'0', high, low, others @ ..]) => {
                let byte = digit(*high)? << 4 | digit(*low)?;
                (u8::try_from(byte).ok()?, others)
            }
            (b'\\', _) => return None,
            (byte, others) => (*byte, others),
        };
        length += 1;
    }
    name.get(..length)
}

/// False when no header can be in JSON that is a string: to unescape it takes as long as parsing
/// does. It must be an object with one of the names of [`Place::role`], before the quote that ends
/// it, and its escape. In it, names are known as they are written here and in small letters.
fn may_name(raw: &[u8]) -> bool {
    const WORD: &[u8] = b"race";
    let ends_a_name = |at: usize| {
        let rest = &raw[at + WORD.len()..];
        let end: &[u8] = match rest.first() {
            Some(b'I' | b'i') => b"Id\\",
            Some(b'H' | b'h') => b"Header\\",
            Some(b'P' | b'p') => b"parent\\",
            Some(b'-') => b"-Id\\",
            _ => return false,
        };
        rest.get(..end.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(end))
    };
    // White space before it may be escaped, too.
    let first = raw.trim_ascii_start().first();
    matches!(first, Some(b'{' | b'\\')) && memmem::find_iter(raw, WORD).any(ends_a_name)
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

    /// What is looked for under the key `raw`, which has its escapes still.
    #[inline]
    fn role(self, raw: &[u8], sources: &Sources) -> Option<Role> {
        let mut name = [0; LONGEST];
        let key = match memchr(b'\\', raw) {
            Some(_) => unescape_name(raw, &mut name)?,
            None => raw,
        };
        let is = |name: &str| key.eq_ignore_ascii_case(name.as_bytes());
        let allowed = self.source().is_some_and(|source| sources.allow(source));
        match self {
            _ if allowed && is_header(key) => Some(Role::Header),
            _ if allowed && is(w3c::NAME) => Some(Role::Parent),
            _ if allowed && is(w3c::STATE_NAME) => Some(Role::State),
            Self::Kinesis if key == b"data" => Some(Role::Text),
            Self::Body if key == b"Message" => Some(Role::Text),
            _ => self.under(key).map(Role::Object),
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

/// What is looked for under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A header of X-Ray.
    Header,
    /// `traceparent`.
    Parent,
    /// `tracestate`.
    State,
    /// An object with more of them.
    Object(Place),
    /// JSON in a string: the message of an SNS envelope, the data of a Kinesis record.
    Text,
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
        let sources = self.sources;
        while let Some(role) = cursor.find_key(|raw| place.role(raw, sources)) {
            let found = match role {
                Role::Header => candidate(cursor).and_then(|text| carried(&text)),
                Role::Parent => {
                    let parsed = candidate(cursor).and_then(|text| w3c::parse(text.trim()).ok());
                    context.parent = context.parent.take().or(parsed);
                    None
                }
                Role::State => {
                    let state = joined(cursor);
                    context.state = context.state.take().or(state);
                    None
                }
                Role::Object(Place::Record) => self.single_record(cursor),
                Role::Object(inner) => self.object(cursor, inner),
                Role::Text => self.text(cursor, place),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The records of a batch have traces of their own: only one alone is the invocation's.
    fn single_record(&mut self, cursor: &mut Cursor<'_>) -> Option<TraceHeader> {
        let mut first = cursor.clone();
        cursor.skip()?;
        if !(first.eat(b'[') && first.next_element()) {
            return None;
        }
        let mut second = first.clone();
        second.skip()?;
        if second.next_element() {
            return None;
        }
        self.object(&mut first, Place::Record)
    }

    /// Moves past JSON in a string, and searches it.
    fn text(&mut self, cursor: &mut Cursor<'_>, place: Place) -> Option<TraceHeader> {
        if self.texts == MAX_TEXTS || cursor.peek() != Some(b'"') {
            cursor.skip();
            return None;
        }
        let raw = cursor.string().filter(|raw| raw.len() <= MAX_BODY)?;
        let text = match place {
            Place::Kinesis => BASE64_STANDARD.decode(raw).ok()?,
            _ if !may_name(raw) => return None,
            _ => unescape(raw)?.into_owned().into_bytes(),
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
            let mut list = cursor.clone();
            cursor.skip()?;
            list.eat(b'[');
            unescape(list.string()?)
        }
        b'{' => {
            let mut object = cursor.clone();
            cursor.skip()?;
            object.eat(b'{');
            let is_value =
                |key: &[u8]| matches!(key, b"Value" | b"S" | b"stringValue" | b"StringValue");
            while object.find_key(|key| is_value(key).then_some(())).is_some() {
                if object.peek() == Some(b'"') {
                    return unescape(object.string()?);
                }
                object.skip()?;
            }
            None
        }
        _ => {
            cursor.skip();
            None
        }
    }
}

/// The same for a header that may come several times, which is one list then (W3C Trace Context,
/// section 3.3.1).
fn joined<'a>(cursor: &mut Cursor<'a>) -> Option<Cow<'a, str>> {
    if cursor.peek() != Some(b'[') {
        return candidate(cursor);
    }
    let mut list = cursor.clone();
    cursor.skip()?;
    list.eat(b'[');
    let mut all = String::new();
    // More is not kept of it: the rest of a stranger's list is left alone.
    while all.len() <= header::MAX_LENGTH && list.next_element() {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&unescape(list.string()?)?);
    }
    Some(all.into())
}

/// The first valid header at the paths that the user named.
fn at_paths(json: &[u8], sources: &Sources) -> Option<TraceHeader> {
    sources.paths.iter().find_map(|path| {
        let mut cursor = Cursor::new(json);
        for wanted in path.split('.') {
            if !cursor.eat(b'{') {
                return None;
            }
            cursor.find_key(|key| (unescape(key)? == wanted).then_some(()))?;
        }
        let text = candidate(&mut cursor)?;
        carried(&text).or_else(|| w3c::parse(text.trim()).ok())
    })
}

#[cfg(test)]
mod tests;
