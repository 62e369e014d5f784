//! The trace header `X-Amzn-Trace-Id`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{
    Error,
    id::{SegmentId, TraceId},
    tracestate,
};

/// Name of the header, in the lower case that HTTP libraries use.
pub const NAME: &str = "x-amzn-trace-id";

/// Longest header that is parsed, in bytes. AWS publishes no limit; its load balancers rewrite the
/// header if all headers together exceed 7 KB.
pub const MAX_LENGTH: usize = 4096;

/// Decision on recording a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sampling {
    /// `Sampled=1`: record.
    Sampled,
    /// `Sampled=0`: do not record.
    NotSampled,
    /// `Sampled=?`: the caller asks the callee to decide and to return the decision.
    Requested,
    /// No decision yet: the field is absent, or its value is undefined.
    #[default]
    Undecided,
}

impl Sampling {
    fn from_value(value: &str) -> Self {
        match value {
            "1" => Self::Sampled,
            "0" => Self::NotSampled,
            "?" => Self::Requested,
            _ => Self::Undecided,
        }
    }

    fn value(self) -> Option<&'static str> {
        match self {
            Self::Sampled => Some("1"),
            Self::NotSampled => Some("0"),
            Self::Requested => Some("?"),
            Self::Undecided => None,
        }
    }
}

/// A trace header: which trace, whose child, recorded or not.
///
/// Parsing is as lenient as the official SDKs together: keys in any case and order, white space
/// around parts, parts without `=` skipped, an unknown `Sampled` value taken as no decision. It is
/// strict on ids: a `Root` that is missing or malformed, or a malformed `Parent`, makes the header
/// invalid, because a made-up id would join unrelated traces. So does a `Root`, `Parent` or
/// `Sampled` that is repeated. If a server or proxy joined several headers with commas, the first
/// valid one is used, whole: fields of two headers never mix.
///
/// Unknown fields (`Lineage` among them) are kept unchanged and in order if they are printable
/// ASCII. `Self` is dropped: it describes the previous hop.
///
/// The printed form is `Root;Parent;Sampled;<other fields>`. Parsing it gives an equal header.
///
/// Source: X-Ray developer guide, "Tracing header"; Elastic Load Balancing guide, "Request
/// tracing for your Application Load Balancer".
///
/// ```
/// use tracestitch_wire::header::{Sampling, TraceHeader};
///
/// let header: TraceHeader = "Self=1-67891234-12456789abcdef012345678;\
///      sampled=1; Root=1-67891233-abcdef012345678912345678;Lineage=a87bd80c:1|68fd508a:5"
///     .parse()?;
/// assert_eq!(header.sampling, Sampling::Sampled);
/// assert_eq!(
///     header.to_string(),
///     "Root=1-67891233-abcdef012345678912345678;Sampled=1;Lineage=a87bd80c:1|68fd508a:5",
/// );
/// # Ok::<(), tracestitch_wire::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceHeader {
    /// The trace.
    pub root: TraceId,
    /// The segment or subsegment that made the call.
    pub parent: Option<SegmentId>,
    /// The decision on recording.
    pub sampling: Sampling,
    /// Other fields, joined by `;`, unchanged.
    others: Box<str>,
    /// Value of the `tracestate` beside a `traceparent`. Shared, because each outgoing call copies
    /// the header.
    state: Option<Arc<str>>,
}

impl TraceHeader {
    /// A header with these fields and no others.
    pub fn new(root: TraceId, parent: Option<SegmentId>, sampling: Sampling) -> Self {
        Self {
            root,
            parent,
            sampling,
            others: Box::default(),
            state: None,
        }
    }

    /// Returns this header with `parent` as the caller.
    #[must_use]
    pub fn with_parent(&self, parent: SegmentId) -> Self {
        Self {
            parent: Some(parent),
            ..self.clone()
        }
    }

    /// Returns this header for a receiver that takes at most `most` characters.
    ///
    /// `Root`, `Parent` and `Sampled` always stay. Of the other fields as many stay as fit, in order,
    /// but `Lineage` first: Lambda's loop detection needs it.
    ///
    /// ```
    /// use tracestitch_wire::header::TraceHeader;
    ///
    /// let text = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1;A=1;Lineage=a:1;B=2";
    /// let header: TraceHeader = text.parse()?;
    /// assert_eq!(header.clone().within(text.len()).to_string(), text);
    /// assert!(header.within(text.len() - 1).to_string().ends_with("Sampled=1;A=1;Lineage=a:1"));
    /// # Ok::<(), tracestitch_wire::Error>(())
    /// ```
    #[must_use]
    pub fn within(mut self, most: usize) -> Self {
        if self.length() <= most {
            return self;
        }
        let others = std::mem::take(&mut self.others);
        let mut room = most.saturating_sub(self.length());
        let fields: Vec<&str> = others.split(';').collect();
        let mut stays = vec![false; fields.len()];
        for first in [true, false] {
            for (field, stays) in fields.iter().zip(&mut stays) {
                let key = field.split('=').next().unwrap_or_default();
                let size = 1 + field.len();
                if key.eq_ignore_ascii_case("Lineage") == first && size <= room {
                    room -= size;
                    *stays = true;
                }
            }
        }
        let kept = fields.iter().zip(stays).filter(|(_, stays)| *stays);
        let kept: Vec<&str> = kept.map(|(field, _)| *field).collect();
        self.others = kept.join(";").into_boxed_str();
        self
    }

    /// Returns this header with the `tracestate` that came beside a `traceparent`, as far as
    /// [`w3c::state`](crate::w3c::state) passes it on.
    #[must_use]
    pub fn with_state(mut self, text: &str) -> Self {
        self.state = tracestate::state(text).map(Arc::from);
        self
    }

    /// Value of the `tracestate` to send beside a `traceparent`. The printed header does not
    /// contain it.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Fields other than `Root`, `Parent`, `Sampled` and `Self`, joined by `;`.
    pub fn others(&self) -> &str {
        &self.others
    }
}

impl FromStr for TraceHeader {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LENGTH {
            return Err(Error::expected(
                "a trace header of at most 4096 bytes",
                text,
            ));
        }
        let mut headers = Joined(text);
        let first = headers.next().map_or_else(|| parse_one(text), parse_one);
        first.or_else(|error| {
            headers
                .find_map(|header| parse_one(header).ok())
                .ok_or(error)
        })
    }
}

/// The headers in a value that an HTTP server or proxy joined from several (RFC 9110, section 5.3):
/// a comma separates them, and each begins with a field of the format. A comma anywhere else
/// belongs to a value.
struct Joined<'a>(&'a str);

impl<'a> Iterator for Joined<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.0.is_empty() {
            return None;
        }
        let begins_header = |at: &usize| {
            let rest = &self.0[at + 1..];
            let key = rest.split(['=', ',', ';']).next().unwrap_or_default();
            Field::of(key.trim()).is_some()
        };
        let end = self
            .0
            .match_indices(',')
            .map(|(at, _)| at)
            .find(begins_header);
        let (header, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, ""),
        };
        self.0 = rest;
        Some(header)
    }
}

/// A field that the format defines.
#[derive(Clone, Copy)]
enum Field {
    Root,
    Parent,
    Sampled,
    /// `Self`.
    PreviousHop,
}

impl Field {
    fn of(key: &str) -> Option<Self> {
        let fields = [
            ("root", Self::Root),
            ("parent", Self::Parent),
            ("sampled", Self::Sampled),
            ("self", Self::PreviousHop),
        ];
        let named = |(name, _): &(&str, Self)| key.eq_ignore_ascii_case(name);
        fields.into_iter().find(named).map(|(_, field)| field)
    }
}

fn parse_one(text: &str) -> Result<TraceHeader, Error> {
    let (mut root, mut parent, mut sampling) = (None, None, None);
    let mut others = String::new();
    for part in text.split(';') {
        let Some((key, value)) = part.split_once('=') else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        let repeated = match Field::of(key) {
            Some(Field::Root) => root.replace(value.parse()?).is_some(),
            Some(Field::Parent) => parent.replace(value.parse()?).is_some(),
            Some(Field::Sampled) => sampling.replace(Sampling::from_value(value)).is_some(),
            Some(Field::PreviousHop) => false,
            None => {
                if is_printable(key) && is_printable(value) {
                    if !others.is_empty() {
                        others.push(';');
                    }
                    others.extend([key, "=", value]);
                }
                false
            }
        };
        if repeated {
            return Err(Error::expected(
                "a trace header with Root, Parent and Sampled at most once each",
                text,
            ));
        }
    }
    let root = root.ok_or_else(|| {
        Error::expected("a trace header with a field Root=1-<8 hex>-<24 hex>", text)
    })?;
    Ok(TraceHeader {
        root,
        parent,
        sampling: sampling.unwrap_or_default(),
        others: others.into_boxed_str(),
        state: None,
    })
}

/// Returns true if `text` may be part of an HTTP header value (RFC 9110, section 5.5).
fn is_printable(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self))
    }
}

impl TraceHeader {
    /// Length of the printed form in bytes. Exact, so that an HTTP header value can take over the
    /// text without copying it.
    fn length(&self) -> usize {
        let parent = self
            .parent
            .map_or(0, |_| ";Parent=".len() + SegmentId::LENGTH);
        let sampled = self
            .sampling
            .value()
            .map_or(0, |value| ";Sampled=".len() + value.len());
        let others = match self.others.len() {
            0 => 0,
            length => 1 + length,
        };
        "Root=".len() + TraceId::LENGTH + parent + sampled + others
    }
}

/// The printed form, without `format!`: each outgoing call has one.
impl From<&TraceHeader> for String {
    fn from(header: &TraceHeader) -> Self {
        let mut text = Self::with_capacity(header.length());
        text.push_str("Root=");
        header.root.push_to(&mut text);
        if let Some(parent) = header.parent {
            text.push_str(";Parent=");
            parent.push_to(&mut text);
        }
        if let Some(value) = header.sampling.value() {
            text.push_str(";Sampled=");
            text.push_str(value);
        }
        if !header.others.is_empty() {
            text.push(';');
            text.push_str(&header.others);
        }
        text
    }
}

#[cfg(test)]
mod tests;
