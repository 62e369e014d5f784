//! The board on which the parts of an environment meet: what the processes asked for, what is
//! there for them, and what has failed. Request handlers write to it and wait on it; so does the
//! lifecycle.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::{failure::Failure, message::Refusal};

/// An invocation as the runtime gets it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    pub(super) deadline_ms: u64,
    pub(super) arn: String,
    pub(super) trace_header: Option<String>,
}

/// What the runtime posted for an invocation.
#[derive(Debug)]
pub(super) enum Answer {
    Response(Bytes),
    Error {
        payload: Bytes,
        error_type: Option<String>,
        /// For the function's segment: `Lambda-Runtime-Function-XRay-Error-Cause`.
        cause: Option<Value>,
    },
}

/// Lifecycle events an extension can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Event {
    Invoke,
    Shutdown,
}

#[derive(Debug)]
pub(super) struct Extension {
    pub(super) name: String,
    pub(super) id: String,
    /// External ones are processes of ours; internal ones live in the runtime's process.
    pub(super) external: bool,
    /// Its process has ended, and the environment goes on without it.
    gone: bool,
    /// `None` until it registers.
    events: Option<Vec<Event>>,
    inbox: VecDeque<Value>,
    waiting: bool,
}

impl Extension {
    fn new(name: String, external: bool) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self {
            name,
            id,
            external,
            gone: false,
            events: None,
            inbox: VecDeque::new(),
            waiting: false,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.events.is_some()
    }

    pub(super) fn wants(&self, event: Event) -> bool {
        self.events
            .as_ref()
            .is_some_and(|events| events.contains(&event))
    }

    fn is_idle(&self) -> bool {
        self.waiting && self.inbox.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct State {
    managed: bool,
    runtime_started: bool,
    /// `/next` requests of the runtime that are pending.
    runtime_waiting: usize,
    jobs: VecDeque<Job>,
    /// Where answers go: one for each open invocation.
    open: HashMap<String, oneshot::Sender<Answer>>,
    /// Invocations whose time was over while the runtime lives on.
    expired: HashSet<String>,
    extensions: Vec<Extension>,
    failure: Option<Failure>,
}

impl State {
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }

    pub(super) fn has_extensions(&self) -> bool {
        self.extensions.iter().any(Extension::is_registered)
    }

    /// Whether the external extension of this name gets SHUTDOWN.
    pub(super) fn wants_shutdown(&self, name: &str) -> bool {
        self.extensions.iter().any(|extension| {
            extension.external && extension.name == name && extension.wants(Event::Shutdown)
        })
    }

    pub(super) fn all_registered(&self) -> bool {
        self.extensions.iter().all(|e| e.gone || e.is_registered())
    }

    pub(super) fn is_initialised(&self) -> bool {
        self.runtime_waiting > 0 && self.extensions_are_ready()
    }

    /// Whether all extensions that there are wait for an event.
    pub(super) fn extensions_are_ready(&self) -> bool {
        self.extensions.iter().all(|e| e.gone || e.is_idle())
    }

    /// Whether all work is done: the condition for the freeze.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
            && self.runtime_waiting > 0
            && self.all_registered()
            && self
                .extensions
                .iter()
                .filter(|e| e.wants(Event::Invoke))
                .all(Extension::is_idle)
    }

    fn extension(&mut self, id: &str) -> Result<&mut Extension, Refusal> {
        self.extensions
            .iter_mut()
            .find(|extension| extension.id == id)
            .ok_or_else(|| {
                Refusal::forbidden(
                    "Extension.UnknownExtensionIdentifier",
                    format!("no extension has the identifier {id:?}; register first"),
                )
            })
    }
}

#[derive(Debug)]
pub(super) struct Board(watch::Sender<State>);

impl Board {
    pub(super) fn new(managed: bool, external: impl Iterator<Item = String>) -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(State {
            managed,
            runtime_started: false,
            runtime_waiting: 0,
            jobs: VecDeque::new(),
            open: HashMap::new(),
            expired: HashSet::new(),
            extensions: external.map(|name| Extension::new(name, true)).collect(),
            failure: None,
        })))
    }

    /// Reads the present state.
    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.borrow())
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut result = None;
        self.0.send_modify(|state| result = Some(change(state)));
        result.expect("send_modify runs its closure")
    }

    /// Waits until `find` finds something.
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

    /// As [`Board::until`], for what has to be taken away when it is found.
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

    /// Records what ended the environment. What comes after the first failure is its consequence.
    pub(super) fn fail(&self, failure: Failure) {
        self.update(|state| state.failure.get_or_insert(failure).clone());
    }

    pub(super) async fn failure(&self) -> Failure {
        self.until(State::failure).await
    }

    // The runtime's side.

    pub(super) fn runtime_started(&self) {
        self.update(|state| state.runtime_started = true);
    }

    /// The runtime asks for an invocation; waits until there is one. Counts as waiting until
    /// then, or until the request is given up.
    pub(super) async fn next_job(&self) -> Result<Job, Refusal> {
        let busy =
            self.read(|state| !state.managed && !state.open.is_empty() && state.jobs.is_empty());
        if busy {
            return Err(Refusal::forbidden(
                "InvalidStateTransition",
                "the runtime asked for the next invocation before it answered the last".into(),
            ));
        }
        self.update(|state| state.runtime_waiting += 1);
        let _waiting = OnDrop(|| self.update(|state| state.runtime_waiting -= 1));
        Ok(self.take(|state| state.jobs.pop_front()).await)
    }

    /// Passes the runtime's answer on to whoever waits for it.
    pub(super) fn answer(&self, request_id: &str, answer: Answer) -> Result<(), Refusal> {
        let open = self.update(|state| match state.open.remove(request_id) {
            Some(open) => Ok(open),
            None if state.expired.remove(request_id) => Err(Refusal::gone(format!(
                "the time of invocation {request_id} is over; the answer is dropped"
            ))),
            None => Err(Refusal::bad_request(
                "InvalidRequestID",
                format!("no open invocation has the request id {request_id:?}"),
            )),
        })?;
        // Whoever waited may have given up; that is no concern of the runtime.
        let _ = open.send(answer);
        Ok(())
    }

    // The extensions' side.

    /// Registers an extension. Gives its identifier.
    pub(super) fn register(&self, name: &str, events: Vec<Event>) -> Result<String, Refusal> {
        self.update(|state| {
            let known = state
                .extensions
                .iter()
                .any(|extension| extension.name == name);
            if !known && (!state.runtime_started || state.runtime_waiting > 0) {
                let problem = "it is not the file name of an extension, and internal extensions \
                               register while the runtime starts";
                return Err(Refusal::forbidden(
                    "Extension.RegistrationClosed",
                    format!("cannot register {name:?}: {problem}"),
                ));
            }
            let external = state
                .extensions
                .iter()
                .any(|e| e.name == name && e.external);
            let refused = events.iter().find(|event| match event {
                Event::Invoke => state.managed,
                Event::Shutdown => !external,
            });
            if let Some(event) = refused {
                let kind = if external { "external" } else { "internal" };
                return Err(Refusal::forbidden(
                    "Extension.InvalidEventType",
                    format!("{event:?} is not available to {kind} extensions here"),
                ));
            }
            if !known {
                state
                    .extensions
                    .push(Extension::new(name.to_owned(), false));
            }
            let extension = state.extensions.iter_mut().find(|e| e.name == name);
            let extension = extension.expect("known, or made above");
            if extension.is_registered() {
                return Err(Refusal::forbidden(
                    "Extension.InvalidExtensionState",
                    format!("extension {name:?} has registered already"),
                ));
            }
            extension.events = Some(events);
            Ok(extension.id.clone())
        })
    }

    /// An extension asks for its next event; waits until there is one.
    pub(super) async fn next_event(&self, id: &str) -> Result<Value, Refusal> {
        self.update(|state| {
            state
                .extension(id)
                .map(|extension| extension.waiting = true)
        })?;
        let _waiting = OnDrop(|| {
            self.update(|state| {
                state
                    .extension(id)
                    .map(|extension| extension.waiting = false)
            })
        });
        self.take(|state| match state.extension(id) {
            Ok(extension) => extension.inbox.pop_front().map(Ok),
            Err(refusal) => Some(Err(refusal)),
        })
        .await
    }

    /// An extension reports that it cannot go on.
    pub(super) fn extension_error(&self, id: &str, error_type: &str) -> Result<(), Refusal> {
        let extension = self.update(|state| state.extension(id).map(|e| e.name.clone()))?;
        self.fail(Failure::ExtensionError {
            extension,
            error_type: error_type.into(),
        });
        Ok(())
    }

    // The lifecycle's side.

    /// Goes on without this extension: nothing is sent to it, and nobody waits for it.
    pub(super) fn dismiss(&self, name: &str) {
        self.renew(name, true);
    }

    /// Expects this extension to register, as if it never had.
    pub(super) fn expect(&self, name: &str) {
        self.renew(name, false);
    }

    fn renew(&self, name: &str, gone: bool) {
        self.update(|state| {
            let mut extensions = state.extensions.iter_mut();
            if let Some(extension) = extensions.find(|extension| extension.name == name) {
                *extension = Extension {
                    gone,
                    ..Extension::new(name.to_owned(), extension.external)
                };
            }
        });
    }

    /// Hands an invocation to the runtime and its event to the extensions that asked for it.
    pub(super) fn dispatch(&self, job: Job, event: Value) -> oneshot::Receiver<Answer> {
        let (open, answer) = oneshot::channel();
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

    /// Gives an invocation up while the environment lives on.
    pub(super) fn expire(&self, request_id: &str) {
        self.update(|state| {
            let queued = state.jobs.iter().any(|job| job.request_id == request_id);
            state.jobs.retain(|job| job.request_id != request_id);
            if state.open.remove(request_id).is_some() && !queued {
                state.expired.insert(request_id.into());
            }
        });
    }

    /// Tells the extensions that asked for it to shut down. It replaces what they have not read.
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

/// Runs its closure when it goes out of scope: also when a request is given up half-way.
struct OnDrop<F: FnMut() -> T, T>(F);

impl<F: FnMut() -> T, T> Drop for OnDrop<F, T> {
    fn drop(&mut self) {
        (self.0)();
    }
}
