//! Segment and subsegment documents, within the limits of the X-Ray service.
//!
//! Types keep the limits: a [`Name`] has only characters that X-Ray accepts, a [`Text`] has at most
//! 250 characters, an [`AnnotationKey`] only letters, digits and underscores, and a metadata
//! namespace is always an object. URLs in any text lose credentials, query and fragment. Text that
//! does not fit is cleaned or cut without an error, so that recording never fails.
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
mod place;
mod sql;
mod text;
mod url;
mod value;

use std::io::Write as _;

use serde_json::Value;

use self::json::{Json, Object, key, write_plain};
pub use self::{
    annotation::{AnnotationKey, AnnotationText, AnnotationValue},
    cause::{Cause, Exception, StackFrame},
    facts::{Fact, Facts},
    fields::Fields,
    http::{Http, Request, Response},
    message::{clean_message, first_clause, without_quoted},
    place::Place,
    sql::Sql,
    text::{Name, Text, Url},
    url::{clean_url, clean_urls},
    value::to_value,
};
use crate::{
    decimal,
    id::{SegmentId, TraceId},
    time::Timestamp,
};

/// Most annotations of one document. X-Ray indexes 50 in a trace (X-Ray endpoints and quotas).
const ANNOTATIONS: usize = 50;

/// Length in bytes that most documents do not exceed.
const USUAL_LENGTH: usize = 512;

/// A segment or an independent subsegment.
///
/// A document is in progress until [`Document::finish`] sets its end. X-Ray requires exactly one of
/// `end_time` and `in_progress`.
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
    /// Name in the service map and the timeline.
    pub name: Name,
    /// Id, unique within the trace.
    pub id: SegmentId,
    /// Trace that it belongs to.
    pub trace_id: TraceId,
    /// Segment or subsegment that it is a child of.
    pub parent_id: Option<SegmentId>,
    is_subsegment: bool,
    /// Time of its start.
    pub start_time: Timestamp,
    end_time: Option<Timestamp>,
    in_progress: bool,
    /// Kind of AWS resource that a segment ran on, such as `AWS::Lambda::Function`. For segments
    /// only.
    pub origin: Option<&'static str>,
    /// ARN of the resource that a segment ran on. For segments only.
    pub resource_arn: Option<Text>,
    /// The user who sent the request; see [`Document::set_user`].
    user: Option<Text>,
    /// Kind of the called service; `None` for work of the function itself.
    pub namespace: Option<Namespace>,
    /// Failure caused by the caller, such as HTTP status 4xx.
    pub error: bool,
    /// Too many requests, such as HTTP status 429. Set together with `error`.
    pub throttle: bool,
    /// Failure of the callee, such as HTTP status 5xx, or of the function's own code.
    pub fault: bool,
    /// HTTP request and response.
    pub http: Option<Http>,
    /// Database query.
    pub sql: Option<Box<Sql>>,
    /// Facts about an AWS call or resource.
    pub aws: Facts,
    /// Cause of its failure.
    pub cause: Option<Box<Cause>>,
    /// Values that X-Ray indexes for filter expressions. Add them with [`Document::annotate`].
    pub annotations: Fields<AnnotationKey, AnnotationValue>,
    /// Values that X-Ray stores but does not index, by namespace and key. Add them with
    /// [`Document::put_metadata`], which keeps the limits.
    pub metadata: Fields<Text, Fields<Text, Value>>,
    /// Related segments of other traces. X-Ray shows at most 20.
    pub links: Vec<Link>,
}

impl Document {
    /// An independent subsegment in progress since `started`, with a new id.
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
            resource_arn: None,
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

    /// A segment in progress since `started`, with a new id. `parent_id` is the caller's
    /// subsegment; `None` begins the trace.
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

    /// Turns the document into a segment without a parent.
    pub fn become_segment(&mut self, origin: &'static str) {
        self.is_subsegment = false;
        self.parent_id = None;
        self.origin = Some(origin);
    }

    /// Sets the end. A time before the start, as after a change of the clock, becomes the start.
    pub fn finish(&mut self, ended: Timestamp) {
        self.end_time = Some(ended.max(self.start_time));
        self.in_progress = false;
    }

    /// Marks a fault with `cause`. An earlier cause stays, because later failures are mostly its
    /// consequences.
    pub fn fail(&mut self, cause: Cause) {
        self.fault = true;
        self.cause.get_or_insert_with(|| Box::new(cause));
    }

    /// Sets the flags of an HTTP status: `error` for 4xx, also `throttle` for 429, `fault` for 5xx
    /// (X-Ray developer guide, "Errors, faults, and exceptions"). Clears none.
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

    /// Returns true until [`Document::finish`] is called.
    pub fn is_in_progress(&self) -> bool {
        self.in_progress
    }

    /// Adds an annotation, or replaces the one with this key. From the 51st on, annotations are
    /// dropped and counted in the metadata as `tracestitch.annotations_left_out`.
    pub fn annotate(&mut self, key: AnnotationKey, value: AnnotationValue) {
        if self.annotations.len() < ANNOTATIONS || self.annotations.get(&key).is_some() {
            self.annotations.insert(key, value);
            return;
        }
        let ours = self.metadata.entry("tracestitch".into());
        let left_out = ours.entry("annotations_left_out".into());
        *left_out = (left_out.as_u64().unwrap_or(0) + 1).into();
    }

    /// Puts `value` under `key` in the metadata namespace `namespace`. Arrays and objects below the
    /// 64th level become the text `nested too deeply`. See [`to_value`] for values of other types.
    pub fn put_metadata(&mut self, namespace: Text, key: Text, mut value: Value) {
        value::limit(&mut value, usize::MAX);
        self.metadata.entry(namespace).insert(key, value);
    }

    /// Returns the document as compact JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        self.write_json(&mut json);
        json
    }

    /// Appends the document to `out`, as compact JSON.
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
            .member(key!("resource_arn"), &self.resource_arn)
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

/// Kind of a called service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// An AWS service.
    Aws,
    /// Any other service on the network.
    Remote,
}

/// A reference to a segment or subsegment of another trace.
///
/// Written like the links that Lambda writes for the messages of a batch
/// (opentelemetry-collector-contrib#20350).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Trace that is referred to.
    pub trace_id: TraceId,
    /// Segment or subsegment in that trace.
    pub id: SegmentId,
    /// Role of that segment or subsegment.
    pub reference: Reference,
}

/// Role of the target of a [`Link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// Caused the work of the document that has the link.
    Parent,
    /// Was caused by that work.
    Child,
}

impl Json for Namespace {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Aws => write_plain(out, b"aws"),
            Self::Remote => write_plain(out, b"remote"),
        }
    }
}

impl Json for Reference {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self {
            Self::Parent => br#"{"aws.xray.reserved.reference_type":"parent"}"#,
            Self::Child => br#"{"aws.xray.reserved.reference_type":"child"}"#,
        });
    }
}

impl Json for Link {
    fn write(&self, out: &mut Vec<u8>) {
        Object::begin(out)
            .member(key!("trace_id"), &self.trace_id)
            .member(key!("id"), &self.id)
            .member(key!("attributes"), &self.reference)
            .end();
    }
}

impl Json for TraceId {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        // At once, because each extension of `out` checks its capacity.
        let mut quoted = [b'"'; Self::LENGTH + 2];
        quoted[1..=Self::LENGTH].copy_from_slice(&self.print());
        out.extend_from_slice(&quoted);
    }
}

impl Json for SegmentId {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        let mut quoted = [b'"'; Self::LENGTH + 2];
        quoted[1..=Self::LENGTH].copy_from_slice(&self.print());
        out.extend_from_slice(&quoted);
    }
}

impl Json for Timestamp {
    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        const MICROS: u64 = 1_000_000;
        /// One more than eight digits.
        const PART: u64 = 100_000_000;
        let micros = self.as_micros();
        let (high, low) = (micros / PART, micros % PART);
        // Between the years 2001 and 2286 a time has ten digits of seconds.
        if (PART / 10..PART).contains(&high) {
            let mut text = [b'.'; 17];
            let low = decimal::encode(low as u32);
            text[..8].copy_from_slice(&decimal::encode(high as u32));
            text[8..10].copy_from_slice(&low[..2]);
            text[11..].copy_from_slice(&low[2..]);
            out.extend_from_slice(&text);
        } else {
            // Bytes written to memory cannot fail.
            let _ = write!(out, "{}.{:06}", micros / MICROS, micros % MICROS);
        }
    }
}

#[cfg(test)]
mod tests;
