//! The settings of tracing, which every entry point takes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::{
    settings::{redaction::Redaction, sampling::SamplingRules},
    trace::{panic_hook, tracer::Tracer},
    transport::sink::Sink,
};

/// Settings of tracing, and the layer that traces with them.
///
/// One value serves every entry point: [`run`](Self::run), `run_concurrent`, `run_http`,
/// `run_http_streaming`, `run_http_concurrent`, `sqs::Poller::new`, and a
/// [`Runtime`](lambda_runtime::Runtime) that you build yourself. [`tracestitch::run`](crate::run())
/// and its like use `TraceLayer::new()`.
///
/// A value is plain data until its first use. Then it reads the environment (see the README's table)
/// and connects to the extension, once for all its clones. An invalid value of a variable is named
/// in one warning on standard error, and the default is used.
///
/// A setter never changes a value in use: it returns another one, which makes a connection of its
/// own.
///
/// ```no_run
/// use lambda_runtime::{Error, LambdaEvent, service_fn};
/// use tracestitch::{Place, Redaction, TraceLayer};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     let email = Redaction::from_fn(|place, _text| {
///         (place == Place::Annotation("email")).then(|| "[email]".to_owned())
///     });
///     let settings = TraceLayer::new().redact(email).sampling("rate=0.05".parse()?);
///     let handler = service_fn(async |_: LambdaEvent<serde_json::Value>| Ok::<_, Error>(()));
///     settings.run(handler).await
/// }
/// ```
///
/// # A runtime of your own
///
/// Use one layer twice: around the handler, where its error and panic can be seen, and around the
/// runtime, where the raw event can be seen and the moment after the reply was posted. In the
/// runtime, add it last, so that it is outermost.
///
/// With the inner one alone, contexts that only the raw event holds are not found, and the extension
/// learns of the invocation's end before the reply is posted.
///
/// ```no_run
/// use lambda_runtime::{Error, LambdaEvent, Runtime, service_fn, tower::Layer};
/// use tracestitch::TraceLayer;
///
/// async fn handler(event: LambdaEvent<serde_json::Value>) -> Result<serde_json::Value, Error> {
///     Ok(event.payload)
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     let trace = TraceLayer::new();
///     Runtime::new(trace.layer(service_fn(handler))).layer(trace).run().await
/// }
/// ```
#[derive(Clone, Default)]
pub struct TraceLayer {
    redaction: Redaction,
    whole_messages: bool,
    /// In place of the rules of the environment.
    sampling: Option<SamplingRules>,
    /// In place of the extension and the daemon.
    sink: Option<Arc<dyn Sink>>,
    /// Made at the first use of any clone; `None` in it if tracing is switched off.
    tracer: Arc<OnceLock<Option<Arc<Tracer>>>>,
}

impl TraceLayer {
    /// Returns settings without rules of redaction, and with the rules of sampling that the
    /// environment has (`TRACESTITCH_SAMPLING`).
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rules for what must not leave the process, after the rules that are there.
    #[must_use = "a setter returns the changed settings"]
    pub fn redact(self, rules: Redaction) -> Self {
        Self {
            redaction: self.redaction.and(rules),
            tracer: Arc::default(),
            ..self
        }
    }

    /// Records whole messages of the function's errors and panics; only URLs in them lose user, query
    /// and fragment, and PostgreSQL's `DETAIL` is removed.
    ///
    /// By default values in quotes are replaced by `?`, because services, databases and parsers quote
    /// what they were given. AWS and database calls have switches of their own.
    #[must_use = "a setter returns the changed settings"]
    pub fn with_whole_messages(self) -> Self {
        Self {
            whole_messages: true,
            tracer: Arc::default(),
            ..self
        }
    }

    /// Replaces the rules that decide if the caller made no decision, including the environment's.
    #[must_use = "a setter returns the changed settings"]
    pub fn sampling(self, rules: SamplingRules) -> Self {
        Self {
            sampling: Some(rules),
            tracer: Arc::default(),
            ..self
        }
    }

    /// Settings whose documents go to `sink`. The environment is not read.
    #[cfg(any(test, feature = "test-util"))]
    pub(crate) fn to_sink(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink: Some(sink),
            ..Self::default()
        }
    }

    /// Returns the tracer of this value and its clones, made at the first call. `None` if tracing is
    /// switched off.
    pub(crate) fn tracer(&self) -> Option<Arc<Tracer>> {
        let tracer = self.tracer.get_or_init(|| self.connect().map(Arc::new));
        tracer.clone()
    }

    /// Makes a tracer for a process that is not a Lambda function.
    #[cfg(feature = "sqs-poll")]
    pub(crate) fn service_tracer(&self, name: String) -> Option<Arc<Tracer>> {
        let mut tracer = self.connect()?;
        tracer.function_name = name;
        tracer.origin = None;
        Some(Arc::new(tracer))
    }

    fn connect(&self) -> Option<Tracer> {
        let mut tracer = match &self.sink {
            Some(sink) => Tracer::new("function".to_owned(), true, sink.clone()),
            None => Tracer::from_env()?,
        };
        tracer.redaction = self.redaction.clone();
        tracer.whole_messages = self.whole_messages;
        if let Some(rules) = &self.sampling {
            tracer.sampling = rules.clone();
        }
        panic_hook::install();
        Some(tracer)
    }

    #[cfg(test)]
    pub(crate) fn with(tracer: Tracer) -> Self {
        Self::made(Some(Arc::new(tracer)))
    }

    #[cfg(test)]
    pub(crate) fn disabled() -> Self {
        Self::made(None)
    }

    #[cfg(test)]
    fn made(tracer: Option<Arc<Tracer>>) -> Self {
        Self {
            tracer: Arc::new(OnceLock::from(tracer)),
            ..Self::default()
        }
    }
}

impl fmt::Debug for TraceLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceLayer")
            .field("redaction", &self.redaction)
            .field("whole_messages", &self.whole_messages)
            .field("sampling", &self.sampling)
            .field("in_use", &self.tracer.get().is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::kept::Kept;

    fn rule(text: &'static str) -> Redaction {
        Redaction::from_fn(move |_, found| (found == "secret").then(|| text.to_owned()))
    }

    #[test]
    fn setters_of_a_value_in_use_return_another_one_with_the_rule() {
        let used = TraceLayer::to_sink(Arc::new(Kept::default()));
        let tracer = used.tracer().unwrap();
        let redacting = used.clone().redact(rule("gone")).tracer().unwrap();
        let sampling = used.clone().sampling("rate=1".parse().unwrap());
        let sampling = sampling.tracer().unwrap();
        assert!(Arc::ptr_eq(&tracer, &used.tracer().unwrap()));
        for (tracer, redacts, samples) in [
            (tracer, false, false),
            (redacting, true, false),
            (sampling, false, true),
        ] {
            assert_eq!(!tracer.redaction.is_none(), redacts);
            assert_eq!(!tracer.sampling.is_empty(), samples);
        }
    }

    #[test]
    fn clones_share_one_tracer_whichever_is_used_first() {
        let layer = TraceLayer::to_sink(Arc::new(Kept::default())).redact(rule("gone"));
        let clone = layer.clone();
        let first = clone.tracer().unwrap();
        assert!(Arc::ptr_eq(&first, &layer.tracer().unwrap()));
    }

    #[cfg(feature = "sqs-poll")]
    #[test]
    fn tracer_of_a_service_has_its_name_and_all_rules() {
        let layer = TraceLayer::to_sink(Arc::new(Kept::default()))
            .redact(rule("gone"))
            .sampling("rate=1".parse().unwrap());
        let tracer = layer.service_tracer("poller".to_owned()).unwrap();
        assert_eq!((&*tracer.function_name, tracer.origin), ("poller", None));
        assert!(!tracer.redaction.is_none() && !tracer.sampling.is_empty());
    }
}
