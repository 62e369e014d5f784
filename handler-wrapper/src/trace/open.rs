//! A subsegment in progress: the state behind a guard.

use std::borrow::Cow;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::Serialize;
use tracestitch_wire::{
    document::{self, AnnotationValue, Cause, Document},
    header::TraceHeader,
    id::{SegmentId, TraceId},
    time::Timestamp,
};

use super::{changes::Changed, trace::Trace};
use crate::support::{clock, user_code};

/// The state that a guard and the contexts under it share.
#[derive(Debug)]
pub(crate) struct Open {
    trace: Arc<Trace>,
    pub(crate) id: SegmentId,
    pub(crate) trace_id: TraceId,
    /// Number of subsegments between this one and the uppermost of its trace.
    depth: u16,
    /// `None` once the subsegment is over. Boxed, because it is moved into here and out again.
    document: Mutex<Option<Box<Document>>>,
    /// True while the document is among the changes of its trace.
    changed: AtomicBool,
    /// Held while the document leaves, so that no document in progress follows a finished one.
    leaving: Mutex<()>,
    /// Reference to this subsegment for the changes of its trace.
    this: Weak<Self>,
}

impl Open {
    /// Begins `document` as the outermost of `trace`.
    pub(crate) fn begin(trace: Arc<Trace>, document: Document) -> Arc<Self> {
        Self::begin_at(0, trace, Box::new(document))
    }

    /// Begins a child, after `prepare` has completed its document. Returns `None` if the trace has
    /// no room for it.
    pub(crate) fn begin_child(
        &self,
        name: Cow<'static, str>,
        prepare: impl FnOnce(&mut Document),
    ) -> Option<Arc<Self>> {
        let depth = self.depth + 1;
        if !self.trace.admit(depth) {
            return None;
        }
        // The process may be killed in the child.
        self.trace.changes.hand_over();
        let (name, now) = (name.into(), clock::now());
        let mut document = Box::new(Document::subsegment(name, self.trace_id, self.id, now));
        prepare(&mut document);
        Some(Self::begin_at(depth, self.trace.clone(), document))
    }

    fn begin_at(depth: u16, trace: Arc<Trace>, document: Box<Document>) -> Arc<Self> {
        trace.open(&document);
        Arc::new_cyclic(|this| Self {
            trace,
            id: document.id,
            trace_id: document.trace_id,
            depth,
            document: Mutex::new(Some(document)),
            changed: AtomicBool::new(false),
            leaving: Mutex::default(),
            this: this.clone(),
        })
    }

    pub(crate) fn trace(&self) -> &Arc<Trace> {
        &self.trace
    }

    /// Returns the header of a call from here.
    pub(crate) fn header(&self) -> Option<TraceHeader> {
        let header = self.trace.header.as_ref()?;
        if self.trace.is_tail_sampled() {
            // This subsegment is most likely discarded, so nothing may refer to it as parent.
            return Some(header.clone());
        }
        Some(header.with_parent(self.id))
    }

    /// Changes the document, unless it is over. The change is handed over when the future yields
    /// or a child begins.
    pub(crate) fn amend(&self, change: impl FnOnce(&mut Document)) {
        if let Some(document) = &mut *lock(&self.document) {
            change(document);
            if !self.changed.swap(true, Ordering::Relaxed) {
                self.trace.changes.add(self.this.clone());
            }
        }
    }

    /// Changes the document and hands it over at once, for code that may never yield.
    pub(crate) fn amend_now(&self, change: impl FnOnce(&mut Document)) {
        self.amend(change);
        self.hand_over();
    }

    pub(crate) fn annotate(&self, key: Cow<'static, str>, value: AnnotationValue) {
        self.amend(|document| document.annotate(key.into(), value));
    }

    pub(crate) fn metadata(
        &self,
        namespace: Cow<'static, str>,
        key: Cow<'static, str>,
        value: &impl Serialize,
    ) {
        // The user's serialiser runs before the lock is taken, because it may annotate, too.
        let value = user_code::contained(|| document::to_value(value))
            .unwrap_or_else(|| Ok("a panic while it was serialised".into()))
            .unwrap_or_else(|error| error.to_string().into());
        self.amend(|document| document.put_metadata(namespace.into(), key.into(), value));
    }

    pub(crate) fn record_error(&self, error: &(dyn Error + 'static)) {
        self.fail_with(|| Cause::from_error(error));
    }

    /// Marks the document as a fault. Quoted values are left out of the messages, unless the user
    /// wants whole messages. `cause` runs before the document is locked: the user's error
    /// types format their messages in it, and may annotate.
    pub(crate) fn fail_with(&self, cause: impl FnOnce() -> Cause) {
        let mut cause = user_code::cause_of(cause);
        if !self.trace.tracer.whole_messages {
            cause.leave_out_quoted();
        }
        self.amend(|document| document.fail(cause));
    }

    /// Takes the document. Later changes are ignored.
    pub(crate) fn take(&self) -> Option<Box<Document>> {
        lock(&self.document).take()
    }

    pub(crate) fn finish(&self) {
        if self.depth == 0 {
            self.trace.followers.end();
        }
        self.finish_at(clock::now());
    }

    pub(crate) fn finish_at(&self, end: Timestamp) {
        if let Some(mut document) = self.take() {
            document.finish(end);
            let left_out = self.trace.left_out();
            if self.depth == 0 && left_out > 0 {
                let key = "subsegments_left_out".into();
                document.put_metadata("tracestitch".into(), key, left_out.into());
            }
            let _leaving = lock(&self.leaving);
            self.trace.close(&mut document);
        }
    }

    pub(crate) fn discard(&self) {
        if self.take().is_some() {
            let _leaving = lock(&self.leaving);
            self.trace.discard(self.id);
        }
    }
}

impl Changed for Open {
    fn hand_over(&self) {
        let _leaving = lock(&self.leaving);
        let document = {
            let document = lock(&self.document);
            // A change from here on is handed over next time.
            self.changed.store(false, Ordering::Relaxed);
            document.clone()
        };
        // Redaction rules are the user's code and run without the document's lock.
        if let Some(document) = document {
            self.trace.update(&document);
        }
    }
}

/// Locks a mutex whose data is valid also after a panic: every change leaves the document whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::task::yield_now;

    use crate::tests::{
        header::SAMPLED,
        kept::{Event, Kept},
    };

    /// Returns the annotation `step` in each document in progress of this name, in order.
    fn steps(kept: &Kept, name: &str) -> Vec<Option<i64>> {
        let step = |event| match event {
            Event::Open(document) if document["name"] == name => {
                Some(document["annotations"]["step"].as_i64())
            }
            _ => None,
        };
        kept.events().into_iter().filter_map(step).collect()
    }

    #[tokio::test]
    async fn facts_are_handed_over_once_when_the_future_yields() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            crate::annotate("step", 1);
            crate::annotate("step", 2);
            assert_eq!(steps(&kept, "order-worker"), [None]);
            yield_now().await;
            assert_eq!(steps(&kept, "order-worker"), [None, Some(2)]);
            yield_now().await;
            assert_eq!(steps(&kept, "order-worker").len(), 2, "nothing changed");
            crate::annotate("step", 3);
        })
        .await;
        assert_eq!(steps(&kept, "order-worker").len(), 2, "the work ended");
        assert_eq!(kept.one("order-worker")["annotations"]["step"], 3);
    }

    #[tokio::test]
    async fn facts_are_handed_over_before_a_child_begins() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            crate::annotate("step", 1);
            crate::capture_sync("child", || {
                assert_eq!(steps(&kept, "order-worker"), [None, Some(1)]);
            });
        })
        .await;
    }

    /// No scope polls a guard: its facts go with the facts of the work around it.
    #[tokio::test]
    async fn facts_of_every_open_subsegment_are_handed_over() {
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            let guard = crate::Subsegment::begin("guard");
            guard.annotate("step", 1);
            crate::capture("inner", async {
                crate::annotate("step", 2);
                yield_now().await;
                assert_eq!(steps(&kept, "guard"), [None, Some(1)]);
                assert_eq!(steps(&kept, "inner"), [None, Some(2)]);
            })
            .await;
            guard.finish();
        })
        .await;
    }

    #[tokio::test]
    async fn finished_document_is_never_opened_again() {
        for _ in 0..500 {
            let kept = Kept::default();
            kept.invoke(SAMPLED, async {
                let guard = crate::Subsegment::begin("contended");
                guard.annotate("step", 1);
                let trace = guard.context().trace().cloned().unwrap();
                let other = thread::spawn(move || trace.changes.hand_over());
                guard.finish();
                other.join().unwrap();
            })
            .await;
            let last = kept.events().into_iter().rev().find(|event| {
                matches!(event, Event::Open(document) | Event::Close(document)
                    if document["name"] == "contended")
            });
            assert!(matches!(last, Some(Event::Close(_))), "{last:?}");
        }
    }
}
