//! Log lines with the trace they belong to.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    filter::{Filtered, Targets},
    layer::Context as LayerContext,
    registry::LookupSpan,
};

use super::span_layer;
use crate::{
    settings::config,
    support::{clock, user_code},
    trace::context::Context,
};

/// Keys of every line. A field of the same name gets an underscore as suffix.
const RESERVED: [&str; 7] = [
    "timestamp",
    "level",
    "message",
    "target",
    "requestId",
    "traceId",
    "segmentId",
];

/// Writes the events of `tracing` as JSON lines with the trace that they belong to.
///
/// The keys come from Lambda's JSON log format (AWS Lambda developer guide, "Configuring JSON
/// and plain text log formats"), as its runtimes for Node and Python write them: `timestamp`,
/// `level`, `message`, `requestId`; then `target`, `traceId` and `segmentId`, and the event's
/// fields. Lambda reads `level` and `timestamp`, an RFC 3339 time ("Log-level filtering"). Lines of
/// an SQS message carry the message's trace, so CloudWatch Logs Insights finds all lines of a trace
/// by `filter traceId = "1-…"`. An event with a `parent:` carries the trace of that span, if a
/// [`SpanLayer`](crate::SpanLayer) has recorded it.
///
/// This layer replaces the subscriber of `lambda_runtime` (`tracing::init_default_subscriber`).
/// That one writes the same level and values, but the fields in a nested object, and no time. A
/// process has one subscriber: a second `init` panics.
///
/// ```
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(tracestitch::LogLayer::from_env().filtered());
/// tracing::subscriber::with_default(subscriber, || {
///     // {"timestamp":"2026-11-20T22:13:20.512Z","level":"INFO","message":"priced",…,"items":3}
///     tracing::info!(items = 3, "priced");
/// });
/// ```
pub struct LogLayer {
    filter: Targets,
    /// `None` for standard output, which Lambda puts into the function's log.
    writer: Option<Mutex<Box<dyn Write + Send>>>,
}

impl LogLayer {
    /// Writes events to standard output, at the level that the function's configuration asks for
    /// (`AWS_LAMBDA_LOG_LEVEL`, INFO if unset) and above.
    pub fn from_env() -> Self {
        Self {
            filter: Targets::new().with_default(LevelFilter::from_level(config::log_level())),
            writer: None,
        }
    }

    /// Writes the events that `filter` enables, instead of those at the configured level.
    #[must_use]
    pub fn filter(mut self, filter: Targets) -> Self {
        self.filter = filter;
        self
    }

    /// Wraps this layer in its filter, with the same savings as
    /// [`SpanLayer::filtered`](crate::SpanLayer::filtered).
    pub fn filtered<S>(self) -> Filtered<Self, Targets, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = self.filter.clone();
        self.with_filter(filter)
    }

    /// Writes to `writer`, a line at a time, instead of standard output.
    #[must_use]
    pub fn to(mut self, writer: impl Write + Send + 'static) -> Self {
        self.writer = Some(Mutex::new(Box::new(writer)));
        self
    }

    fn write(&self, line: &str) {
        // An error of the log itself cannot be reported anywhere.
        let _ = match &self.writer {
            Some(writer) => {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer.write_all(line.as_bytes())
            }
            None => std::io::stdout().lock().write_all(line.as_bytes()),
        };
    }
}

impl fmt::Debug for LogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLayer")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, spans: LayerContext<'_, S>) {
        let metadata = event.metadata();
        let is_record_of_log = metadata.target() == "log";
        let mut fields = LineFields {
            is_record_of_log,
            ..LineFields::default()
        };
        // The target of such a record is one of its fields.
        if is_record_of_log {
            event.record(&mut fields);
        }
        let target = fields.target.take();
        let target = target.as_deref().unwrap_or_else(|| metadata.target());
        if !self.filter.would_enable(target, metadata.level()) {
            return;
        }
        if !is_record_of_log {
            event.record(&mut fields);
        }
        let mut line = String::with_capacity(256);
        line.push('{');
        member(&mut line, "timestamp", &clock::rfc3339());
        member(&mut line, "level", metadata.level().as_str());
        member(&mut line, "message", &fields.message);
        member(&mut line, "target", target);
        correlate(&mut line, &span_layer::context_of_event(event, &spans));
        line.push_str(&fields.others);
        line.push_str("}\n");
        self.write(&line);
    }
}

fn correlate(line: &mut String, context: &Context) {
    let Some(trace) = context.trace() else { return };
    if !trace.request_id.is_empty() {
        member(line, "requestId", &*trace.request_id);
    }
    if let Some(header) = &trace.header {
        member(line, "traceId", &header.root.to_string());
    }
    if let Some(open) = context.recording() {
        member(line, "segmentId", &open.id.to_string());
    }
}

fn member<V: Serialize + ?Sized>(line: &mut String, key: &str, value: &V) {
    if line.len() > 1 {
        line.push(',');
    }
    // Strings, numbers and booleans always serialise.
    let json = |text: serde_json::Result<String>| text.unwrap_or_else(|_| "null".to_owned());
    line.push_str(&json(serde_json::to_string(key)));
    line.push(':');
    line.push_str(&json(serde_json::to_string(value)));
}

/// Fields of an event in JSON, each with a comma before it.
#[derive(Default)]
struct LineFields {
    message: String,
    others: String,
    /// True for a record of the crate `log`, which the crate `tracing-log` forwards with its target
    /// and place in fields `log.*`.
    is_record_of_log: bool,
    /// Target of a record of the crate `log`.
    target: Option<String>,
}

impl LineFields {
    fn put<V: Serialize + ?Sized>(&mut self, field: &Field, value: &V) {
        let name = field.name();
        if self.is_record_of_log && name.starts_with("log.") {
            return;
        }
        let mut text = String::new();
        if RESERVED.contains(&name) {
            member(&mut text, &format!("{name}_"), value);
        } else {
            member(&mut text, name, value);
        }
        self.others.push(',');
        self.others.push_str(&text);
    }
}

impl Visit for LineFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            "log.target" if self.is_record_of_log => self.target = Some(value.to_owned()),
            _ => self.put(field, value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = user_code::shown(value, usize::MAX);
        if field.name() == "message" {
            self.message.push_str(&text);
        } else {
            self.put(field, &text);
        }
    }
}

#[cfg(test)]
mod tests;
