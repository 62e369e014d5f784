//! Takes the documents of this process.

use std::fmt;

use tracestitch_wire::id::SegmentId;

/// Takes documents; never blocks, never fails in the caller's face.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// A piece of work begins: an invocation, or a batch of a poller.
    fn begin(&self);
    /// Announces an invocation of this process to the extension, which then waits for its end.
    fn announce(&self, _request_id: &str) {}
    /// Work has begun; it is over only with `close` or `discard`. Replaces what was opened by the
    /// same id, also by a document that is finished and closed later, or never.
    fn open(&self, id: SegmentId, document: &[u8]);
    /// Work is over.
    fn close(&self, id: SegmentId, document: &[u8]);
    /// Work that was opened turned out to be none, or not worth to be told.
    fn discard(&self, ids: &[SegmentId]);
    /// Work was not recorded, for there is too much of it.
    fn leave_out(&self) {}
    /// Lets out what waits in the process.
    fn flush(&self) -> Flushed;
    /// The reply of this invocation has been posted; what still waits leaves now.
    fn end(&self, request_id: &str);
}

/// What became of what waits in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing waits any more.
    All,
    /// Some of it has left.
    Some,
    /// Nobody takes it.
    Nothing,
}

/// Takes nothing.
#[derive(Debug)]
pub(crate) struct NullSink;

impl Sink for NullSink {
    fn begin(&self) {}
    fn open(&self, _id: SegmentId, _document: &[u8]) {}
    fn close(&self, _id: SegmentId, _document: &[u8]) {}
    fn discard(&self, _ids: &[SegmentId]) {}
    fn flush(&self) -> Flushed {
        Flushed::All
    }
    fn end(&self, _request_id: &str) {}
}
