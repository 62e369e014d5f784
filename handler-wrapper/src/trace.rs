//! What all work for one invocation or one message has in common.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(feature = "sqs")]
use std::time::Duration;
use std::time::Instant;

use tracestitch_wire::header::{Sampling, TraceHeader};

use crate::{
    config::Config,
    incoming::Sources,
    invocation::FUNCTION,
    transport::{Sink, Transport},
};

/// What all invocations of this process have in common.
pub(crate) struct Tracer {
    pub(crate) function_name: String,
    /// Kind of resource that segments ran on (X-Ray API reference, `Service` type).
    pub(crate) origin: Option<&'static str>,
    /// See [`Config::concurrent`].
    pub(crate) concurrent: bool,
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) sources: Sources,
    warm: AtomicBool,
}

impl Tracer {
    /// None when tracing is switched off.
    pub(crate) fn from_env() -> Option<Arc<Self>> {
        let config = Config::from_env();
        config.enabled.then(|| {
            let sink = Box::new(Transport::new(&config));
            let mut tracer = Self::new(config.function_name, config.concurrent, sink);
            tracer.sources = config.sources;
            Arc::new(tracer)
        })
    }

    /// For a process that is no Lambda function.
    #[cfg(feature = "sqs-poll")]
    pub(crate) fn for_service(name: String) -> Option<Arc<Self>> {
        let mut tracer = Arc::into_inner(Self::from_env()?)?;
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
            sources: Sources::default(),
            warm: AtomicBool::new(false),
        }
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
    /// When Lambda ends the invocation; None where that is not known.
    pub(crate) deadline: Option<Deadline>,
}

/// The time that Lambda gives an invocation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) began: Instant,
    pub(crate) ends: Instant,
}

impl Deadline {
    /// The end less `margin`, which counts as half of the invocation's time when it is more: a
    /// margin that leaves no time for work would give up everything for ever.
    #[cfg(feature = "sqs")]
    pub(crate) fn less(self, margin: Duration) -> Instant {
        let half = self.ends.saturating_duration_since(self.began) / 2;
        self.ends.checked_sub(margin.min(half)).unwrap_or(self.ends)
    }
}

impl Trace {
    /// The trace of an invocation.
    pub(crate) fn new(tracer: Arc<Tracer>, header: Option<TraceHeader>) -> Self {
        Self {
            tracer,
            header,
            deadline: None,
        }
    }

    /// The trace that came with a message of this invocation.
    pub(crate) fn carried(&self, header: TraceHeader) -> Self {
        Self {
            tracer: self.tracer.clone(),
            header: Some(header),
            deadline: self.deadline,
        }
    }

    /// The header, if work in this trace is to be recorded.
    pub(crate) fn sampled(&self) -> Option<&TraceHeader> {
        self.header
            .as_ref()
            .filter(|header| header.sampling == Sampling::Sampled)
    }
}
