//! One invocation under the Runtime Interface Emulator: what goes in, what comes out.

use ::http::HeaderValue;
use bytes::Bytes;
use tracestitch_wire::header::TraceHeader;
use tracestitch_wire::id::SegmentId;

/// One event for the function.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub(crate) payload: Bytes,
    pub(crate) upstream: Option<HeaderValue>,
    pub(crate) runtime: RuntimeHeader,
}

#[derive(Debug, Clone)]
pub(crate) enum RuntimeHeader {
    /// Root and decision of the upstream header, a new Parent: active tracing.
    Rebuilt(TraceHeader),
    Verbatim(HeaderValue),
    Absent,
}

impl Invocation {
    /// An invocation without a trace header.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            upstream: None,
            runtime: RuntimeHeader::Absent,
        }
    }

    /// With this trace header from upstream. The runtime gets it as Lambda's active tracing
    /// rebuilds it: `Parent` is the id of the function's own segment.
    ///
    /// # Panics
    /// When `header` is not a valid trace header.
    #[must_use]
    pub fn traced(mut self, header: &str) -> Self {
        let parsed: TraceHeader = header
            .parse()
            .unwrap_or_else(|error| panic!("{header}: {error}"));
        self.upstream = HeaderValue::from_str(header).ok();
        self.runtime = RuntimeHeader::Rebuilt(parsed.with_parent(SegmentId::new()));
        self
    }

    /// With these bytes as trace header, for the extension and for the runtime.
    ///
    /// # Panics
    /// When HTTP cannot carry them: control characters.
    #[must_use]
    pub fn trace_header_verbatim(mut self, header: &[u8]) -> Self {
        let value = HeaderValue::from_bytes(header).expect("HTTP can carry this header");
        self.upstream = Some(value.clone());
        self.runtime = RuntimeHeader::Verbatim(value);
        self
    }
}

/// What came back from one invocation.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200 also when the handler failed; 502 when the process died.
    pub status: u16,
    /// The function's answer, or the emulator's description of the failure.
    pub body: Bytes,
    /// The invocation's id.
    pub request_id: String,
    /// The trace header as the runtime got it, when it was a valid one.
    pub trace_header: Option<TraceHeader>,
}

impl Answer {
    /// The body as JSON, `null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
