//! What all work in this process has in common.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracestitch_wire::document::Document;

use crate::{
    settings::{carriers::Carriers, config::Config, redaction::Redaction, sampling::SamplingRules},
    support::memory,
    transport::{dispatch::Transport, sink::Sink},
};

/// Origin of segments that a Lambda function ran (X-Ray API reference, `Service` type).
pub(crate) const FUNCTION: &str = "AWS::Lambda::Function";

/// What all invocations of this process have in common.
pub(crate) struct Tracer {
    pub(crate) function_name: String,
    /// Kind of resource that segments ran on (X-Ray API reference, `Service` type).
    pub(crate) origin: Option<&'static str>,
    /// See [`Config::concurrent`].
    pub(crate) concurrent: bool,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) carriers: Carriers,
    pub(crate) sampling: SamplingRules,
    /// Whether what is not sampled is recorded all the same when it fails.
    pub(crate) errors_always: bool,
    pub(crate) redaction: Redaction,
    warm: AtomicBool,
}

impl Tracer {
    /// None when tracing is switched off.
    pub(crate) fn from_env(redaction: Redaction) -> Option<Arc<Self>> {
        let config = Config::from_env();
        config.enabled.then(|| {
            let sink = Box::new(Transport::new(&config));
            let mut tracer = Self::new(config.function_name, config.concurrent, sink);
            tracer.carriers = config.carriers;
            tracer.sampling = config.sampling;
            tracer.errors_always = config.errors_always;
            tracer.redaction = redaction;
            Arc::new(tracer)
        })
    }

    /// For a process that is no Lambda function.
    #[cfg(feature = "sqs-poll")]
    pub(crate) fn for_service(name: String) -> Option<Arc<Self>> {
        let mut tracer = Arc::into_inner(Self::from_env(Redaction::none())?)?;
        tracer.function_name = name;
        tracer.origin = None;
        Some(Arc::new(tracer))
    }

    pub(crate) fn new(function_name: String, concurrent: bool, sink: Box<dyn Sink>) -> Self {
        Self {
            function_name,
            origin: Some(FUNCTION),
            concurrent,
            sink,
            carriers: Carriers::default(),
            sampling: SamplingRules::default(),
            errors_always: false,
            redaction: Redaction::none(),
            warm: AtomicBool::new(false),
        }
    }

    /// Gives `document`, which goes on, to `take` as it may leave the process.
    pub(crate) fn in_progress(&self, document: &Document, take: impl FnOnce(&[u8])) {
        if self.redaction.is_none() {
            return memory::with_json(document, take);
        }
        // A rule sees each text once: it gets a copy, as the document goes on.
        self.over(&mut document.clone(), take);
    }

    /// Gives `document` to `take` as it may leave the process.
    pub(crate) fn over(&self, document: &mut Document, take: impl FnOnce(&[u8])) {
        self.redaction.apply(document);
        memory::with_json(document, take);
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
