//! How a function is traced, as its author chooses it.

use std::sync::Arc;

use crate::{
    settings::{redaction::Redaction, sampling::SamplingRules},
    trace::{panic_hook, tracer::Tracer},
};

/// Traces the invocations of a function whose [`Runtime`](lambda_runtime::Runtime) you build
/// yourself. [`run`](crate::run()) does this for you.
///
/// One layer is used twice: around the handler, where its error and panic can be seen, and
/// around the runtime, where the raw event can be seen and the moment after the reply was posted.
/// In the runtime, add it last, so that it is outermost.
///
/// With the inner one alone everything works but this: contexts that only the raw event holds
/// are not found, and the extension learns of the invocation's end before the reply is posted.
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
///     let trace = TraceLayer::from_env();
///     Runtime::new(trace.layer(service_fn(handler))).layer(trace).run().await
/// }
/// ```
#[derive(Debug, Clone)]
pub struct TraceLayer {
    /// None when tracing is switched off.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

impl TraceLayer {
    /// Reads the environment (see the README's table) and connects to the extension. A bad value
    /// is named in one warning on standard error, and its default used.
    pub fn from_env() -> Self {
        Self::redacting(Redaction::none())
    }

    /// As [`from_env`](Self::from_env), with rules for what must not leave the process.
    ///
    /// ```no_run
    /// use lambda_runtime::{Error, LambdaEvent, service_fn};
    /// use tracestitch::{Place, Redaction, TraceLayer};
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<(), Error> {
    ///     let rules = Redaction::from_fn(|place, _text| {
    ///         (place == Place::Annotation("email")).then(|| "[email]".to_owned())
    ///     });
    ///     let handler = service_fn(async |_: LambdaEvent<serde_json::Value>| Ok::<_, Error>(()));
    ///     TraceLayer::redacting(rules).run(handler).await
    /// }
    /// ```
    pub fn redacting(rules: Redaction) -> Self {
        let tracer = Tracer::from_env(rules);
        if tracer.is_some() {
            panic_hook::install();
        }
        Self { tracer }
    }

    /// Decides by `rules`, in place of those of the environment, where nobody has decided.
    ///
    /// To be set before the layer is used or cloned.
    #[must_use]
    pub fn sampling(mut self, rules: SamplingRules) -> Self {
        if let Some(tracer) = self.tracer.as_mut().and_then(Arc::get_mut) {
            tracer.sampling = rules;
        }
        self
    }

    #[cfg(test)]
    pub(crate) fn with(tracer: Tracer) -> Self {
        Self {
            tracer: Some(Arc::new(tracer)),
        }
    }
}
