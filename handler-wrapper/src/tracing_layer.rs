//! Spans of `tracing` as subsegments.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tracestitch_wire::document::{
    AnnotationValue, Cause, Document, Exception, clean_message, clean_urls,
};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer, filter::Targets, layer::Context as LayerContext, registry::LookupSpan,
};

use crate::{
    context::{Context, Inner},
    panics,
    subsegment::Subsegment,
};

/// Fields that hold what a function was given to work on: they are not recorded unless they are
/// named in [`SpanLayer::annotate`].
const DATA: [&str; 6] = ["event", "request", "message", "payload", "body", "headers"];

/// Characters of a field's text.
const FIELD_LENGTH: usize = 1000;

/// Makes a subsegment of each span: `#[instrument]` is then all that you write.
///
/// A span becomes a subsegment when it is created in a recorded invocation or message: name,
/// begin and end are the span's, its fields go to the metadata, an event of level ERROR makes it
/// a fault with the event's `error` field or message as cause. While the span is entered, in
/// whatever task or thread, it is the current subsegment: AWS and HTTP calls made there hang
/// under it. A spawned task that carries its span therefore carries the trace. A panic that
/// unwinds through it makes it a fault; a future that is dropped early just ends it, because a
/// span does not tell the one from the other. Spans outside an invocation are not recorded.
///
/// `#[instrument]` takes all arguments of a function for fields. Those named `event`, `request`,
/// `message`, `payload`, `body` and `headers` are left out; `skip` others that must not be seen.
/// URLs in fields lose user, query and fragment.
///
/// ```
/// use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};
///
/// tracing_subscriber::registry()
///     .with(tracestitch::SpanLayer::new().annotate(["order_id"]))
///     .with(tracestitch::LogLayer::from_env())
///     .init();
///
/// #[tracing::instrument]
/// async fn price(order_id: &str) -> u32 {
///     15
/// }
/// ```
#[derive(Debug)]
pub struct SpanLayer {
    filter: Targets,
    annotations: Vec<String>,
    /// Spans that are recorded and not closed. With none, entering a span costs one load.
    live: AtomicUsize,
}

impl SpanLayer {
    /// Records spans of level INFO and above.
    pub fn new() -> Self {
        Self {
            filter: Targets::new().with_default(LevelFilter::INFO),
            annotations: Vec::new(),
            live: AtomicUsize::new(0),
        }
    }

    /// Records the spans, and takes the error events, that `filter` lets through, in place of
    /// those of level INFO and above.
    ///
    /// ```
    /// use tracing_subscriber::filter::Targets;
    ///
    /// let filter: Targets = "warn,order_worker=debug".parse()?;
    /// let layer = tracestitch::SpanLayer::new().filter(filter);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn filter(mut self, filter: Targets) -> Self {
        self.filter = filter;
        self
    }

    /// Fields of these names become annotations, by which X-Ray finds traces, in place of
    /// metadata.
    #[must_use]
    pub fn annotate(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.annotations = fields.into_iter().map(Into::into).collect();
        self
    }

    fn fields(&self) -> Fields<'_> {
        Fields {
            annotations: &self.annotations,
            facts: Vec::new(),
        }
    }
}

impl Default for SpanLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// What a span keeps while it is recorded.
struct Recorded {
    subsegment: Subsegment,
    context: Context,
}

thread_local! {
    /// Spans that this thread is in, with the context that each took the place of.
    static ENTERED: RefCell<Vec<(Id, Context)>> = const { RefCell::new(Vec::new()) };
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, spans: LayerContext<'_, S>) {
        let metadata = attributes.metadata();
        if !self
            .filter
            .would_enable(metadata.target(), metadata.level())
        {
            return;
        }
        if context_of(&spans, id).is_some() {
            // A second layer of this kind: it would make the same subsegment again.
            return;
        }
        let parent = attributes.parent().and_then(|id| context_of(&spans, id));
        let parent = parent.unwrap_or_else(Context::current);
        let subsegment = Subsegment::begin_with(&parent, metadata.name(), |document| {
            let mut fields = self.fields();
            attributes.record(&mut fields);
            fields.put_on(document);
        });
        if !subsegment.is_recording() {
            return;
        }
        if let Some(span) = spans.span(id) {
            let context = subsegment.context();
            self.live.fetch_add(1, Ordering::Relaxed);
            span.extensions_mut().insert(Recorded {
                subsegment,
                context,
            });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, spans: LayerContext<'_, S>) {
        if let Some(Context(Inner::Recording(open))) = context_of(&spans, id) {
            let mut fields = self.fields();
            values.record(&mut fields);
            open.amend(|document| fields.put_on(document));
        }
    }

    fn on_event(&self, event: &Event<'_>, spans: LayerContext<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR
            || !self
                .filter
                .would_enable(metadata.target(), metadata.level())
        {
            return;
        }
        let parent = event.parent().and_then(|id| context_of(&spans, id));
        if let Inner::Recording(open) = parent.unwrap_or_else(Context::current).0 {
            let mut failure = Failure::default();
            event.record(&mut failure);
            let cause = failure.cause(metadata.target());
            open.amend(|document| document.fail(cause));
        }
    }

    fn on_enter(&self, id: &Id, spans: LayerContext<'_, S>) {
        if self.live.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(context) = context_of(&spans, id) {
            let before = context.swap();
            entered(|entered| entered.push((id.clone(), before)));
        }
    }

    fn on_exit(&self, id: &Id, spans: LayerContext<'_, S>) {
        let Some(own) = context_of(&spans, id) else {
            return;
        };
        let before = entered(|entered| {
            let index = entered.iter().rposition(|(entered, _)| entered == id)?;
            let (_, before) = entered.remove(index);
            // One that was entered later, and is left later, must not bring this one back.
            if let Some((_, later)) = entered.get_mut(index)
                && later.is_same(&own)
            {
                *later = before.clone();
            }
            Some(before)
        });
        let Some(before) = before.flatten() else {
            return;
        };
        if let (Some(cause), Some(open)) = (panics::unwinding(), own.recording()) {
            open.amend(|document| document.fail(cause));
        }
        // A guard that was held across an await leaves when another context is current.
        if own.is_same(&Context::bound()) {
            before.swap();
        }
    }

    fn on_close(&self, id: Id, spans: LayerContext<'_, S>) {
        if self.live.load(Ordering::Relaxed) == 0 {
            return;
        }
        let span = spans.span(&id);
        let recorded = span.and_then(|span| span.extensions_mut().remove::<Recorded>());
        if let Some(recorded) = recorded {
            self.live.fetch_sub(1, Ordering::Relaxed);
            recorded.subsegment.finish();
        }
    }
}

/// None while the thread ends, when its storage is gone.
fn entered<T>(change: impl FnOnce(&mut Vec<(Id, Context)>) -> T) -> Option<T> {
    ENTERED
        .try_with(|entered| change(&mut entered.borrow_mut()))
        .ok()
}

fn context_of<S>(spans: &LayerContext<'_, S>, id: &Id) -> Option<Context>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let span = spans.span(id)?;
    let extensions = span.extensions();
    let recorded = extensions.get::<Recorded>()?;
    Some(recorded.context.clone())
}

/// Collects a span's fields. Their values write themselves, as the user's code has it, so the
/// document must not be locked meanwhile.
struct Fields<'a> {
    annotations: &'a [String],
    facts: Vec<Fact>,
}

enum Fact {
    Annotation(&'static str, AnnotationValue),
    Metadata(&'static str, Value),
    Failure(Cause),
}

impl Fields<'_> {
    fn is_annotation(&self, name: &str) -> bool {
        self.annotations.iter().any(|annotated| annotated == name)
    }

    fn put<V: Into<Value>>(&mut self, field: &Field, value: impl FnOnce() -> V) {
        let name = field.name();
        if self.is_annotation(name) {
            let value = annotation(value().into());
            self.facts.push(Fact::Annotation(name, value));
        } else if !DATA.contains(&name) {
            self.facts.push(Fact::Metadata(name, value().into()));
        }
    }

    fn put_on(self, document: &mut Document) {
        for fact in self.facts {
            match fact {
                Fact::Annotation(name, value) => document.annotate(name.into(), value),
                Fact::Metadata(name, value) => {
                    document.put_metadata("default".into(), name.into(), value);
                }
                Fact::Failure(cause) => document.fail(cause),
            }
        }
    }
}

fn annotation(value: Value) -> AnnotationValue {
    match value {
        Value::Bool(value) => value.into(),
        Value::String(text) => text.into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (_, Some(number)) => number.into(),
            _ => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        other => other.to_string().into(),
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.put(field, || value);
        } else {
            self.put(field, || value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, || value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, || value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, || value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, || cut(value));
    }

    fn record_error(&mut self, _field: &Field, error: &(dyn Error + 'static)) {
        self.facts.push(Fact::Failure(Cause::from_error(error)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, || cut(&shown(value)));
    }
}

fn shown(value: &dyn fmt::Debug) -> String {
    panics::contained(|| format!("{value:?}"))
        .unwrap_or_else(|| "a value that panicked while it was shown".to_owned())
}

/// Libraries put whole URLs into the fields of their spans, where they are a log's matter.
fn cut(text: &str) -> String {
    let mut text = clean_urls(text).into_owned();
    if let Some((end, _)) = text.char_indices().nth(FIELD_LENGTH) {
        text.truncate(end);
    }
    text
}

/// What an error event says.
#[derive(Default)]
struct Failure {
    chain: Option<Cause>,
    /// `#[instrument(err)]` writes the error's text into this field.
    error: Option<String>,
    message: Option<String>,
}

impl Failure {
    fn cause(self, target: &str) -> Cause {
        self.chain.unwrap_or_else(|| {
            let message = self.error.or(self.message);
            let message = message.unwrap_or_else(|| format!("an error event of {target}"));
            let message = clean_message(&message).into_owned();
            Cause::from_exception(Exception::new("error event", message))
        })
    }
}

impl Visit for Failure {
    fn record_error(&mut self, _field: &Field, error: &(dyn Error + 'static)) {
        self.chain.get_or_insert_with(|| Cause::from_error(error));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "error" | "err" => self.error = Some(shown(value)),
            "message" => self.message = Some(shown(value)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
