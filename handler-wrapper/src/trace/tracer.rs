//! Properties that all work in this process shares.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracestitch_wire::{document::Document, time::Timestamp};

use crate::{
    settings::{
        carriers::Carriers,
        config::{self, Config, Initialization},
        redaction::Redaction,
        sampling::SamplingRules,
    },
    support::{clock, memory},
    transport::{dispatch::Transport, sink::Sink},
};

/// Origin of segments that a Lambda function ran (X-Ray API reference, `Service` type).
pub(crate) const FUNCTION: &str = "AWS::Lambda::Function";

/// Longest init phase of an environment that is made for a waiting invocation (AWS Lambda developer
/// guide, "Understanding the Lambda execution environment lifecycle"). The function of a tracer
/// begins to poll for invocations when the tracer is made, so one that begins later has not waited.
const LONGEST_INIT: Duration = Duration::from_secs(10);

/// Properties that all invocations of this process share.
pub(crate) struct Tracer {
    pub(crate) function_name: String,
    /// Kind of resource that segments ran on (X-Ray API reference, `Service` type).
    pub(crate) origin: Option<&'static str>,
    /// See [`Config::concurrent`].
    pub(crate) concurrent: bool,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) carriers: Carriers,
    pub(crate) sampling: SamplingRules,
    /// True if unsampled work is recorded if it fails.
    pub(crate) errors_always: bool,
    pub(crate) redaction: Redaction,
    /// True if quoted values stay in the messages of errors.
    pub(crate) whole_messages: bool,
    /// The last moment at which a first invocation can have waited for this process to start.
    pub(crate) cold_until: Timestamp,
    warm: AtomicBool,
}

impl Tracer {
    /// Reads the environment and connects to the extension. Returns `None` if tracing is switched
    /// off.
    pub(crate) fn from_env() -> Option<Self> {
        let config = Config::from_env();
        config.enabled.then(|| {
            let sink = Arc::new(Transport::new(&config));
            let mut tracer = Self::new(config.function_name, config.concurrent, sink);
            tracer.carriers = config.carriers;
            tracer.sampling = config.sampling;
            tracer.errors_always = config.errors_always;
            tracer.cold_until = match config::initialization() {
                Initialization::OnDemand => tracer.cold_until,
                Initialization::SnapStart => Timestamp::from_micros(u64::MAX),
                Initialization::Ahead => Timestamp::from_micros(0),
            };
            tracer
        })
    }

    pub(crate) fn new(function_name: String, concurrent: bool, sink: Arc<dyn Sink>) -> Self {
        Self {
            function_name,
            origin: Some(FUNCTION),
            concurrent,
            sink,
            carriers: Carriers::default(),
            sampling: SamplingRules::default(),
            errors_always: false,
            redaction: Redaction::default(),
            whole_messages: false,
            cold_until: clock::now().after(LONGEST_INIT),
            warm: AtomicBool::new(false),
        }
    }

    /// Calls `take` with the redacted JSON of a document in progress.
    pub(crate) fn in_progress(&self, document: &Document, take: impl FnOnce(&[u8])) {
        if self.redaction.is_none() {
            return memory::with_json(document, take);
        }
        // A rule sees each text once: it gets a copy, because the document goes on.
        self.over(&mut document.clone(), take);
    }

    /// Calls `take` with the redacted JSON of a finished document.
    pub(crate) fn over(&self, document: &mut Document, take: impl FnOnce(&[u8])) {
        self.redaction.apply(document);
        memory::with_json(document, take);
    }

    /// Returns true if an invocation that begins at `now` may have waited for this process to
    /// start. An environment that Lambda made ahead has been idle before its first invocation.
    pub(crate) fn is_cold(&self, now: Timestamp) -> bool {
        now <= self.cold_until
    }

    /// Returns true for the first caller in the life of the process, if it began at `now` with a
    /// cold start.
    pub(crate) fn is_cold_start(&self, now: Timestamp) -> bool {
        !self.warm.swap(true, Ordering::Relaxed) && self.is_cold(now)
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer")
            .field("function_name", &self.function_name)
            .finish_non_exhaustive()
    }
}
