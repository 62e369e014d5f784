//! The way that the documents of a trace take out of it.

use std::fmt;

use tracestitch_wire::{document::Document, id::SegmentId};

use super::tracer::Tracer;

/// Takes the documents of one trace.
pub(crate) trait Outlet: fmt::Debug + Send + Sync {
    /// Takes a document that has begun.
    fn open(&self, tracer: &Tracer, document: &Document);

    /// Takes a document in progress again, with facts that were added to it.
    fn update(&self, tracer: &Tracer, document: &Document);

    /// Takes a document that is over.
    fn close(&self, tracer: &Tracer, document: &mut Document);

    /// Withdraws a document that was opened, such as the one of a presigned request.
    fn discard(&self, tracer: &Tracer, id: SegmentId);

    /// Records that work in the trace failed, though its outermost document may be no fault.
    fn fail(&self) {}

    /// Puts the verdict off until [`resume`](Self::resume): work goes on after the outermost
    /// document has ended.
    fn postpone(&self) {}

    /// Ends a [`postpone`](Self::postpone).
    fn resume(&self, _tracer: &Tracer) {}

    /// Returns the number of finished documents for which there was no room.
    fn left_out(&self) -> usize {
        0
    }

    /// True if nothing is sent unless the trace fails.
    fn is_tail_sampled(&self) -> bool {
        false
    }
}

/// Hands each document to the sink at once.
#[derive(Debug)]
pub(crate) struct Straight;

impl Outlet for Straight {
    fn open(&self, tracer: &Tracer, document: &Document) {
        tracer.in_progress(document, |json| tracer.sink.open(document.id, json));
    }

    fn update(&self, tracer: &Tracer, document: &Document) {
        self.open(tracer, document);
    }

    fn close(&self, tracer: &Tracer, document: &mut Document) {
        let id = document.id;
        tracer.over(document, |json| tracer.sink.close(id, json));
    }

    fn discard(&self, tracer: &Tracer, id: SegmentId) {
        tracer.sink.discard(&[id]);
    }
}
