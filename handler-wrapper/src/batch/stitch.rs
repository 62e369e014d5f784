//! Choice of the trace in which a message is handled: its producer's, or the invocation's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tracestitch_wire::{
    document::{Document, Link, Reference, Text},
    header::TraceHeader,
    time::Timestamp,
};

use super::item::Item;
use crate::{
    settings::sampling::{self, Candidate},
    support::clock,
    trace::{context::Context, deadline::Deadline, subsegment::Subsegment, trace::Trace},
};

/// Largest number of messages of a batch that have a pointer in the invocation's trace, and a link
/// from it and back. X-Ray accepts 100 links in a trace (X-Ray developer guide, "Linking traces"), and
/// Lambda's own segment has up to 20.
const MAX_POINTERS: usize = 80;

/// The trace in which a message is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    not(feature = "sqs"),
    expect(unreachable_pub, reason = "only consumers of messages can choose it")
)]
pub enum Mode {
    /// The producer's trace, under the call that sent the message. The invocation's trace points to
    /// it.
    #[default]
    Stitch,
    /// The invocation's trace, with a link to the producer's. The invocation's sampling decision
    /// applies, and calls carry the invocation's trace.
    Link,
}

/// State that the messages of a batch share.
pub(super) struct Batch {
    invocation: Context,
    pointers: AtomicUsize,
}

impl Batch {
    pub(super) fn begin(invocation: Context) -> Self {
        Self {
            invocation,
            pointers: AtomicUsize::new(0),
        }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.invocation.deadline()
    }

    /// Returns true if the invocation's trace has room for one more pointer.
    fn points(&self) -> bool {
        self.pointers.fetch_add(1, Ordering::Relaxed) < MAX_POINTERS
    }
}

/// A message with its place in a trace.
pub(super) struct Stitched {
    /// Context of the work for the message.
    pub(super) context: Context,
    /// Receives the outcome: the segment in the producer's trace, or the subsegment in the
    /// invocation's, or an empty guard. If the producer's trace is not recorded, it is the thin
    /// subsegment, the only document of the message.
    pub(super) segment: Subsegment,
    /// Thin subsegment in the invocation's trace, if another document receives the outcome.
    pub(super) pointer: Subsegment,
}

impl Stitched {
    pub(super) fn begin<M: Item>(batch: &Batch, message: &M, mode: Mode) -> Self {
        let Some(trace) = batch.invocation.trace() else {
            return Self::in_invocations_trace(batch, None, message);
        };
        match message.carried(&trace.tracer.carriers) {
            // A batch of one: the invocation has taken its trace from the message already.
            Some(header) if !trace.has_facade_segment && is_taken(trace, &header) => {
                Self::in_invocations_trace(batch, None, message)
            }
            carried if mode == Mode::Link => {
                Self::in_invocations_trace(batch, carried.as_ref(), message)
            }
            None if trace.header.is_some() => Self::in_invocations_trace(batch, None, message),
            // Without a trace around it, a sampling rule may begin one.
            carried => {
                let tracer = &trace.tracer;
                let candidate = Candidate {
                    function: &tracer.function_name,
                    source: M::SOURCE,
                    path: None,
                };
                match tracer.sampling.begin(carried, candidate, clock::now()) {
                    Some(header) => Self::in_producers_trace(batch, trace.carried(header), message),
                    None => Self::in_invocations_trace(batch, None, message),
                }
            }
        }
    }

    fn in_invocations_trace<M: Item>(
        batch: &Batch,
        carried: Option<&TraceHeader>,
        message: &M,
    ) -> Self {
        let describe = |document: &mut Document| {
            annotate(document, message);
            facts(document, message);
            if let Some(header) = carried {
                note::<M>(document, "trace", Some(header.root.to_string()));
                document.links.extend(header.parent.map(|id| Link {
                    trace_id: header.root,
                    id,
                    reference: Reference::Parent,
                }));
            }
        };
        let segment = Subsegment::begin_with(&batch.invocation, message.came_from(), describe);
        Self {
            context: segment.context(),
            segment,
            pointer: Subsegment::default(),
        }
    }

    fn in_producers_trace(batch: &Batch, trace: Trace, message: &impl Item) -> Self {
        let trace = Arc::new(trace);
        let mut document = trace.recorded().map(|header| {
            let mut segment = trace.segment(header, header.parent, clock::now());
            annotate(&mut segment, message);
            facts(&mut segment, message);
            segment
        });
        // A tail-sampled segment is most likely discarded, so nothing points to it.
        let target = document.as_mut().filter(|_| !trace.is_tail_sampled());
        let pointer = point(batch, &trace, target, message);
        match document {
            Some(document) => {
                let segment = Subsegment::start(trace, document);
                Self {
                    context: segment.context(),
                    segment,
                    pointer,
                }
            }
            None => Self {
                context: Context::passing(trace),
                segment: pointer,
                pointer: Subsegment::default(),
            },
        }
    }
}

/// Returns true if the invocation has taken its trace from `carried`, and has made the decision
/// that `carried` left open.
fn is_taken(trace: &Trace, carried: &TraceHeader) -> bool {
    trace.header.as_ref().is_some_and(|own| {
        let mut carried = carried.clone();
        if !sampling::is_decided(&carried) {
            carried.sampling = own.sampling;
        }
        *own == carried
    })
}

/// Begins the thin subsegment that points to `segment`, and links `segment` back to it. Without room
/// for it, only the metadata of `segment` names the invocation's trace.
fn point<M: Item>(
    batch: &Batch,
    trace: &Trace,
    segment: Option<&mut Document>,
    message: &M,
) -> Subsegment {
    let Some(around) = batch.invocation.recording() else {
        return Subsegment::default();
    };
    // A tail-sampled invocation is most likely discarded, so nothing points to it.
    let invocation = around.trace();
    let invocation = invocation
        .header
        .as_ref()
        .filter(|_| !invocation.is_tail_sampled());
    let invocation = invocation.map(|header| header.root);
    let pointer = if batch.points() {
        Subsegment::begin_with(&batch.invocation, message.came_from(), |pointer| {
            facts(pointer, message);
            let root = trace.header.as_ref().map(|header| header.root.to_string());
            note::<M>(pointer, "trace", root);
            pointer.links.extend(segment.as_ref().map(|segment| Link {
                trace_id: segment.trace_id,
                id: segment.id,
                reference: Reference::Child,
            }));
        })
    } else {
        Subsegment::default()
    };
    if let (Some(segment), Some(trace_id)) = (segment, invocation) {
        note::<M>(segment, "invocation_trace", Some(trace_id.to_string()));
        // Several messages of a batch may belong to one producer's trace.
        segment.links.extend(pointer.id().map(|id| Link {
            trace_id,
            id,
            reference: Reference::Parent,
        }));
    }
    pointer
}

/// Puts the annotations of an item on the document of its work.
fn annotate(document: &mut Document, message: &impl Item) {
    for (key, value) in message.annotations() {
        document.annotate(key.into(), value.into());
    }
}

/// Puts the metadata of an item on `document`.
fn facts<M: Item>(document: &mut Document, message: &M) {
    for (key, value) in message.facts(millis(document.start_time)) {
        note::<M>(document, key, value);
    }
}

fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_micros() / 1000).unwrap_or(i64::MAX)
}

fn note<M: Item>(document: &mut Document, key: &'static str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        document.put_metadata(Text::from(M::SOURCE), key.into(), value.into());
    }
}
