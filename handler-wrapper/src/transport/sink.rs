//! Destination of the documents of this process.

use std::fmt;

use tracestitch_wire::id::SegmentId;

/// Takes documents. Never blocks, and never returns an error.
pub(crate) trait Sink: fmt::Debug + Send + Sync {
    /// A piece of work begins: an invocation, or a batch of a poller.
    fn begin(&self);
    /// Announces an invocation of this process to the extension, which then waits for its end.
    fn announce(&self, request_id: &str);
    /// Takes a document in progress. It is over only after `close` or `discard`. Replaces an
    /// earlier document of the same id, also by a finished one that is closed later or never.
    fn open(&self, id: SegmentId, document: &[u8]);
    /// Takes a finished document.
    fn close(&self, id: SegmentId, document: &[u8]);
    /// Withdraws documents in progress.
    fn discard(&self, ids: &[SegmentId]);
    /// Counts work that was not recorded because there was too much of it.
    fn leave_out(&self) {}
    /// Sends documents that wait in the process.
    fn flush(&self) -> Flushed;
    /// Ends the invocation, after its reply was posted. Waiting documents are sent now.
    fn end(&self, request_id: &str);
}

/// Result of a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// Nothing waits any more.
    All,
    /// Some documents have left, others still wait.
    Some,
    /// No document could leave.
    Nothing,
}

/// Discards all documents.
#[derive(Debug)]
pub(crate) struct NullSink;

impl Sink for NullSink {
    fn begin(&self) {}
    fn announce(&self, _request_id: &str) {}
    fn open(&self, _id: SegmentId, _document: &[u8]) {}
    fn close(&self, _id: SegmentId, _document: &[u8]) {}
    fn discard(&self, _ids: &[SegmentId]) {}
    fn flush(&self) -> Flushed {
        Flushed::All
    }
    fn end(&self, _request_id: &str) {}
}
