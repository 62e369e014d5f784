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
    support::last_panic,
    trace::{
        context::{Context, Inner},
        open::Open,
        subsegment::Subsegment,
    },
};

/// Makes a subsegment of each span: `#[instrument]` is then all that you write.
///
/// A span becomes a subsegment when it is created in a recorded invocation or message: name,
/// begin and end are the span's, its fields go to the metadata, an event of level ERROR makes it
/// a fault with the event's `error` field or message as cause. While the span is entered, in
/// whatever task or thread, it is the current subsegment: AWS and HTTP calls made there hang
/// under it. A spawned task that carries its span therefore carries the trace. A panic that
/// unwinds through it makes it a fault; a future that is dropped early just ends it, because a
/// span does not tell the one from the other. A span that the handler has left ends with the
/// handler at the latest, though something keeps it, as the task of a connection does; one in which
/// only a task of its own works goes on with that. Spans outside an invocation are not recorded.
///
/// `#[instrument]` takes all arguments of a function for fields. Those named `self`, `event`,
/// `request`, `message`, `payload`, `body` and `headers` are left out; `skip` others that must not
/// be seen. URLs in fields lose user, query and fragment. 1000 characters are kept of a text.
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

/// Spans that are in a trace and not closed. With none, entering a span costs one load. Not of
/// one layer: what takes its place by `tracing_subscriber::reload` goes on with its spans.
static LIVE: AtomicUsize = AtomicUsize::new(0);

impl SpanLayer {
    /// Records spans of level INFO and above.
    pub fn new() -> Self {
        Self {
            filter: Targets::new().with_default(LevelFilter::INFO),
            annotations: Vec::new(),
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

    /// This layer behind its filter, so that `tracing` knows what nobody wants, and makes no spans
    /// and events of it. An AWS SDK call alone has some 90 below INFO, for which it otherwise
    /// waits longer than for all else that tracing does. It works when every layer of the
    /// subscriber has a filter; for others, use [`Layer::with_filter`].
    ///
    /// Nobody tells the layer then that a span which the filter leaves out is entered: a spawned
    /// task that carries such a one alone carries no trace. Give it `in_current_span()`.
    pub fn filtered<S>(self) -> Filtered<Self, Targets, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = self.filter.clone();
        self.with_filter(filter)
    }

    /// Fields of these names become annotations, by which X-Ray finds traces, in place of
    /// metadata.
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

/// What a span keeps that is in a trace.
struct SpanRecord {
    subsegment: Subsegment,
    context: Context,
    /// None where it is left out.
    worked: Option<Arc<OpenSpan>>,
}

/// A span that a thread is in.
struct EnteredSpan {
    id: Id,
    own: Context,
    /// What its context took the place of.
    before: Context,
    /// Where the handler's own code is in it, not that of a task of its own.
    worked: Option<Arc<OpenSpan>>,
}

thread_local! {
    /// Spans that this thread is in, the last one last.
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
            // A second layer of this kind: it would make the same subsegment again.
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
            // Also where nothing is recorded: a task that carries the span carries the trace.
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
            || !self
                .filter
                .would_enable(metadata.target(), metadata.level())
        {
            return;
        }
        if let Inner::Recording(open) = context_of_event(event, &spans).0 {
            let mut failure = ErrorEvent::default();
            event.record(&mut failure);
            let cause = failure.cause(metadata.target());
            open.amend(|document| document.fail(cause));
        }
    }

    fn on_enter(&self, id: &Id, spans: LayerContext<'_, S>) {
        if LIVE.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (own, worked) = kept(&spans, id);
        let own = match own {
            Some(own) if own.is_recording() => Some(own),
            // In a task of its own even a span that is not recorded says where it belongs.
            own if Context::bound().trace().is_none() => own
                .or_else(|| context_at(&spans, id))
                .map(Context::in_handler),
            own => own,
        };
        if let Some(own) = own {
            let before = own.clone().swap();
            let id = id.clone();
            // In the init phase, the only one that is recorded without a header, the two look alike.
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
            // One that was entered later, and is left later, must not bring this one back.
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
            open.amend(|document| document.fail(cause));
        }
        // A guard that was held across an await leaves when another context is current.
        if is_last && left.own.is_same(&Context::bound()) {
            left.before.swap();
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

/// None while the thread ends, when its storage is gone.
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

/// Where an event belongs: to the span that it names, or to the code that it is in.
pub(crate) fn context_of_event<S>(event: &Event<'_>, spans: &LayerContext<'_, S>) -> Context
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let parent = event.parent().and_then(|id| context_at(spans, id));
    parent.unwrap_or_else(Context::current)
}

/// The subsegment of the span's own; None where it is left out.
fn recorded<S>(spans: &LayerContext<'_, S>, id: &Id) -> Option<Arc<Open>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let span = spans.span(id)?;
    let extensions = span.extensions();
    let recorded = extensions.get::<SpanRecord>()?;
    match &recorded.context.0 {
        Inner::Recording(open) if recorded.subsegment.is_recording() => Some(open.clone()),
        _ => None,
    }
}

/// What is to be known to enter the span.
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

/// That of the span, or of the nearest around it that has one.
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
