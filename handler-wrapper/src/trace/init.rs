//! Work of the init phase. It runs before the first invocation, when there is no trace yet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tracestitch_wire::{
    datagram, document::Document, header::TraceHeader, id::SegmentId, id::TraceId, time::Timestamp,
};

use super::{
    context::Context,
    outlet::Outlet,
    subsegment::Subsegment,
    trace::Trace,
    tracer::{FUNCTION, Tracer},
};
use crate::{
    settings::config,
    support::{clock, memory},
    transport::sink::NullSink,
};

/// Largest number of documents that are kept for the first trace.
const MAX_HELD: usize = 200;

/// Memory for kept documents: their JSON in bytes. X-Ray keeps at most 500 KB of a trace (X-Ray
/// endpoints and quotas). Documents beyond it lose their metadata.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// Size of a document in bytes up to which it keeps its metadata. More does not fit a datagram.
const MAX_DOCUMENT: usize = datagram::MAX_DOCUMENT;

/// `None` if there is no init phase: in tests, on a developer's machine, with tracing switched off.
static INIT: LazyLock<Option<Init>> = LazyLock::new(|| config::has_init_phase().then(Init::begin));

/// Returns the context of code that runs before the first invocation.
pub(crate) fn context() -> Context {
    INIT.as_ref().map(Init::context).unwrap_or_default()
}

/// Ends the init phase if this is the first invocation, and puts its work into `trace`.
pub(crate) fn hand_over(trace: &Arc<Trace>) {
    if let Some(init) = &*INIT {
        init.hand_over(trace);
    }
}

/// The init phase of this process.
#[derive(Debug)]
struct Init {
    trace: Arc<Trace>,
    documents: Arc<InitDocuments>,
    root: Subsegment,
    over: AtomicBool,
}

impl Init {
    fn begin() -> Self {
        let documents = Arc::new(InitDocuments::default());
        let tracer = Tracer::new(String::new(), false, Arc::new(NullSink));
        let trace = Arc::new(Trace {
            outlet: Box::new(documents.clone()),
            ..Trace::new(Arc::new(tracer), None, "")
        });
        let now = clock::now();
        // The first trace replaces both ids.
        let document =
            Document::subsegment("init".into(), TraceId::new(now), SegmentId::new(), now);
        Self {
            root: Subsegment::start(trace.clone(), document),
            trace,
            documents,
            over: AtomicBool::new(false),
        }
    }

    fn context(&self) -> Context {
        if self.over.load(Ordering::Relaxed) {
            Context::default()
        } else {
            self.root.context()
        }
    }

    /// Discards the work of the init phase if the first invocation is not recorded.
    fn hand_over(&self, trace: &Arc<Trace>) {
        if self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        self.trace.followers.end();
        if !trace.tracer.is_cold(clock::now()) {
            // Minutes may have passed since; a trace with both would last as long.
            self.documents.drop_all();
            return;
        }
        let root = self.root.context().recording().and_then(|root| root.take());
        let (Some(root), Some(header)) = (root, trace.recorded()) else {
            self.documents.drop_all();
            return;
        };
        let silent = root.annotations.is_empty() && root.metadata.is_empty() && !root.fault;
        let root = Root {
            document: under(*root, trace, header),
            silent,
        };
        for mut document in self.documents.release(trace, root, self.trace.left_out()) {
            trace.close(&mut document);
        }
    }
}

/// Places the document beside the handler's: under Lambda's segment, or as a segment if there is
/// none.
fn under(mut document: Document, trace: &Trace, header: &TraceHeader) -> Document {
    // Other services do not record an unsampled trace: the parent would be missing.
    let parent = header.parent.filter(|_| !trace.is_tail_sampled());
    if parent.is_none() || !trace.has_facade_segment {
        document.become_segment(FUNCTION);
    }
    document.parent_id = parent;
    document.trace_id = header.root;
    if trace.is_tail_sampled() {
        document.annotations.insert("unsampled".into(), true.into());
    }
    document
}

/// The document of the init phase, in the first trace.
#[derive(Debug)]
struct Root {
    document: Document,
    /// The user recorded nothing on it: it is sent only if there is work under it.
    silent: bool,
}

/// Keeps the finished documents of the init phase for the first trace.
#[derive(Debug, Default)]
struct InitDocuments(Mutex<Phase>);

#[derive(Debug)]
enum Phase {
    Collecting(Collected),
    /// Documents that end now go to this trace.
    HandedOver {
        trace: Arc<Trace>,
        /// The document of the init phase, until one under it ends.
        root: Option<Box<Document>>,
    },
    /// The first invocation is not recorded.
    Dropped,
}

#[derive(Debug, Default)]
struct Collected {
    documents: Vec<Document>,
    /// Size of the documents as JSON.
    bytes: usize,
    /// End of the last document, including documents that were left out.
    ended: Option<Timestamp>,
    left_out: usize,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Collecting(Collected::default())
    }
}

impl Outlet for Arc<InitDocuments> {
    /// Does nothing: there is no trace yet in which a document could be in progress.
    fn open(&self, _tracer: &Tracer, _document: &Document) {}

    /// Does nothing, as [`open`](Self::open).
    fn update(&self, _tracer: &Tracer, _document: &Document) {}

    fn close(&self, _tracer: &Tracer, document: &mut Document) {
        self.keep(document.clone());
    }

    /// Does nothing: nothing was opened.
    fn discard(&self, _tracer: &Tracer, _id: SegmentId) {}
}

impl InitDocuments {
    fn keep(&self, mut document: Document) {
        let mut state = self.lock();
        match &mut *state {
            Phase::Collecting(collected) => collected.keep(document),
            Phase::HandedOver { trace, root } => {
                let (trace, root) = (trace.clone(), root.take());
                // Redaction rules are the user's code and run without the lock.
                drop(state);
                if let Some(mut root) = root {
                    trace.close(&mut root);
                }
                if let Some(header) = &trace.header {
                    document.trace_id = header.root;
                    trace.close(&mut document);
                }
            }
            Phase::Dropped => {}
        }
    }

    /// Discards the documents kept so far and all that end later.
    fn drop_all(&self) {
        *self.lock() = Phase::Dropped;
    }

    /// Takes the documents kept so far, with the ids of `trace`, below `root`. Returns nothing if
    /// there is nothing to show yet. `refused` is the number of subsegments that did not begin.
    fn release(&self, trace: &Arc<Trace>, root: Root, refused: usize) -> Vec<Document> {
        let Root {
            document: mut root,
            mut silent,
        } = root;
        let mut state = self.lock();
        let Phase::Collecting(collected) = std::mem::replace(&mut *state, Phase::Dropped) else {
            return Vec::new();
        };
        let left_out = collected.left_out + refused;
        if left_out > 0 {
            let key = "subsegments_left_out_of_init".into();
            root.put_metadata("tracestitch".into(), key, left_out.into());
            (0..left_out).for_each(|_| trace.tracer.sink.leave_out());
            silent = false;
        }
        root.finish(collected.ended.unwrap_or_else(clock::now));
        let waits = collected.documents.is_empty() && silent;
        let mut released = collected.documents;
        for document in &mut released {
            document.trace_id = root.trace_id;
        }
        let mut root = Some(Box::new(root));
        if !waits {
            released.splice(0..0, root.take().map(|root| *root));
        }
        let trace = trace.clone();
        *state = Phase::HandedOver { trace, root };
        released
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collected {
    /// Keeps a document, without its metadata if there is no room for that.
    fn keep(&mut self, mut document: Document) {
        self.ended = Some(clock::now());
        let room = MAX_BYTES.saturating_sub(self.bytes).min(MAX_DOCUMENT);
        let mut bytes = size(&document);
        if bytes > room {
            document.metadata = Default::default();
            let trimmed = format!("metadata: document of {bytes} bytes");
            document.put_metadata("tracestitch".into(), "trimmed".into(), trimmed.into());
            bytes = size(&document);
        }
        if self.documents.len() < MAX_HELD && bytes <= MAX_DOCUMENT {
            self.bytes += bytes;
            self.documents.push(document);
        } else {
            self.left_out += 1;
        }
    }
}

fn size(document: &Document) -> usize {
    let mut size = 0;
    memory::with_json(document, |json| size = json.len());
    size
}

#[cfg(test)]
mod tests;
