//! The parts of a story.

use serde::Serialize;

/// The steps of one request, in order of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Story {
    /// The ids of all traces.
    pub traces: Vec<String>,
    /// The earliest start in seconds since 1970.
    pub start: f64,
    /// The seconds from the earliest start to the latest end.
    pub duration: f64,
    /// The index of the hop that took the most time itself.
    pub slowest: Option<usize>,
    /// The index of the first hop with a failure.
    pub first_failure: Option<usize>,
    /// The hops, by start.
    pub hops: Vec<Hop>,
}

/// The kind of a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HopKind {
    /// An HTTP request that a function or service answered.
    Request,
    /// A function.
    Function,
    /// Another service.
    Service,
    /// A message in a queue.
    Queue,
    /// A message that moved to another queue after its receives failed.
    DeadLetterQueue,
    /// A publication to a topic.
    Topic,
    /// Events on a bus.
    Bus,
}

/// The invocation that handled a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Invocation {
    /// The id of its trace.
    pub trace_id: String,
    /// The seconds it took, if its trace was received.
    pub duration: Option<f64>,
    /// Failures of the invocation itself, such as a timeout.
    pub failures: Vec<String>,
}

/// A step of a story.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hop {
    /// The kind.
    pub kind: HopKind,
    /// Function, service, queue, topic or bus; for a request its method and URL.
    pub name: String,
    /// The trace.
    pub trace_id: String,
    /// The segment or subsegment.
    pub id: String,
    /// The start in seconds since 1970.
    pub start: f64,
    /// The seconds it took; `None` while in progress or if unknown.
    pub duration: Option<f64>,
    /// The seconds it took itself, without the services that it called.
    pub own: Option<f64>,
    /// The HTTP status of a request.
    pub status: Option<u64>,
    /// The id of the message.
    pub message_id: Option<String>,
    /// The number of receives of the message, with this one.
    pub receive_count: Option<u64>,
    /// The invocation that handled the message.
    pub invocation: Option<Invocation>,
    /// Each failure with its reason, the innermost first.
    pub failures: Vec<String>,
    /// A remark, such as a message without a receipt.
    pub note: Option<String>,
}
