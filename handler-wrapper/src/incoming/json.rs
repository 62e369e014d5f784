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
//! Each under the names of [`names::HEADERS`], or as `traceparent`, which counts where nothing else is
//! found. Names match in any case. Of several valid ones that of the latest hop counts, see [`Hop`],
//! of several of one the first.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use memchr::memmem;
use tracestitch_wire::{
    header::{self, TraceHeader},
    w3c,
};

mod place;

use self::place::{Hop, OTHERS, ObjectKind, Role};
use super::{
    cursor::{Cursor, unescape},
    names,
    text::carried,
};
use crate::{
    settings::carriers::{Carrier, Carriers},
    support::diagnostics::Once,
};

/// Largest text that is looked into: that of an SQS message (SQS developer guide, "Message
/// quotas"), in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// How many texts may lie in each other: an EventBridge event in an SNS envelope in a message.
const MAX_TEXTS: u8 = 2;

/// The first valid trace header in an event. An event of SQS has none: each record has its own.
pub(crate) fn find_in_event(event: &[u8], carriers: &Carriers) -> Option<TraceHeader> {
    static UNREADABLE: Once = Once::new();
    if !looks_like_json(event) || std::str::from_utf8(event).is_err() {
        UNREADABLE.warn(format_args!(
            "an event that was searched for a trace header is not JSON in UTF-8: it is handled \
             without one"
        ));
        return None;
    }
    find(event, carriers, ObjectKind::Event)
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
pub(crate) fn find_in_body(body: &[u8], carriers: &Carriers) -> Option<TraceHeader> {
    if body.len() > MAX_BODY {
        return None;
    }
    find(body, carriers, ObjectKind::Body)
}

fn find(json: &[u8], carriers: &Carriers, kind: ObjectKind) -> Option<TraceHeader> {
    let mut cursor = Cursor::new(json);
    let mut search = Search::new(carriers, 0);
    let kind = match kind {
        ObjectKind::Event if cursor.eat(b'[') => ObjectKind::Resolver,
        _ => kind,
    };
    search
        .run(&mut cursor, kind)
        .or_else(|| at_paths(json, carriers))
        .or(search.traceparent)
}

/// False when no header can be in JSON that is a string: to unescape it takes as long as parsing
/// does. It must be an object with one of the names of [`names`], before the quote that ends it, and
/// its escape.
fn may_name(raw: &[u8]) -> bool {
    let ends_a_name = |at: usize| names::ends_name(&raw[at + names::COMMON.len()..]);
    // White space before it may be escaped, too.
    let first = raw.trim_ascii_start().first();
    matches!(first, Some(b'{' | b'\\')) && memmem::find_iter(raw, names::COMMON).any(ends_a_name)
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
    carriers: &'a Carriers,
    /// What was found of all hops but the latest.
    others: [Option<TraceHeader>; OTHERS],
    /// Counts when nothing else is found.
    traceparent: Option<TraceHeader>,
    texts: u8,
}

impl<'a> Search<'a> {
    fn new(carriers: &'a Carriers, texts: u8) -> Self {
        Self {
            carriers,
            others: Default::default(),
            traceparent: None,
            texts,
        }
    }

    /// What is found in an object, but for `traceparent`.
    fn run(&mut self, cursor: &mut Cursor<'_>, kind: ObjectKind) -> Option<TraceHeader> {
        let latest = self.object(cursor, kind);
        latest.or_else(|| self.others.iter_mut().find_map(Option::take))
    }

    /// Gives back what is of the latest hop, and keeps what is not.
    fn keep(&mut self, hop: Hop, found: Option<TraceHeader>) -> Option<TraceHeader> {
        match (hop as usize).checked_sub(1) {
            None => found,
            Some(place) => {
                let kept = &mut self.others[place];
                *kept = kept.take().or(found);
                None
            }
        }
    }

    /// Moves past an object, unless a header of the latest hop is found in it.
    fn object(&mut self, cursor: &mut Cursor<'_>, kind: ObjectKind) -> Option<TraceHeader> {
        if !cursor.eat(b'{') {
            cursor.skip();
            return None;
        }
        let mut context = W3c::default();
        let found = self.members(cursor, kind, &mut context);
        if self.traceparent.is_none() && self.carriers.allow(Carrier::W3c) {
            self.traceparent = context.header();
        }
        found
    }

    fn members<'j>(
        &mut self,
        cursor: &mut Cursor<'j>,
        kind: ObjectKind,
        context: &mut W3c<'j>,
    ) -> Option<TraceHeader> {
        let carriers = self.carriers;
        while let Some(role) = cursor.find_key(|raw| kind.role(raw, carriers)) {
            let found = match role {
                Role::Header(hop) => {
                    let found = candidate(cursor).and_then(|text| carried(&text));
                    self.keep(hop, found)
                }
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
                Role::Object(ObjectKind::Record) => self.single_record(cursor),
                Role::Object(inner) => self.object(cursor, inner),
                Role::Text => {
                    let found = self.text(cursor, kind);
                    self.keep(Hop::Text, found)
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
        self.object(&mut first, ObjectKind::Record)
    }

    /// Moves past JSON in a string, and searches it.
    fn text(&mut self, cursor: &mut Cursor<'_>, kind: ObjectKind) -> Option<TraceHeader> {
        if self.texts == MAX_TEXTS || cursor.peek() != Some(b'"') {
            cursor.skip();
            return None;
        }
        let raw = cursor.string().filter(|raw| raw.len() <= MAX_BODY)?;
        let text = match kind {
            ObjectKind::Kinesis => BASE64_STANDARD.decode(raw).ok()?,
            _ if !may_name(raw) => return None,
            _ => unescape(raw)?.into_owned().into_bytes(),
        };
        let mut inner = Search::new(self.carriers, self.texts + 1);
        let found = inner.run(&mut Cursor::new(&text), ObjectKind::Body);
        self.traceparent = self.traceparent.take().or(inner.traceparent);
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
fn at_paths(json: &[u8], carriers: &Carriers) -> Option<TraceHeader> {
    carriers.paths.iter().find_map(|path| {
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
