//! Work of the init phase. It runs before the first invocation, when there is no trace yet.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracestitch_wire::{
    document::Document, header::TraceHeader, id::SegmentId, id::TraceId, time::Timestamp,
};

use super::{
    context::{Context, Inner},
    outlet::Outlet,
    subsegment::Subsegment,
    trace::Trace,
    tracer::{FUNCTION, Tracer},
};
use crate::{settings::config, support::clock, transport::sink::NullSink};

/// Largest number of documents that are kept for the first trace.
const MAX_HELD: usize = 200;

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
        let Inner::Recording(root) = self.root.context().0 else {
            return;
        };
        let Some((documents, ended)) = self.documents.release(trace) else {
            return;
        };
        let (Some(mut document), Some(header)) = (root.take(), trace.recorded()) else {
            return;
        };
        let silent = document.annotations.is_empty() && document.metadata.is_empty();
        if documents.is_empty() && silent && !document.fault {
            return;
        }
        document.finish(ended.unwrap_or_else(clock::now));
        trace.close(&mut under(*document, trace, header));
        for mut document in documents {
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

/// Keeps the finished documents of the init phase for the first trace.
#[derive(Debug, Default)]
struct InitDocuments(Mutex<Phase>);

#[derive(Debug)]
enum Phase {
    Collecting {
        documents: Vec<Document>,
        /// End of the last document, including documents that were left out.
        ended: Option<Timestamp>,
        left_out: usize,
    },
    /// Documents that end now go to this trace.
    HandedOver(Arc<Trace>),
    /// The first invocation is not recorded.
    Dropped,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Collecting {
            documents: Vec::new(),
            ended: None,
            left_out: 0,
        }
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
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            Phase::Collecting {
                documents,
                ended,
                left_out,
            } => {
                *ended = Some(clock::now());
                if documents.len() < MAX_HELD {
                    documents.push(document);
                } else {
                    *left_out += 1;
                }
            }
            Phase::HandedOver(trace) => {
                let trace = trace.clone();
                // Redaction rules are the user's code and run without the lock.
                drop(state);
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
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Dropped;
    }

    /// Takes the documents kept so far, with the ids of `trace`. Returns `None` if the trace is not
    /// recorded.
    fn release(&self, trace: &Arc<Trace>) -> Option<(Vec<Document>, Option<Timestamp>)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match trace.recorded() {
            Some(_) => Phase::HandedOver(trace.clone()),
            None => Phase::Dropped,
        };
        let Phase::Collecting {
            mut documents,
            ended,
            left_out,
        } = std::mem::replace(&mut *state, next)
        else {
            return None;
        };
        let root = trace.recorded()?.root;
        for document in &mut documents {
            document.trace_id = root;
        }
        if let Some(last) = documents.last_mut().filter(|_| left_out > 0) {
            let key = "subsegments_left_out_of_init".into();
            last.put_metadata("tracestitch".into(), key, left_out.into());
        }
        Some((documents, ended))
    }
}

#[cfg(test)]
mod tests;
