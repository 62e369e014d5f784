//! Spans of `tracing` as subsegments.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::{
    Event, Level, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::{Filtered, Targets},
    layer::Context as LayerContext,
    registry::LookupSpan,
};

use super::{
    fields::{ErrorEvent, SpanFields},
    open_spans::OpenSpan,
};
use crate::{
    support::{diagnostics, last_panic},
    trace::{
        context::{Context, Inner},
        open::Open,
        subsegment::Subsegment,
    },
};

/// Records each span as a subsegment, so that `#[instrument]` is all that you write.
///
/// A span becomes a subsegment if it is created in a recorded invocation or message. Name, begin
/// and end come from the span, metadata from its fields. An event of level ERROR makes it a fault,
/// with the event's `error` field or message as cause. While a span is entered, in any task or
/// thread, it is the current subsegment: AWS and HTTP calls become its children. A spawned task
/// that carries its span therefore carries the trace.
///
/// A panic that unwinds through a span makes it a fault. A future that is dropped early ends it
/// without one, because a span cannot distinguish the two ends. A span ends no later than the
/// handler, even if a background task (such as a connection driver) still holds it. A span that
/// only a spawned task has entered continues with that task. Spans outside an invocation are not
/// recorded.
///
/// `#[instrument]` turns all arguments of a function into fields. Fields named `self`, `event`,
/// `request`, `message`, `payload`, `body` and `headers` are left out, and so are fields whose name
/// has a word for a secret, such as `password`, `api_key` or `session_token`; `skip` other
/// arguments that must not be recorded. URLs in fields lose user, query and fragment. Texts are cut
/// at 1000 characters.
///
/// ```
/// use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};
///
/// tracing_subscriber::registry()
///     .with(tracestitch::SpanLayer::new().annotate(["order_id"]).filtered())
///     .with(tracestitch::LogLayer::from_env().filtered())
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
}

/// Number of spans in a trace that are not closed. While it is zero, entering a span costs one
/// load. The number covers all layers: after `tracing_subscriber::reload` the new layer continues
/// the spans of the old one.
static LIVE: AtomicUsize = AtomicUsize::new(0);

impl SpanLayer {
    /// Creates a layer that records spans of level INFO and above.
    pub fn new() -> Self {
        Self {
            filter: Targets::new().with_default(LevelFilter::INFO),
            annotations: Vec::new(),
        }
    }

    /// Records the spans and reads the error events that `filter` enables, instead of spans of
    /// level INFO and above.
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

    /// Wraps this layer in its filter, so that `tracing` does not create spans and events that no
    /// layer needs. One AWS SDK call has some 90 below INFO, which otherwise cost more than all
    /// other work of tracing. The filter takes effect if every layer of the subscriber has one; for
    /// other layers use [`Layer::with_filter`].
    ///
    /// A filtered layer does not see that a span below its level is entered. A spawned task that
    /// carries only such a span carries no trace: give it `in_current_span()`.
    pub fn filtered<S>(self) -> Filtered<Self, Targets, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = self.filter.clone();
        self.with_filter(filter)
    }

    /// Records fields of these names as annotations instead of metadata. X-Ray finds traces by
    /// annotations.
    #[must_use]
    pub fn annotate(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.annotations = fields.into_iter().map(Into::into).collect();
        self
    }

    fn fields(&self) -> SpanFields<'_> {
        SpanFields::new(&self.annotations)
    }
}

impl Default for SpanLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// State of a span that is in a trace.
struct SpanRecord {
    subsegment: Subsegment,
    context: Context,
    /// `None` if the span is left out.
    worked: Option<Arc<OpenSpan>>,
}

/// A span that a thread has entered.
struct EnteredSpan {
    id: Id,
    own: Context,
    /// Context that the span's context replaced.
    before: Context,
    /// The span, if the handler's own code entered it rather than another task.
    worked: Option<Arc<OpenSpan>>,
}

thread_local! {
    /// Spans that this thread has entered, the latest last.
    static ENTERED: RefCell<Vec<EnteredSpan>> = const { RefCell::new(Vec::new()) };
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
            // A second layer of this type would make the same subsegment again.
            return;
        }
        let parent = attributes.parent().and_then(|id| context_at(&spans, id));
        let parent = parent.unwrap_or_else(Context::current);
        if parent.trace().is_none() {
            return;
        }
        let subsegment = Subsegment::begin_with(&parent, metadata.name(), |document| {
            let mut fields = self.fields();
            attributes.record(&mut fields);
            fields.put_on(document);
        });
        if let Some(span) = spans.span(id) {
            // Kept also if nothing is recorded: a task that carries the span carries the trace.
            let context = subsegment.context();
            LIVE.fetch_add(1, Ordering::Relaxed);
            let recorded = context.recording().filter(|_| subsegment.is_recording());
            span.extensions_mut().insert(SpanRecord {
                worked: recorded.map(OpenSpan::begin),
                subsegment,
                context,
            });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, spans: LayerContext<'_, S>) {
        if let Some(open) = recorded(&spans, id) {
            let mut fields = self.fields();
            values.record(&mut fields);
            open.amend(|document| fields.put_on(document));
        }
    }

    fn on_event(&self, event: &Event<'_>, spans: LayerContext<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR
            || metadata.target() == diagnostics::REPORTS
            || !self
                .filter
                .would_enable(metadata.target(), metadata.level())
        {
            return;
        }
        if let Inner::Recording(open) = context_of_event(event, &spans).inner {
            let mut failure = ErrorEvent::default();
            event.record(&mut failure);
            let cause = failure.cause(metadata.target());
            open.fail_with(|| cause);
        }
    }

    fn on_enter(&self, id: &Id, spans: LayerContext<'_, S>) {
        if LIVE.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (own, worked) = kept(&spans, id);
        let own = match own {
            Some(own) if own.is_recording() => Some(own),
            // In another task, a span that is not recorded still leads to its trace.
            own if Context::bound().trace().is_none() => own
                .or_else(|| context_at(&spans, id))
                .map(Context::in_handler),
            own => own,
        };
        if let Some(own) = own {
            let before = own.clone().swap();
            let id = id.clone();
            // The init phase is the only one that is recorded without a header; the two look alike
            // there.
            let init = own.trace().is_some_and(|trace| trace.header.is_none());
            entered(|entered| {
                let around = entered.first().map_or(&before, |first| &first.before);
                let worked = worked.filter(|_| init || around.trace().is_some());
                if let Some(worked) = &worked {
                    worked.enter();
                }
                entered.push(EnteredSpan {
                    id,
                    own,
                    before,
                    worked,
                });
            });
        }
    }

    fn on_exit(&self, id: &Id, spans: LayerContext<'_, S>) {
        if LIVE.load(Ordering::Relaxed) == 0 {
            return;
        }
        let left = entered(|entered| {
            let index = entered.iter().rposition(|entered| entered.id == *id)?;
            let left = entered.remove(index);
            // A span that was entered later and is left later must not restore this context.
            let later = entered.get_mut(index);
            let is_last = later.is_none();
            if let Some(later) = later
                && later.before.is_same(&left.own)
            {
                later.before = left.before.clone();
            }
            Some((left, is_last))
        });
        let Some((left, is_last)) = left.flatten() else {
            return;
        };
        if let Some(worked) = &left.worked {
            worked.leave();
        }
        if let Some(cause) = last_panic::unwinding()
            && let Some(open) = recorded(&spans, id)
        {
            open.fail_with(|| cause);
        }
        // A guard that was held across an await is left while another context is current.
        if is_last && left.own.is_same(&Context::bound()) {
            left.before.restore();
        }
    }

    fn on_close(&self, id: Id, spans: LayerContext<'_, S>) {
        if LIVE.load(Ordering::Relaxed) == 0 {
            return;
        }
        let span = spans.span(&id);
        let recorded = span.and_then(|span| span.extensions_mut().remove::<SpanRecord>());
        if let Some(recorded) = recorded {
            LIVE.fetch_sub(1, Ordering::Relaxed);
            recorded.subsegment.finish();
        }
    }
}

/// Calls `change` with this thread's entered spans. Returns `None` while the thread ends and its
/// storage is gone.
fn entered<T>(change: impl FnOnce(&mut Vec<EnteredSpan>) -> T) -> Option<T> {
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
    let recorded = extensions.get::<SpanRecord>()?;
    Some(recorded.context.clone())
}

/// Returns the context of an event: of the span that it names, else of the running code.
pub(crate) fn context_of_event<S>(event: &Event<'_>, spans: &LayerContext<'_, S>) -> Context
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let parent = event.parent().and_then(|id| context_at(spans, id));
    parent.unwrap_or_else(Context::current)
}

/// Returns the subsegment of this span, or `None` if it is left out.
fn recorded<S>(spans: &LayerContext<'_, S>, id: &Id) -> Option<Arc<Open>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let span = spans.span(id)?;
    let extensions = span.extensions();
    let recorded = extensions.get::<SpanRecord>()?;
    match &recorded.context.inner {
        Inner::Recording(open) if recorded.subsegment.is_recording() => Some(open.clone()),
        _ => None,
    }
}

/// Returns the state that entering the span needs.
fn kept<S>(spans: &LayerContext<'_, S>, id: &Id) -> (Option<Context>, Option<Arc<OpenSpan>>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(span) = spans.span(id) else {
        return (None, None);
    };
    let extensions = span.extensions();
    extensions
        .get::<SpanRecord>()
        .map_or((None, None), |recorded| {
            (Some(recorded.context.clone()), recorded.worked.clone())
        })
}

/// Returns the context of the span or of the nearest span around it that has one.
fn context_at<S>(spans: &LayerContext<'_, S>, id: &Id) -> Option<Context>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    spans
        .span_scope(id)?
        .find_map(|span| Some(span.extensions().get::<SpanRecord>()?.context.clone()))
}

#[cfg(test)]
mod tests;
