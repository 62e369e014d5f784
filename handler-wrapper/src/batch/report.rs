//! Reports of items that are not done: a line in the function's log for each.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use tracestitch_wire::{document::Cause, id::TraceId};

use super::item::Item;
use crate::{
    support::{
        clock,
        diagnostics::{self, Level},
        user_code,
    },
    trace::context::Context,
};

/// Most lines for the unprocessed items of one batch, which may have 10,000. One more line has the
/// number of the others.
const MAX_UNPROCESSED: usize = 100;

/// Code of the user's that reports a failed message.
pub(crate) type Hook = Arc<dyn Fn(&FailedMessage) + Send + Sync>;

/// A message that is not done, and the reason. It is returned to the queue.
///
/// `Display` writes one line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "sqs"),
    expect(unreachable_pub, reason = "only consumers of messages can see it")
)]
#[non_exhaustive]
pub struct FailedMessage {
    /// Id of the message, or sequence number of a stream's record.
    pub id: Option<String>,
    /// Name of the queue, stream or table.
    pub source: String,
    /// Group of a message of a FIFO queue.
    pub group: Option<String>,
    /// Number of times that the message was received (`ApproximateReceiveCount`).
    pub receive_count: Option<u64>,
    /// Trace in which the message was handled.
    pub trace_id: Option<TraceId>,
    /// Reason.
    pub reason: Reason,
    /// Word for it in a sentence: message or record.
    noun: &'static str,
}

/// Reason why a message is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "sqs"),
    expect(unreachable_pub, reason = "only consumers of messages can see it")
)]
#[non_exhaustive]
pub enum Reason {
    /// Its closure returned this error: the messages of the chain, joined by colons, without URL
    /// queries and quoted values.
    Failed(String),
    /// Its closure panicked, with this message.
    Panicked(String),
    /// Its closure was dropped before it was done, most likely because the function's deadline was
    /// near: see `Consumer::deadline_margin`.
    GivenUp,
    /// Its closure was not called: an earlier message of its group was not done, or the function's
    /// deadline was near.
    Unprocessed,
}

impl FailedMessage {
    fn of<M: Item>(message: &M, reason: Reason) -> Self {
        let group = message.group().filter(|group| !group.is_empty());
        Self {
            id: message.id().map(str::to_owned),
            source: message.came_from(),
            group: group.map(str::to_owned),
            receive_count: message.receive_count(),
            trace_id: None,
            reason,
            noun: M::NOUN,
        }
    }
}

impl fmt::Display for FailedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_deref().unwrap_or("without an id");
        write!(f, "{} {id} of {} ", self.noun, self.source)?;
        match &self.reason {
            Reason::Failed(error) => write!(f, "failed: {error}"),
            Reason::Panicked(message) => write!(f, "panicked: {message}"),
            Reason::GivenUp => f.write_str("was given up before it was done"),
            Reason::Unprocessed => f.write_str("was left unprocessed"),
        }
    }
}

/// The reports of one batch.
pub(super) struct Reports<'a> {
    hook: Option<&'a Hook>,
    around: &'a Context,
    failed: AtomicUsize,
    unprocessed: AtomicUsize,
}

impl<'a> Reports<'a> {
    /// Begins the reports of a batch that is handled in `around`.
    pub(super) fn begin(hook: Option<&'a Hook>, around: &'a Context) -> Self {
        Self {
            hook,
            around,
            failed: AtomicUsize::new(0),
            unprocessed: AtomicUsize::new(0),
        }
    }

    /// Begins the work for a message in `context`. It is given up unless it ends.
    pub(super) fn message<M: Item>(&'a self, message: &M, context: &Context) -> Working<'a> {
        Working {
            reports: self,
            context: context.clone(),
            message: Some(FailedMessage::of(message, Reason::GivenUp)),
        }
    }

    /// Reports a message whose closure was not called.
    pub(super) fn unprocessed<M: Item>(&self, message: &M) {
        let before = self.unprocessed.fetch_add(1, Ordering::Relaxed);
        if before < MAX_UNPROCESSED || self.hook.is_some() {
            let message = FailedMessage::of(message, Reason::Unprocessed);
            self.report(self.around, &message);
        }
    }

    /// Reports the number of items that were not reported, and puts the counts on the subsegment
    /// around the batch.
    pub(super) fn end(&self, received: usize) {
        let (failed, unprocessed) = (&self.failed, &self.unprocessed);
        let (failed, unprocessed) = (
            failed.load(Ordering::Relaxed),
            unprocessed.load(Ordering::Relaxed),
        );
        let silent = unprocessed.saturating_sub(MAX_UNPROCESSED);
        if silent > 0 && self.hook.is_none() {
            let text = format!("{silent} more of the batch were left unprocessed");
            write(self.around, &text, None);
        }
        if let Some(open) = self.around.recording() {
            for (key, count) in [
                ("received", received),
                ("failed", failed),
                ("unprocessed", unprocessed),
            ] {
                open.annotate(key.into(), count.into());
            }
        }
    }

    fn report(&self, context: &Context, message: &FailedMessage) {
        match self.hook {
            // The hook is the user's. The handler does not fail because a report does.
            Some(hook) => {
                let _ = user_code::contained(|| context.clone().sync_scope(|| hook(message)));
            }
            None => write(context, &message.to_string(), Some(message)),
        }
    }
}

/// The work for one message, which has failed unless [`end`](Self::end) is called.
pub(super) struct Working<'a> {
    reports: &'a Reports<'a>,
    context: Context,
    /// `None` once it has ended.
    message: Option<FailedMessage>,
}

impl Working<'_> {
    /// Ends the work, which was done or failed for a reason.
    pub(super) fn end(mut self, outcome: Result<(), Reason>) {
        match outcome {
            Ok(()) => self.message = None,
            Err(reason) => {
                if let Some(message) = &mut self.message {
                    message.reason = reason;
                }
            }
        }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let Some(mut message) = self.message.take() else {
            return;
        };
        self.reports.failed.fetch_add(1, Ordering::Relaxed);
        let header = self.context.trace_header();
        message.trace_id = header.map(|header| header.root);
        self.reports.report(&self.context, &message);
    }
}

/// Returns the messages of a chain of errors in one line.
pub(super) fn chain(mut cause: Cause) -> String {
    cause.leave_out_quoted();
    let exceptions = cause.exceptions.iter();
    let messages: Vec<_> = exceptions
        .map(|exception| exception.message.as_str())
        .collect();
    messages.join(": ")
}

/// Writes a line to the subscriber of `tracing`, if there is one, or else as JSON to standard
/// error.
fn write(context: &Context, text: &str, message: Option<&FailedMessage>) {
    #[cfg(feature = "tracing")]
    if tracing::dispatcher::has_been_set() {
        // The subscriber is the user's.
        let _ = user_code::contained(|| {
            context.clone().sync_scope(|| {
                tracing::error!(
                    target: diagnostics::REPORTS,
                    message_id = message.and_then(|message| message.id.as_deref()),
                    source = message.map(|message| message.source.as_str()),
                    group = message.and_then(|message| message.group.as_deref()),
                    receive_count = message.and_then(|message| message.receive_count),
                    "{text}"
                );
            });
        });
        return;
    }
    let trace = context.trace();
    let request_id = trace.map(|trace| &*trace.request_id);
    let line = Line {
        timestamp: clock::rfc3339(),
        level: Level::Error.label(),
        message: text,
        request_id: request_id.filter(|id| !id.is_empty()),
        trace_id: context.trace_header().map(|header| header.root.to_string()),
        message_id: message.and_then(|message| message.id.as_deref()),
        source: message.map(|message| message.source.as_str()),
        group: message.and_then(|message| message.group.as_deref()),
        receive_count: message.and_then(|message| message.receive_count),
    };
    // Text and numbers always serialise.
    if let Ok(line) = serde_json::to_string(&line) {
        diagnostics::raw(Level::Error, format_args!("{line}"));
    }
}

/// A line in Lambda's JSON log format (AWS Lambda developer guide, "Configuring JSON and plain text
/// log formats").
#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'static str,
    message: &'a str,
    #[serde(rename = "requestId", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(rename = "traceId", skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_count: Option<u64>,
}
