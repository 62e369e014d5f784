//! What all work for one invocation or one message has in common.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracestitch_wire::header::{Sampling, TraceHeader};

use crate::{
    config::Config,
    transport::{Sink, Transport},
};

/// What all invocations of this process have in common.
pub(crate) struct Tracer {
    pub(crate) function_name: String,
    /// See [`Config::concurrent`].
    pub(crate) concurrent: bool,
    pub(crate) sink: Box<dyn Sink>,
    warm: AtomicBool,
}

impl Tracer {
    /// None when tracing is switched off.
    pub(crate) fn from_env() -> Option<Arc<Self>> {
        let config = Config::from_env();
        config.enabled.then(|| {
            let sink = Box::new(Transport::new(&config));
            Arc::new(Self::new(config.function_name, config.concurrent, sink))
        })
    }

    pub(crate) fn new(function_name: String, concurrent: bool, sink: Box<dyn Sink>) -> Self {
        Self {
            function_name,
            concurrent,
            sink,
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
}

impl Trace {
    /// The header, if work in this trace is to be recorded.
    pub(crate) fn sampled(&self) -> Option<&TraceHeader> {
        self.header
            .as_ref()
            .filter(|header| header.sampling == Sampling::Sampled)
    }
}
