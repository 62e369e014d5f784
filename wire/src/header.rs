//! The trace header `X-Amzn-Trace-Id`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{
    Error,
    id::{SegmentId, TraceId},
    tracestate,
};

/// The header's name, in the lower case that HTTP libraries store.
pub const NAME: &str = "x-amzn-trace-id";

/// Longest header that is read, in bytes. AWS publishes no limit; load balancers rewrite theirs
/// when all headers together exceed 7 KB.
pub const MAX_LENGTH: usize = 4096;

/// What was decided about recording this trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Sampling {
    /// `Sampled=1`: record.
    Sampled,
    /// `Sampled=0`: do not record.
    NotSampled,
    /// `Sampled=?`: the caller asks the callee to decide and to report back.
    Requested,
    /// No decision yet: the field is absent, or has a value that nobody defines.
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
/// Reading is as lenient as the official SDKs together: keys in any case and order, white space
/// around parts, parts without `=` skipped, an unknown `Sampled` value taken as no decision.
/// It is strict on ids: a `Root` that is missing or malformed, or a malformed `Parent`, refuses
/// the header, because a made-up id would join traces that have nothing to do with each other.
///
/// Fields that are not known here (`Lineage` among them) are kept as they came, in their order,
/// as far as they are printable ASCII. `Self` is dropped: it describes the hop that is over.
///
/// Printing gives `Root;Parent;Sampled;<other fields>`; reading that gives the same header.
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
    /// Other fields, joined by `;`, as they came.
    others: Box<str>,
    /// What came with a `traceparent`; shared, because each call takes a copy.
    state: Option<Arc<str>>,
}

impl TraceHeader {
    /// A header without other fields.
    pub fn new(root: TraceId, parent: Option<SegmentId>, sampling: Sampling) -> Self {
        Self {
            root,
            parent,
            sampling,
            others: Box::default(),
            state: None,
        }
    }

    /// The same trace and other fields, with `parent` as the caller.
    #[must_use]
    pub fn with_parent(&self, parent: SegmentId) -> Self {
        Self {
            parent: Some(parent),
            ..self.clone()
        }
    }

    /// Returns this header with the `tracestate` that came beside a `traceparent`, as far as
    /// [`w3c::state`](crate::w3c::state) passes it on.
    #[must_use]
    pub fn with_state(mut self, text: &str) -> Self {
        self.state = tracestate::state(text).map(Arc::from);
        self
    }

    /// What goes out as `tracestate` beside a `traceparent`. It is no part of this header.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The fields that are neither `Root`, `Parent`, `Sampled` nor `Self`, joined by `;`.
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
        let (mut root, mut parent, mut sampling) = (None, None, Sampling::default());
        let mut others = String::new();
        for part in text.split(';') {
            let Some((key, value)) = part.split_once('=') else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if key.eq_ignore_ascii_case("root") {
                root = Some(value.parse()?);
            } else if key.eq_ignore_ascii_case("parent") {
                parent = Some(value.parse()?);
            } else if key.eq_ignore_ascii_case("sampled") {
                sampling = Sampling::from_value(value);
            } else if !key.eq_ignore_ascii_case("self") && is_printable(key) && is_printable(value)
            {
                if !others.is_empty() {
                    others.push(';');
                }
                others.extend([key, "=", value]);
            }
        }
        let root = root.ok_or_else(|| {
            Error::expected("a trace header with a field Root=1-<8 hex>-<24 hex>", text)
        })?;
        Ok(Self {
            root,
            parent,
            sampling,
            others: others.into_boxed_str(),
            state: None,
        })
    }
}

/// Other fields go out as an HTTP header value, where nothing else is allowed (RFC 9110, 5.5).
fn is_printable(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from(self))
    }
}

/// As it goes out. Each outgoing call has one: so it is put together without `format!`.
impl TraceHeader {
    /// Bytes of the printed form. Exactly: a header's value is made of the text without copying it
    /// where no room is left in it.
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn lenient_where_the_official_sdks_are() {
        for (text, printed, reason) in [
            (
                "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=1",
                "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=1",
                "canonical",
            ),
            (
                "Sampled=0;Parent=53995c3f42cd8ad8;Root=<R>",
                "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=0",
                "any order",
            ),
            (
                "root=<R>;PARENT=53995C3F42CD8AD8;sampled=1",
                "Root=<R>;Parent=53995c3f42cd8ad8;Sampled=1",
                "any case",
            ),
            (
                " Root = <R> ; Sampled = 1 ",
                "Root=<R>;Sampled=1",
                "white space",
            ),
            (
                "Root=<R>;;garbage;Sampled=1;",
                "Root=<R>;Sampled=1",
                "empty parts and parts without =",
            ),
            (
                "Root=<R>;Sampled=?",
                "Root=<R>;Sampled=?",
                "decision requested",
            ),
            ("Root=<R>;Sampled=true", "Root=<R>", "undefined decision"),
            ("Root=<R>;Sampled=", "Root=<R>", "empty decision"),
            ("Root=<R>", "Root=<R>", "root only"),
            ("Self=1-1-1;Root=<R>", "Root=<R>", "Self is of the last hop"),
            (
                "Root=<R>;Sampled=1;Lineage=28b1e350:0%7C74085691:0",
                "Root=<R>;Sampled=1;Lineage=28b1e350:0%7C74085691:0",
                "encoded lineage verbatim",
            ),
            (
                "Root=<R>;Lineage=1:a|2:b;CalledFrom=app;a=b=c",
                "Root=<R>;Lineage=1:a|2:b;CalledFrom=app;a=b=c",
                "other fields in order",
            ),
            (
                "Root=<R>;x=\u{1b}[31m;y=é;z=1",
                "Root=<R>;z=1",
                "fields that no header can carry",
            ),
        ] {
            let header: TraceHeader = text
                .replace("<R>", ROOT)
                .parse()
                .unwrap_or_else(|error| panic!("{reason}: {error}"));
            assert_eq!(header.to_string(), printed.replace("<R>", ROOT), "{reason}");
        }
    }

    #[test]
    fn strict_on_ids() {
        let semicolons = ";".repeat(65536);
        for (text, reason) in [
            ("", "empty"),
            (&*semicolons, "64 KB of separators"),
            ("Parent=53995c3f42cd8ad8;Sampled=1", "no Root"),
            ("Root=;Sampled=1", "empty Root"),
            (
                "Root=1-00000000-000000000000000000000000;Sampled=1",
                "Root that means no trace",
            ),
            (
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=nothexnothexnoth",
                "Parent not hex",
            ),
            (
                "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=",
                "empty Parent",
            ),
            (
                "Root=1-5759e988-bd862e3fe1be46a994272793;Root=x",
                "second Root malformed",
            ),
        ] {
            assert!(
                text.parse::<TraceHeader>().is_err(),
                "accepted although {reason}"
            );
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(
            parent in proptest::option::of(1u64..),
            decision in 0..4usize,
            others in proptest::collection::vec(("[A-Za-z]{1,8}", "[ -:<-~]{0,20}"), 0..4),
        ) {
            let fields: Vec<_> = others.iter().map(|(k, v)| format!("x{k}={v}")).collect();
            let parent = parent.map(|id| format!(";Parent={id:016x}")).unwrap_or_default();
            let decision = ["", ";Sampled=0", ";Sampled=1", ";Sampled=?"][decision];
            let header: TraceHeader =
                format!("Root={ROOT}{parent}{decision};{}", fields.join(";")).parse().unwrap();
            prop_assert_eq!(header.to_string().parse::<TraceHeader>(), Ok(header));
        }

        #[test]
        fn any_text_gives_a_header_value_or_an_error(text in ".*") {
            if let Ok(header) = text.parse::<TraceHeader>() {
                prop_assert!(is_printable(&header.to_string()));
            }
            if let Ok(header) = format!("Root={ROOT};{text}").parse::<TraceHeader>() {
                prop_assert!(is_printable(&header.to_string()));
            }
        }
    }
}
