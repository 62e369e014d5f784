//! An invocation under the Runtime Interface Emulator: its input and its answer.

use ::http::HeaderValue;
use bytes::Bytes;
use tracestitch_wire::header::TraceHeader;
use tracestitch_wire::id::SegmentId;

/// An event for the function.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub(crate) payload: Bytes,
    pub(crate) upstream: Option<HeaderValue>,
    pub(crate) runtime: RuntimeHeader,
}

#[derive(Debug, Clone)]
pub(crate) enum RuntimeHeader {
    /// Root and decision of the upstream header with a new Parent, as active tracing sends it.
    Rebuilt(TraceHeader),
    Verbatim(HeaderValue),
    Absent,
}

impl Invocation {
    /// Creates an invocation without a trace header.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            payload: payload.into(),
            upstream: None,
            runtime: RuntimeHeader::Absent,
        }
    }

    /// Sets the trace header from upstream. The runtime gets it as Lambda's active tracing rebuilds
    /// it: `Parent` is the id of the function's segment.
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

    /// Sets the bytes of the trace header, for the extension and for the runtime.
    ///
    /// # Panics
    /// When HTTP cannot carry them (control characters).
    #[must_use]
    pub fn trace_header_verbatim(mut self, header: &[u8]) -> Self {
        let value = HeaderValue::from_bytes(header).expect("HTTP can carry this header");
        self.upstream = Some(value.clone());
        self.runtime = RuntimeHeader::Verbatim(value);
        self
    }
}

/// The answer to an invocation.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status: 200 also when the handler failed; 502 when the process died.
    pub status: u16,
    /// Answer of the function, or the emulator's description of the failure.
    pub body: Bytes,
    /// Id of the invocation.
    pub request_id: String,
    /// Trace header that the runtime got, if it was valid.
    pub trace_header: Option<TraceHeader>,
}

impl Answer {
    /// Returns the body as JSON; `null` if it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
