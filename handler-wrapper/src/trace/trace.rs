//! State that all work for one invocation or one message shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracestitch_wire::{
    document::{Document, Text},
    header::{Sampling, TraceHeader},
    id::SegmentId,
    time::Timestamp,
};

use super::{
    changes::Changes,
    deadline::Deadline,
    followers::Followers,
    outlet::{Outlet, Straight},
    tail_sampled::TailSampled,
    tracer::Tracer,
};

/// Largest number of subsegments of one invocation or message. X-Ray keeps 100 to 500 KB of a trace
/// (X-Ray endpoints and quotas), as much as this number of documents of 500 bytes.
const MAX_SUBSEGMENTS: usize = 1000;

/// Largest nesting of subsegments. X-Ray documents no limit; its console draws each level.
const MAX_DEPTH: u16 = 64;

/// The trace of one invocation or one message.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) tracer: Arc<Tracer>,
    /// `None` if no trace was carried: then nothing is recorded, and calls carry no header.
    pub(crate) header: Option<TraceHeader>,
    /// Id of the invocation; empty outside Lambda.
    pub(crate) request_id: Arc<str>,
    /// ARN with which the function was invoked; empty outside Lambda.
    pub(crate) function_arn: Arc<str>,
    pub(crate) subsegments: AtomicUsize,
    pub(crate) left_out: AtomicUsize,
    /// Time at which Lambda ends the invocation, if known.
    pub(crate) deadline: Option<Deadline>,
    /// True if Lambda sends a segment in this trace, for the invocation: the facade of
    /// the function.
    pub(crate) has_facade_segment: bool,
    /// The way that its documents take.
    pub(crate) outlet: Box<dyn Outlet>,
    /// True if the caller asked for the sampling decision (`Sampled=?`).
    pub(crate) asked: bool,
    /// Work that ends with the trace's outermost document.
    pub(crate) followers: Followers,
    /// Documents in progress whose latest facts the extension does not have.
    pub(crate) changes: Changes,
}

impl Trace {
    /// Creates the trace of an invocation.
    pub(crate) fn new(tracer: Arc<Tracer>, header: Option<TraceHeader>, request_id: &str) -> Self {
        let unsampled = |header: &TraceHeader| header.sampling == Sampling::NotSampled;
        let outlet: Box<dyn Outlet> =
            if tracer.errors_always && header.as_ref().is_some_and(unsampled) {
                Box::new(TailSampled::default())
            } else {
                Box::new(Straight)
            };
        Self {
            tracer,
            header,
            request_id: request_id.into(),
            function_arn: Arc::default(),
            subsegments: AtomicUsize::new(0),
            left_out: AtomicUsize::new(0),
            deadline: None,
            has_facade_segment: true,
            outlet,
            asked: false,
            followers: Followers::default(),
            changes: Changes::default(),
        }
    }

    /// Creates the trace that a message of this invocation carried.
    pub(crate) fn carried(&self, header: TraceHeader) -> Self {
        Self {
            deadline: self.deadline,
            function_arn: self.function_arn.clone(),
            ..Self::new(self.tracer.clone(), Some(header), &self.request_id)
        }
    }

    /// Creates a trace of this invocation in which nothing is recorded and calls carry no header.
    pub(crate) fn unrecorded(&self) -> Self {
        Self {
            deadline: self.deadline,
            ..Self::new(self.tracer.clone(), None, &self.request_id)
        }
    }

    /// Returns true if there is room for one more subsegment at this depth. Counts the subsegment
    /// otherwise.
    pub(crate) fn admit(&self, depth: u16) -> bool {
        let admitted = depth <= MAX_DEPTH
            && self.subsegments.fetch_add(1, Ordering::Relaxed) < MAX_SUBSEGMENTS;
        if !admitted {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            self.tracer.sink.leave_out();
        }
        admitted
    }

    /// Returns the number of subsegments that were left out.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out.load(Ordering::Relaxed) + self.outlet.left_out()
    }

    /// Returns the header if work in this trace is recorded.
    pub(crate) fn recorded(&self) -> Option<&TraceHeader> {
        self.header
            .as_ref()
            .filter(|header| header.sampling == Sampling::Sampled || self.is_tail_sampled())
    }

    /// Returns true if the trace is unsampled and recorded only in case it fails.
    pub(crate) fn is_tail_sampled(&self) -> bool {
        self.outlet.is_tail_sampled()
    }

    /// Puts off the verdict on an unsampled trace until the guard is dropped, because its work goes
    /// on after its outermost document has ended.
    pub(crate) fn postpone(self: &Arc<Self>) -> Postponed {
        self.outlet.postpone();
        Postponed(self.clone())
    }

    /// Records that work in it failed, though its outermost document may be no fault.
    pub(crate) fn fail(&self) {
        self.outlet.fail();
    }

    /// Creates the outermost document of this process in the trace: a subsegment under Lambda's
    /// segment if there is one, else a segment.
    pub(crate) fn begin(&self, header: &TraceHeader, now: Timestamp) -> Document {
        match header.parent.filter(|_| !self.is_tail_sampled()) {
            Some(parent) if self.has_facade_segment => {
                let name = self.tracer.function_name.clone().into();
                Document::subsegment(name, header.root, parent, now)
            }
            parent => self.segment(header, parent, now),
        }
    }

    /// Creates a segment of this process under `parent`, marked if the trace is not sampled.
    pub(crate) fn segment(
        &self,
        header: &TraceHeader,
        parent: Option<SegmentId>,
        now: Timestamp,
    ) -> Document {
        let name = self.tracer.function_name.clone().into();
        // Other services do not record an unsampled trace: the parent would be missing.
        let parent = parent.filter(|_| !self.is_tail_sampled());
        let mut segment = Document::segment(name, header.root, parent, now);
        segment.origin = self.tracer.origin;
        // Lambda's own segments have these.
        if !self.request_id.is_empty() {
            segment.aws.insert("request_id", &*self.request_id);
        }
        if !self.function_arn.is_empty() {
            segment.aws.insert("function_arn", &*self.function_arn);
            segment.resource_arn = Some(Text::from(self.function_arn.to_string()));
        }
        if self.is_tail_sampled() {
            segment.annotations.insert("unsampled".into(), true.into());
        }
        segment
    }

    /// Hands over a document that has begun.
    pub(crate) fn open(&self, document: &Document) {
        self.outlet.open(&self.tracer, document);
    }

    /// Hands over a document in progress again, with facts that were added to it.
    pub(crate) fn update(&self, document: &Document) {
        self.outlet.update(&self.tracer, document);
    }

    /// Hands over a document that is over.
    pub(crate) fn close(&self, document: &mut Document) {
        self.outlet.close(&self.tracer, document);
    }

    /// Withdraws a document that was opened, such as the one of a presigned request.
    pub(crate) fn discard(&self, id: SegmentId) {
        self.outlet.discard(&self.tracer, id);
    }
}

/// A verdict that is put off until this is dropped.
#[derive(Debug)]
pub(crate) struct Postponed(Arc<Trace>);

impl Postponed {
    /// Records that the work failed.
    pub(crate) fn fail(&self) {
        self.0.fail();
    }
}

impl Drop for Postponed {
    fn drop(&mut self) {
        self.0.outlet.resume(&self.0.tracer);
    }
}
