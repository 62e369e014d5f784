//! The state of an environment, shared between the request handlers of both APIs and the
//! lifecycle: each of them changes it, and waits for the changes of the others.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::{
    failure::Failure,
    invocation::StreamedResponse,
    responses::Refusal,
    state::{Answer, Event, Extension, Job, Open, State},
};

#[derive(Debug)]
pub(super) struct Board(watch::Sender<State>);

impl Board {
    /// A new environment with external extensions of these names, not yet registered.
    pub(super) fn new(is_managed: bool, external: impl Iterator<Item = String>) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(State {
            is_managed,
            extensions: external.map(|name| Extension::new(name, true)).collect(),
            ..State::default()
        })))
    }

    /// Reads the current state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.borrow())
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut result = None;
        self.0.send_modify(|state| result = Some(change(state)));
        result.expect("send_modify runs its closure")
    }

    /// Waits until `find` returns something, and returns it.
    pub(super) async fn until<T>(&self, mut find: impl FnMut(&State) -> Option<T>) -> T {
        let mut changes = self.0.subscribe();
        loop {
            let found = find(&changes.borrow_and_update());
            if let Some(found) = found {
                return found;
            }
            changes.changed().await.expect("the board owns the sender");
        }
    }

    /// Waits like [`Board::until`]; `take` may remove what it returns.
    async fn take<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changes = self.0.subscribe();
        loop {
            let mut taken = None;
            self.0.send_if_modified(|state| {
                taken = take(state);
                taken.is_some()
            });
            if let Some(taken) = taken {
                return taken;
            }
            changes.changed().await.expect("the board owns the sender");
        }
    }

    /// Records what ended the environment. Later failures are consequences of the first.
    pub(super) fn fail(&self, failure: Failure) {
        self.update(|state| state.failure.get_or_insert(failure).clone());
    }

    /// Waits for a failure.
    pub(super) async fn failure(&self) -> Failure {
        self.until(State::failure).await
    }

    // Requests of the runtime.

    pub(super) fn runtime_started(&self) {
        self.update(|state| state.runtime_started = true);
    }

    /// Waits for the runtime's next invocation. The runtime counts as waiting until this future
    /// ends or is dropped.
    pub(super) async fn next_job(&self) -> Result<Job, Refusal> {
        let is_busy =
            self.read(|state| !state.is_managed && !state.open.is_empty() && state.jobs.is_empty());
        if is_busy {
            return Err(Refusal::forbidden(
                "InvalidStateTransition",
                "the runtime asked for the next invocation before it answered the last".into(),
            ));
        }
        self.update(|state| state.runtime_waiting += 1);
        let _waiting = OnDrop(|| self.update(|state| state.runtime_waiting -= 1));
        Ok(self.take(|state| state.jobs.pop_front()).await)
    }

    /// Begins a streamed response: returns where to send it, or `None` if nothing receives it.
    pub(super) fn stream(
        &self,
        request_id: &str,
    ) -> Result<Option<oneshot::Sender<StreamedResponse>>, Refusal> {
        self.update(|state| match state.open.get_mut(request_id) {
            Some(open) => Ok(open.stream.take()),
            None => Err(state.not_open(request_id)),
        })
    }

    /// Ends an invocation with the runtime's answer.
    pub(super) fn answer(&self, request_id: &str, answer: Answer) -> Result<(), Refusal> {
        let open = self.update(|state| match state.open.remove(request_id) {
            Some(open) => Ok(open),
            None => Err(state.not_open(request_id)),
        })?;
        // The receiver may be gone, which does not concern the runtime.
        let _ = open.answer.send(answer);
        Ok(())
    }

    // Requests of extensions.

    /// Registers an extension and returns its identifier.
    pub(super) fn register(&self, name: &str, events: Vec<Event>) -> Result<String, Refusal> {
        self.update(|state| state.register(name, events))
    }

    /// Waits for the next event of an extension.
    pub(super) async fn next_event(&self, id: &str) -> Result<Value, Refusal> {
        let set_waiting = |is_waiting| {
            self.update(|state| {
                state
                    .extension(id)
                    .map(|extension| extension.is_waiting = is_waiting)
            })
        };
        set_waiting(true)?;
        let _waiting = OnDrop(|| set_waiting(false));
        self.take(|state| match state.extension(id) {
            Ok(extension) => extension.inbox.pop_front().map(Ok),
            Err(refusal) => Some(Err(refusal)),
        })
        .await
    }

    /// Records an error that an extension reported; it ends the environment.
    pub(super) fn extension_error(&self, id: &str, error_type: &str) -> Result<(), Refusal> {
        let extension =
            self.update(|state| state.extension(id).map(|extension| extension.name.clone()))?;
        self.fail(Failure::ExtensionError {
            extension,
            error_type: error_type.into(),
        });
        Ok(())
    }

    // Steps of the lifecycle.

    /// Goes on without this extension: it gets no events, and nothing waits for it.
    pub(super) fn dismiss(&self, name: &str) {
        self.renew(name, true);
    }

    /// Expects this extension to register, as at the beginning.
    pub(super) fn expect(&self, name: &str) {
        self.renew(name, false);
    }

    fn renew(&self, name: &str, is_gone: bool) {
        self.update(|state| {
            let mut extensions = state.extensions.iter_mut();
            if let Some(extension) = extensions.find(|extension| extension.name == name) {
                *extension = Extension {
                    is_gone,
                    ..Extension::new(name.to_owned(), extension.is_external)
                };
            }
        });
    }

    /// Hands an invocation to the runtime, and its event to the extensions that registered for it.
    pub(super) fn dispatch(
        &self,
        job: Job,
        event: &Value,
        stream: Option<oneshot::Sender<StreamedResponse>>,
    ) -> oneshot::Receiver<Answer> {
        let (sender, answer) = oneshot::channel();
        let open = Open {
            answer: sender,
            stream,
        };
        self.update(|state| {
            for extension in &mut state.extensions {
                if extension.wants(Event::Invoke) {
                    extension.inbox.push_back(event.clone());
                }
            }
            state.open.insert(job.request_id.clone(), open);
            state.jobs.push_back(job);
        });
        answer
    }

    /// Abandons an invocation while the environment lives on.
    pub(super) fn expire(&self, request_id: &str) {
        self.update(|state| {
            let is_queued = state.jobs.iter().any(|job| job.request_id == request_id);
            state.jobs.retain(|job| job.request_id != request_id);
            if state.open.remove(request_id).is_some() && !is_queued {
                state.expired.insert(request_id.into());
            }
        });
    }

    /// Sends SHUTDOWN to the extensions that registered for it, in place of unread events.
    pub(super) fn announce_shutdown(&self, reason: &str, deadline_ms: u64) {
        let event = json!({
            "eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms,
        });
        self.update(|state| {
            for extension in &mut state.extensions {
                extension.inbox.clear();
                if extension.wants(Event::Shutdown) {
                    extension.inbox.push_back(event.clone());
                }
            }
        });
    }
}

/// Runs its closure on drop, also when a request is dropped before its response.
struct OnDrop<F: FnMut() -> T, T>(F);

impl<F: FnMut() -> T, T> Drop for OnDrop<F, T> {
    fn drop(&mut self) {
        (self.0)();
    }
}
