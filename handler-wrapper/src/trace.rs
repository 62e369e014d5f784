//! What all work for one invocation or one message has in common.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tracestitch_wire::{
    document::Document,
    header::{Sampling, TraceHeader},
    id::SegmentId,
};

use crate::{
    config::Config,
    init::Held,
    panics,
    redact::Redaction,
    transport::{Sink, Transport},
};

/// Subsegments of one invocation or message. X-Ray keeps 100 to 500 KB of a trace (X-Ray
/// endpoints and quotas), which is as many documents of the usual 500 bytes.
const MAX_SUBSEGMENTS: usize = 1000;

/// Subsegments that hang under each other. X-Ray names no limit, its console draws each level.
const MAX_DEPTH: u16 = 64;

/// What all invocations of this process have in common.
pub(crate) struct Tracer {
    pub(crate) function_name: String,
    /// See [`Config::concurrent`].
    pub(crate) concurrent: bool,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) redaction: Redaction,
    /// In the init phase, for which there is no trace yet, documents are held back here.
    pub(crate) held: Option<Held>,
    warm: AtomicBool,
}

impl Tracer {
    /// None when tracing is switched off.
    pub(crate) fn from_env(redaction: Redaction) -> Option<Arc<Self>> {
        let config = Config::from_env();
        config.enabled.then(|| {
            panics::install();
            let sink = Box::new(Transport::new(&config));
            let tracer = Self::new(config.function_name, config.concurrent, sink);
            Arc::new(Self {
                redaction,
                ..tracer
            })
        })
    }

    pub(crate) fn new(function_name: String, concurrent: bool, sink: Box<dyn Sink>) -> Self {
        Self {
            function_name,
            concurrent,
            sink,
            redaction: Redaction::none(),
            held: None,
            warm: AtomicBool::new(false),
        }
    }

    /// Hands over that `document` has begun.
    pub(crate) fn open(&self, document: &Document) {
        if self.held.is_some() {
            return;
        }
        let json = if self.redaction.is_none() {
            document.to_json()
        } else {
            // A rule sees each text once: it gets a copy, as the document goes on.
            let mut document = document.clone();
            self.redaction.apply(&mut document);
            document.to_json()
        };
        self.sink.open(document.id, &json);
    }

    /// Hands over that `document` is over.
    pub(crate) fn close(&self, mut document: Box<Document>) {
        if let Some(held) = &self.held {
            return held.close(*document);
        }
        self.redaction.apply(&mut document);
        self.sink.close(document.id, document.to_json());
    }

    /// Takes back what was opened.
    pub(crate) fn discard(&self, id: SegmentId) {
        self.sink.discard(id);
    }

    /// True for the first caller in the life of the process.
    pub(crate) fn is_cold_start(&self) -> bool {
        !self.warm.swap(true, Ordering::Relaxed)
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer")
            .field("function_name", &self.function_name)
            .finish_non_exhaustive()
    }
}

/// The trace of one invocation or one message, as it was carried here.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) tracer: Arc<Tracer>,
    /// None when nothing was carried: then nothing is recorded and nothing goes out.
    pub(crate) header: Option<TraceHeader>,
    /// Id of the invocation, for log lines.
    pub(crate) request_id: Arc<str>,
    subsegments: AtomicUsize,
    left_out: AtomicUsize,
}

impl Trace {
    /// The trace of an invocation.
    pub(crate) fn new(tracer: Arc<Tracer>, header: Option<TraceHeader>, request_id: &str) -> Self {
        Self {
            tracer,
            header,
            request_id: request_id.into(),
            subsegments: AtomicUsize::new(0),
            left_out: AtomicUsize::new(0),
        }
    }

    /// The trace that came with a message of this invocation.
    pub(crate) fn carried(&self, header: TraceHeader) -> Self {
        Self {
            tracer: self.tracer.clone(),
            header: Some(header),
            request_id: self.request_id.clone(),
            subsegments: AtomicUsize::new(0),
            left_out: AtomicUsize::new(0),
        }
    }

    /// True when there is room for one more subsegment at this depth. If not, it is counted.
    pub(crate) fn admit(&self, depth: u16) -> bool {
        let admitted = depth <= MAX_DEPTH
            && self.subsegments.fetch_add(1, Ordering::Relaxed) < MAX_SUBSEGMENTS;
        if !admitted {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Subsegments that were left out.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.load(Ordering::Relaxed)
    }

    /// The header, if work in this trace is to be recorded.
    pub(crate) fn sampled(&self) -> Option<&TraceHeader> {
        self.header
            .as_ref()
            .filter(|header| header.sampling == Sampling::Sampled)
    }
}
