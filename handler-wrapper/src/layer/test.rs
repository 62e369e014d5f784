//! Assertions on the traces of handlers under test (feature `test-util`).
//!
//! [`Traces`] collects what handlers record, in place of the extension and the daemon. The
//! environment is not read, so tests run in parallel and need no setup.
//!
//! ```
//! use lambda_runtime::{Error, LambdaEvent, service_fn};
//! use tracestitch::test::{self, Traces};
//!
//! async fn handler(event: LambdaEvent<u32>) -> Result<u32, Error> {
//!     tracestitch::annotate("items", event.payload);
//!     let price = tracestitch::capture("price the order", async move { event.payload * 5 });
//!     Ok(price.await)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let traces = Traces::new();
//! let price = traces.invoke(service_fn(handler), test::sampled(3)).await;
//! assert_eq!(price.unwrap(), 15);
//!
//! let function = traces.one(test::FUNCTION);
//! assert_eq!(function.annotation("items"), Some(&3.into()));
//! assert!(!function.is_fault());
//! let pricing = traces.one("price the order");
//! assert_eq!(pricing.parent_id(), Some(function.id()));
//!
//! // An unsampled invocation leaves nothing.
//! traces.clear();
//! traces.invoke(service_fn(handler), test::unsampled(3)).await.unwrap();
//! assert!(traces.finished().is_empty());
//! # }
//! ```

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lambda_runtime::{Context as LambdaContext, Diagnostic, LambdaEvent};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt};
use tracestitch_wire::id::SegmentId;

use super::settings::TraceLayer;
use crate::transport::sink::{Flushed, Sink};

/// Name of the function, and so of its documents.
pub const FUNCTION: &str = "function";

/// Trace header of a sampled invocation.
pub const SAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// Trace header of an unsampled invocation.
pub const UNSAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// Returns an event with `payload` and a sampled trace.
pub fn sampled<A>(payload: A) -> LambdaEvent<A> {
    event(payload, SAMPLED)
}

/// Returns an event with `payload` and an unsampled trace.
pub fn unsampled<A>(payload: A) -> LambdaEvent<A> {
    event(payload, UNSAMPLED)
}

/// Returns an event with `payload` and `header` as the trace header of its invocation.
pub fn event<A>(payload: A, header: &str) -> LambdaEvent<A> {
    let mut context = LambdaContext::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
    context.xray_trace_id = Some(header.to_owned());
    LambdaEvent::new(payload, context)
}

/// Returns an SQS event with a message for each body and trace header of its producer.
///
/// Messages are named `m-0`, `m-1` and so on. An empty header stands for a producer that is not
/// traced.
///
/// ```
/// use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
/// use lambda_runtime::{Error, LambdaEvent, service_fn};
/// use tracestitch::test::{self, Traces};
///
/// async fn handler(event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Error> {
///     Ok(tracestitch::sqs::each(event.payload, |message| async move {
///         message.body.unwrap_or_default().parse::<u32>()
///     })
///     .await)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let producer = "Root=1-5759e989-000000000000000000000001;Parent=0000000000000001;Sampled=1";
/// let event = test::sqs_event([("3", producer), ("three", "")]);
/// let traces = Traces::new();
/// let response = traces.invoke(service_fn(handler), test::sampled(event)).await.unwrap();
/// assert_eq!(response.batch_item_failures[0].item_identifier, "m-1");
///
/// let message = traces.finished().into_iter().find(|document| document.is_segment()).unwrap();
/// assert_eq!(message.trace_id(), "1-5759e989-000000000000000000000001");
/// assert_eq!(message.parent_id(), Some("0000000000000001"));
/// # }
/// ```
#[cfg(feature = "sqs")]
pub fn sqs_event<'a>(
    messages: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> aws_lambda_events::sqs::SqsEvent {
    use aws_lambda_events::sqs::{SqsEvent, SqsMessage};

    let messages = messages.into_iter().enumerate();
    let mut event = SqsEvent::default();
    event.records = messages
        .map(|(n, (body, header))| {
            let mut message = SqsMessage::default();
            message.message_id = Some(format!("m-{n}"));
            message.body = Some(body.to_owned());
            if !header.is_empty() {
                let attributes = &mut message.attributes;
                attributes.insert("AWSTraceHeader".to_owned(), header.to_owned());
            }
            message
        })
        .collect();
    event
}

/// Collects the documents of handlers under test. See the [module](self).
///
/// Clones share what they collect.
#[derive(Debug, Clone)]
pub struct Traces {
    collector: Arc<Collector>,
    layer: TraceLayer,
}

impl Default for Traces {
    fn default() -> Self {
        let collector = Arc::new(Collector::default());
        Self {
            layer: TraceLayer::to_sink(collector.clone()),
            collector,
        }
    }
}

impl Traces {
    /// Returns an empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns settings whose documents are collected here, for rules of redaction and sampling and
    /// for every entry point that takes them.
    ///
    /// ```
    /// use lambda_runtime::{Error, LambdaEvent, service_fn, tower::{Layer, ServiceExt}};
    /// use tracestitch::{Redaction, test::{self, Traces}};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let traces = Traces::new();
    /// let digits = Redaction::from_fn(|_, text| {
    ///     text.bytes().all(|byte| byte.is_ascii_digit()).then(|| "[number]".to_owned())
    /// });
    /// let handler = traces.layer().redact(digits).layer(service_fn(
    ///     async |event: LambdaEvent<String>| {
    ///         tracestitch::annotate("card", event.payload);
    ///         Ok::<_, Error>(())
    ///     },
    /// ));
    /// handler.oneshot(test::sampled("4242".to_owned())).await.unwrap();
    /// let function = traces.one(test::FUNCTION);
    /// assert_eq!(function.annotation("card"), Some(&"[number]".into()));
    /// # }
    /// ```
    pub fn layer(&self) -> TraceLayer {
        self.layer.clone()
    }

    /// Runs `handler` with `event`, traced.
    ///
    /// # Errors
    ///
    /// Returns the error of the handler, in the form in which Lambda gets it.
    pub async fn invoke<S, A>(
        &self,
        handler: S,
        event: LambdaEvent<A>,
    ) -> Result<S::Response, Diagnostic>
    where
        S: Service<LambdaEvent<A>>,
        S::Error: Into<Diagnostic> + Debug + 'static,
    {
        self.layer.layer(handler).oneshot(event).await
    }

    /// Returns the finished documents, in the order in which they ended.
    pub fn finished(&self) -> Vec<Document> {
        self.collector.lock().finished.clone()
    }

    /// Returns the documents in progress, in the order in which they began. The extension would send
    /// them as faults if the process died now.
    pub fn in_progress(&self) -> Vec<Document> {
        let open = &self.collector.lock().open;
        open.iter().map(|(_, document)| document.clone()).collect()
    }

    /// Returns the only finished document of this name.
    ///
    /// # Panics
    ///
    /// If there is none, or more than one. The message has the names of all.
    #[track_caller]
    pub fn one(&self, name: &str) -> Document {
        let mut finished = self.finished();
        let names: Vec<_> = finished
            .iter()
            .map(|found| found.name().to_owned())
            .collect();
        finished.retain(|document| document.name() == name);
        assert_eq!(
            finished.len(),
            1,
            "expected one document named {name:?}, found {names:?}"
        );
        finished.remove(0)
    }

    /// Forgets all documents.
    pub fn clear(&self) {
        *self.collector.lock() = Collected::default();
    }
}

/// A segment or subsegment, as it would be sent to X-Ray.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(Value);

impl Document {
    /// Name of the work.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or_default()
    }

    /// Id of the segment or subsegment, 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        self.text("id").unwrap_or_default()
    }

    /// Id of its trace, such as `1-5759e988-bd862e3fe1be46a994272793`.
    pub fn trace_id(&self) -> &str {
        self.text("trace_id").unwrap_or_default()
    }

    /// Id of the segment or subsegment above it.
    pub fn parent_id(&self) -> Option<&str> {
        self.text("parent_id")
    }

    /// Returns true for a segment, false for a subsegment.
    pub fn is_segment(&self) -> bool {
        self.text("type").is_none()
    }

    /// Returns true if it failed in the function or in the service that was called.
    pub fn is_fault(&self) -> bool {
        self.0["fault"] == true
    }

    /// Returns true if the caller is to blame for its failure.
    pub fn is_error(&self) -> bool {
        self.0["error"] == true
    }

    /// Returns true if it was throttled.
    pub fn is_throttle(&self) -> bool {
        self.0["throttle"] == true
    }

    /// Message of the error that made it a fault.
    pub fn message(&self) -> Option<&str> {
        self.0["cause"]["exceptions"][0]["message"].as_str()
    }

    /// Value of the annotation with this key.
    pub fn annotation(&self, key: &str) -> Option<&Value> {
        self.0.get("annotations")?.get(key)
    }

    /// Value of the metadata with this namespace and key. [`metadata()`](crate::metadata()) uses the
    /// namespace `default`.
    pub fn metadata(&self, namespace: &str, key: &str) -> Option<&Value> {
        self.0.get("metadata")?.get(namespace)?.get(key)
    }

    /// All of it, as JSON.
    pub fn json(&self) -> &Value {
        &self.0
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }
}

#[derive(Debug, Default)]
struct Collector(Mutex<Collected>);

#[derive(Debug, Default)]
struct Collected {
    open: Vec<(SegmentId, Document)>,
    finished: Vec<Document>,
}

impl Collected {
    fn forget(&mut self, id: SegmentId) {
        self.open.retain(|(open, _)| *open != id);
    }
}

impl Collector {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Collector {
    fn begin(&self) {}
    fn announce(&self, _request_id: &str) {}

    fn open(&self, id: SegmentId, json: &[u8]) {
        let document = parse(json);
        let mut collected = self.lock();
        match collected.open.iter_mut().find(|(open, _)| *open == id) {
            Some((_, open)) => *open = document,
            None => collected.open.push((id, document)),
        }
    }

    fn close(&self, id: SegmentId, json: &[u8]) {
        let document = parse(json);
        let mut collected = self.lock();
        collected.forget(id);
        collected.finished.push(document);
    }

    fn discard(&self, ids: &[SegmentId]) {
        let mut collected = self.lock();
        ids.iter().for_each(|id| collected.forget(*id));
    }

    fn flush(&self) -> Flushed {
        Flushed::All
    }

    fn end(&self, _request_id: &str) {}
}

/// Parses a document, which this crate has written.
fn parse(json: &[u8]) -> Document {
    Document(serde_json::from_slice(json).unwrap_or_default())
}

#[cfg(test)]
mod tests;
