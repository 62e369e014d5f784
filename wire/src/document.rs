//! Segment and subsegment documents, within the limits of the X-Ray service.
//!
//! Every limit is kept by construction: a [`Name`] has only characters that X-Ray accepts, a
//! [`Text`] at most 250, an annotation key only letters, digits and underscores, a metadata
//! namespace is always an object. What does not fit is cleaned or cut, never refused: a tracer
//! has nobody to refuse it to.
//!
//! Source: X-Ray developer guide, "AWS X-Ray segment documents", and the JSON schema that it
//! publishes.

mod annotation;
mod cause;
mod edit;
mod facts;
mod fields;
mod http;
mod json;
mod message;
mod sql;
mod text;
mod url;
mod value;

use serde_json::Value;

use self::json::{Json, Object, key, write_plain};
pub use self::{
    annotation::{AnnotationKey, AnnotationText, AnnotationValue},
    cause::{Cause, Exception, StackFrame},
    edit::Place,
    facts::{Fact, Facts},
    fields::Fields,
    http::{Http, Request, Response},
    message::{clean_message, first_clause},
    sql::Sql,
    text::{Name, Text, Url},
    url::{clean_url, clean_urls},
    value::to_value,
};
use crate::{
    id::{SegmentId, TraceId},
    time::Timestamp,
};

/// Annotations of one document. X-Ray indexes 50 in a whole trace (X-Ray endpoints and quotas).
const ANNOTATIONS: usize = 50;

/// Bytes that most documents stay below.
const USUAL_LENGTH: usize = 512;

/// One segment or independent subsegment, as one JSON document.
///
/// A new document is in progress until [`Document::finish`] gives it an end; X-Ray wants exactly
/// one of `end_time` and `in_progress`.
///
/// ```
/// use tracestitch_wire::document::{Document, Name};
/// use tracestitch_wire::time::Timestamp;
///
/// let mut call = Document::subsegment(
///     Name::from("price <list>"),
///     "1-5759e988-bd862e3fe1be46a994272793".parse()?,
///     "53995c3f42cd8ad8".parse()?,
///     Timestamp::from_micros(1_478_293_361_271_000),
/// );
/// call.id = "4c721bf33e3caf8f".parse()?;
/// call.annotations.insert("order id".into(), "o-1234".into());
/// call.finish(Timestamp::from_micros(1_478_293_361_449_000));
/// assert_eq!(
///     String::from_utf8(call.to_json()).unwrap(),
///     r#"{"name":"price list","id":"4c721bf33e3caf8f","#.to_owned()
///         + r#""trace_id":"1-5759e988-bd862e3fe1be46a994272793","#
///         + r#""parent_id":"53995c3f42cd8ad8","type":"subsegment","#
///         + r#""start_time":1478293361.271000,"end_time":1478293361.449000,"#
///         + r#""annotations":{"order_id":"o-1234"}}"#,
/// );
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Document {
    /// What the service map and the timeline call it.
    pub name: Name,
    /// Unique within the trace.
    pub id: SegmentId,
    /// The trace that it belongs to.
    pub trace_id: TraceId,
    /// The segment or subsegment under which it hangs.
    pub parent_id: Option<SegmentId>,
    is_subsegment: bool,
    /// When it began.
    pub start_time: Timestamp,
    end_time: Option<Timestamp>,
    in_progress: bool,
    /// Kind of AWS resource that a segment ran on. X-Ray knows it on segments only.
    pub origin: Option<&'static str>,
    /// The user who sent the request; see [`Document::set_user`].
    user: Option<Text>,
    /// Whose call this subsegment is. None for work of the function itself.
    pub namespace: Option<Namespace>,
    /// The caller is to blame: HTTP 4xx.
    pub error: bool,
    /// Too many requests: HTTP 429 or a throttling code. Goes with `error`.
    pub throttle: bool,
    /// The callee is to blame: HTTP 5xx, or a failure in the function's own code.
    pub fault: bool,
    /// The HTTP exchange.
    pub http: Option<Http>,
    /// The database call.
    pub sql: Option<Box<Sql>>,
    /// Facts of an AWS call or resource.
    pub aws: Facts,
    /// Why it failed.
    pub cause: Option<Box<Cause>>,
    /// Indexed values: filter expressions find traces by them. X-Ray indexes 50 in a trace.
    pub annotations: Fields<AnnotationKey, AnnotationValue>,
    /// Values that are kept but not indexed, by namespace, then key.
    pub metadata: Fields<Text, Fields<Text, Value>>,
    /// Other traces that this one has to do with; at most 20 are drawn.
    pub links: Vec<Link>,
}

impl Document {
    /// A subsegment of its own document, in progress since `started`, with a new id.
    pub fn subsegment(
        name: Name,
        trace_id: TraceId,
        parent_id: SegmentId,
        started: Timestamp,
    ) -> Self {
        Self {
            name,
            id: SegmentId::new(),
            trace_id,
            parent_id: Some(parent_id),
            is_subsegment: true,
            start_time: started,
            end_time: None,
            in_progress: true,
            origin: None,
            user: None,
            namespace: None,
            error: false,
            throttle: false,
            fault: false,
            http: None,
            sql: None,
            aws: Facts::new(),
            cause: None,
            annotations: Fields::new(),
            metadata: Fields::new(),
            links: Vec::new(),
        }
    }

    /// A segment, in progress since `started`, with a new id; `parent_id` is the subsegment of
    /// the caller, None where the trace begins.
    pub fn segment(
        name: Name,
        trace_id: TraceId,
        parent_id: Option<SegmentId>,
        started: Timestamp,
    ) -> Self {
        let parentless = Self::subsegment(name, trace_id, SegmentId::new(), started);
        Self {
            parent_id,
            is_subsegment: false,
            ..parentless
        }
    }

    /// Makes it a segment that nobody called.
    pub fn become_segment(&mut self, origin: &'static str) {
        self.is_subsegment = false;
        self.parent_id = None;
        self.origin = Some(origin);
    }

    /// Ends it. Times that run backwards, as they do when a clock is set, end it where it began.
    pub fn finish(&mut self, ended: Timestamp) {
        self.end_time = Some(ended.max(self.start_time));
        self.in_progress = false;
    }

    /// Makes it a fault with `cause`. The first cause stays when it fails again: what comes later
    /// is most often its consequence.
    pub fn fail(&mut self, cause: Cause) {
        self.fault = true;
        self.cause.get_or_insert_with(|| Box::new(cause));
    }

    /// Marks what an HTTP status says: 4xx is an error, 429 throttled as well, 5xx a fault (X-Ray
    /// developer guide, "Errors, faults, and exceptions"). What is marked already stays.
    pub fn mark(&mut self, status: u16) {
        self.throttle |= status == 429;
        self.error |= (400..500).contains(&status);
        self.fault |= (500..600).contains(&status);
    }

    /// Records the user who sent the request.
    ///
    /// X-Ray takes a user on segments only (X-Ray developer guide, "Segment documents"). A
    /// subsegment gets it as the annotation `user` instead, so that filters find it as well.
    pub fn set_user(&mut self, user: Text) {
        if self.is_subsegment {
            self.annotate("user".into(), user.as_str().to_owned().into());
        } else {
            self.user = Some(user);
        }
    }

    /// True until [`Document::finish`].
    pub fn is_in_progress(&self) -> bool {
        self.in_progress
    }

    /// Puts `value` on it as an annotation. One that is the 51st or later is left out, and counted
    /// in the metadata as `tracestitch.annotations_left_out`.
    pub fn annotate(&mut self, key: AnnotationKey, value: AnnotationValue) {
        if self.annotations.len() < ANNOTATIONS || self.annotations.get(&key).is_some() {
            self.annotations.insert(key, value);
            return;
        }
        let ours = self.metadata.entry("tracestitch".into());
        let left_out = ours.entry("annotations_left_out".into());
        *left_out = (left_out.as_u64().unwrap_or(0) + 1).into();
    }

    /// Puts `value` under `key` in the metadata namespace `namespace`. Of arrays and objects that
    /// lie in each other, those below the 64th level become the text `nested too deeply`.
    pub fn put_metadata(&mut self, namespace: Text, key: Text, mut value: Value) {
        value::limit(&mut value, usize::MAX);
        self.metadata.entry(namespace).insert(key, value);
    }

    /// The document as compact JSON, as the daemon wants it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write_json(&mut json);
        json
    }

    /// Appends what [`to_json`](Self::to_json) gives to `out`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.reserve(USUAL_LENGTH);
        self.write(out);
    }
}

impl Json for Document {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("name"), &self.name)
            .member(key!("id"), &self.id)
            .member(key!("trace_id"), &self.trace_id)
            .member(key!("parent_id"), &self.parent_id)
            .constant(self.is_subsegment, r#","type":"subsegment""#)
            .member(key!("start_time"), &self.start_time)
            .member(key!("end_time"), &self.end_time)
            .member(key!("in_progress"), &self.in_progress)
            .member(key!("origin"), &self.origin)
            .member(key!("user"), &self.user)
            .member(key!("namespace"), &self.namespace)
            .member(key!("error"), &self.error)
            .member(key!("throttle"), &self.throttle)
            .member(key!("fault"), &self.fault)
            .member(key!("http"), &self.http)
            .member(key!("sql"), &self.sql)
            .member(key!("aws"), &self.aws)
            .member(key!("cause"), &self.cause)
            .member(key!("annotations"), &self.annotations)
            .member(key!("metadata"), &self.metadata)
            .member(key!("links"), &self.links)
            .end();
    }
}

/// Whose call a subsegment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// A call to an AWS service.
    Aws,
    /// Any other call over the network.
    Remote,
}

/// A pointer to a segment or subsegment of another trace.
///
/// The shape is that of OpenTelemetry's X-Ray exporter, the only public writer of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The other trace.
    pub trace_id: TraceId,
    /// The segment or subsegment in it.
    pub id: SegmentId,
}

impl Json for Namespace {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Aws => write_plain(out, b"aws"),
            Self::Remote => write_plain(out, b"remote"),
        }
    }
}

impl Json for Link {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("trace_id"), &self.trace_id)
            .member(key!("id"), &self.id)
            .end();
    }
}

impl Json for TraceId {
    fn write(&self, out: &mut Vec<u8>) {
        // In one piece: each addition to `out` asks whether there is room.
        let mut quoted = [b'"'; Self::LENGTH + 2];
        quoted[1..=Self::LENGTH].copy_from_slice(&self.print());
        out.extend_from_slice(&quoted);
    }
}

impl Json for SegmentId {
    fn write(&self, out: &mut Vec<u8>) {
        let mut quoted = [b'"'; Self::LENGTH + 2];
        quoted[1..=Self::LENGTH].copy_from_slice(&self.print());
        out.extend_from_slice(&quoted);
    }
}

impl Json for Timestamp {
    fn write(&self, out: &mut Vec<u8>) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(self.as_micros()).as_bytes();
        match digits.split_last_chunk::<6>() {
            Some((seconds @ [_, ..], micros)) => {
                out.extend_from_slice(seconds);
                out.push(b'.');
                out.extend_from_slice(micros);
            }
            // The first second of 1970: a clock that was never set.
            _ => {
                out.extend_from_slice(b"0.000000");
                let start = out.len() - digits.len();
                out[start..].copy_from_slice(digits);
            }
        }
    }
}

#[cfg(test)]
mod tests;
