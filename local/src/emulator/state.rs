//! The state of an environment: open invocations, registered extensions, the first failure.

use std::collections::{HashMap, HashSet, VecDeque};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;

use super::{failure::Failure, invocation::StreamedResponse, responses::Refusal};

/// An invocation as the runtime gets it.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    pub(super) deadline_ms: u64,
    pub(super) arn: String,
    pub(super) trace_header: Option<String>,
}

/// The runtime's answer to an invocation.
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

/// The receivers of an open invocation.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) answer: oneshot::Sender<Answer>,
    /// For a response that the runtime streams; taken when it begins.
    pub(super) stream: Option<oneshot::Sender<StreamedResponse>>,
}

/// Lifecycle events that an extension can ask for.
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
    /// True if it has its own process; an internal extension lives in the runtime's process.
    pub(super) is_external: bool,
    /// True if its process has ended and the environment goes on without it.
    pub(super) is_gone: bool,
    /// The events that it registered for; `None` before.
    pub(super) events: Option<Vec<Event>>,
    pub(super) inbox: VecDeque<Value>,
    pub(super) is_waiting: bool,
}

impl Extension {
    pub(super) fn new(name: String, is_external: bool) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self {
            name,
            id,
            is_external,
            is_gone: false,
            events: None,
            inbox: VecDeque::new(),
            is_waiting: false,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.events.is_some()
    }

    pub(super) fn wants(&self, event: Event) -> bool {
        let mut events = self.events.iter().flatten();
        events.any(|wanted| *wanted == event)
    }

    fn is_idle(&self) -> bool {
        self.is_waiting && self.inbox.is_empty()
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) is_managed: bool,
    pub(super) runtime_started: bool,
    /// Number of pending `/next` requests of the runtime.
    pub(super) runtime_waiting: usize,
    pub(super) jobs: VecDeque<Job>,
    /// Open invocations by request id.
    pub(super) open: HashMap<String, Open>,
    /// Request ids of invocations that timed out while the runtime lives on.
    pub(super) expired: HashSet<String>,
    pub(super) extensions: Vec<Extension>,
    pub(super) failure: Option<Failure>,
}

impl State {
    pub(super) fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }

    pub(super) fn has_extensions(&self) -> bool {
        self.extensions.iter().any(Extension::is_registered)
    }

    /// Returns whether the external extension of this name gets SHUTDOWN.
    pub(super) fn wants_shutdown(&self, name: &str) -> bool {
        self.extensions.iter().any(|extension| {
            extension.is_external && extension.name == name && extension.wants(Event::Shutdown)
        })
    }

    pub(super) fn all_registered(&self) -> bool {
        self.extensions
            .iter()
            .all(|extension| extension.is_gone || extension.is_registered())
    }

    pub(super) fn is_initialised(&self) -> bool {
        self.runtime_waiting > 0 && self.extensions_are_ready()
    }

    /// Returns whether every extension waits for an event, except for those without a process.
    pub(super) fn extensions_are_ready(&self) -> bool {
        self.extensions
            .iter()
            .all(|extension| extension.is_gone || extension.is_idle())
    }

    /// Returns whether all work is done, which is the condition for the freeze.
    pub(super) fn is_idle(&self) -> bool {
        self.open.is_empty()
            && self.runtime_waiting > 0
            && self.all_registered()
            && self
                .extensions
                .iter()
                .filter(|extension| extension.wants(Event::Invoke))
                .all(Extension::is_idle)
    }

    /// The refusal of an answer to an invocation that is not open.
    pub(super) fn not_open(&mut self, request_id: &str) -> Refusal {
        if self.expired.remove(request_id) {
            return Refusal::gone(format!(
                "the time of invocation {request_id} is over; the answer is dropped"
            ));
        }
        Refusal::bad_request(
            "InvalidRequestID",
            format!("no open invocation has the request id {request_id:?}"),
        )
    }

    pub(super) fn extension(&mut self, id: &str) -> Result<&mut Extension, Refusal> {
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

    /// Registers an extension and returns its identifier.
    pub(super) fn register(&mut self, name: &str, events: Vec<Event>) -> Result<String, Refusal> {
        let known = self
            .extensions
            .iter()
            .position(|extension| extension.name == name);
        if known.is_none() && (!self.runtime_started || self.runtime_waiting > 0) {
            let problem = "it is not the file name of an extension, and internal extensions \
                           register while the runtime starts";
            return Err(Refusal::forbidden(
                "Extension.RegistrationClosed",
                format!("cannot register {name:?}: {problem}"),
            ));
        }
        let is_external = known.is_some_and(|index| self.extensions[index].is_external);
        let refused = events.iter().find(|event| match event {
            Event::Invoke => self.is_managed,
            Event::Shutdown => !is_external,
        });
        if let Some(event) = refused {
            let kind = if is_external { "external" } else { "internal" };
            return Err(Refusal::forbidden(
                "Extension.InvalidEventType",
                format!("{event:?} is not available to {kind} extensions here"),
            ));
        }
        let index = known.unwrap_or_else(|| {
            self.extensions.push(Extension::new(name.to_owned(), false));
            self.extensions.len() - 1
        });
        let extension = &mut self.extensions[index];
        if extension.is_registered() {
            return Err(Refusal::forbidden(
                "Extension.InvalidExtensionState",
                format!("extension {name:?} has registered already"),
            ));
        }
        extension.events = Some(events);
        Ok(extension.id.clone())
    }
}
