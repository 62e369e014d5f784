//! Merging traces into a story.

use std::collections::{BTreeMap, BTreeSet};

use super::hop::{Hop, HopKind, Invocation, Story};
use super::message::{Message, message};
use crate::model::{Callee, Kind, Node, Place, Trace};

/// Operations that hand work over without waiting for it, with the kind of the hop.
const HANDED_OVER: [(&str, HopKind); 5] = [
    ("SendMessage", HopKind::Queue),
    ("SendMessageBatch", HopKind::Queue),
    ("Publish", HopKind::Topic),
    ("PublishBatch", HopKind::Topic),
    ("PutEvents", HopKind::Bus),
];

/// A segment or subsegment that becomes hops, with the message that it handles.
type Work<'a> = (&'a Trace, &'a Place, Option<Message>);

/// Returns the story of traces that belong together; see [`linked`](super::linked).
#[must_use]
pub fn story(traces: &[Trace]) -> Story {
    let handled = segments_of_messages(traces);
    let work = traces.iter().flat_map(|trace| work(trace, &handled));
    let mut work: Vec<Work<'_>> = work.collect();
    work.sort_by(|(_, a, _), (_, b, _)| {
        let by_id = || a.id.cmp(&b.id);
        a.start.total_cmp(&b.start).then_with(by_id)
    });
    let mut writer = Writer {
        traces,
        attempts: BTreeMap::new(),
        hops: Vec::new(),
    };
    for (trace, place, message) in work {
        writer.add(trace, place, message);
    }
    writer.finish()
}

/// A receive of a message: its id and the count of receives.
type Receive = (String, Option<u64>);

/// Returns the traces with a segment for each receive of a message.
fn segments_of_messages(traces: &[Trace]) -> BTreeMap<Receive, BTreeSet<&str>> {
    let mut found: BTreeMap<Receive, BTreeSet<&str>> = BTreeMap::new();
    for trace in traces {
        let segments = trace.nodes().filter(|node| node.kind == Kind::Segment);
        for message in segments.filter_map(|segment| message(segment)) {
            let receive = (message.id, message.receive_count);
            found.entry(receive).or_default().insert(&trace.id);
        }
    }
    found
}

/// Returns the segments of a trace, and the subsegments that handle a message, without pointers to
/// a segment in another trace. Of an invocation with such pointers no segment remains.
fn work<'a>(trace: &'a Trace, handled: &BTreeMap<Receive, BTreeSet<&str>>) -> Vec<Work<'a>> {
    let is_pointer = |message: &Message| {
        let receive = (message.id.clone(), message.receive_count);
        let traces = handled.get(&receive);
        traces.is_some_and(|traces| traces.iter().any(|id| *id != trace.id))
    };
    let is_invocation = trace.nodes().any(|node| {
        node.kind == Kind::Subsegment && message(node).is_some_and(|message| is_pointer(&message))
    });
    let of_place = |place: &'a Place| {
        let message = message(place);
        match (place.kind, &message) {
            (Kind::Segment, None) if is_invocation => None,
            (Kind::Segment, _) => Some((trace, place, message)),
            (Kind::Subsegment, Some(it)) if !is_pointer(it) => Some((trace, place, message)),
            _ => None,
        }
    };
    trace.nodes().filter_map(of_place).collect()
}

/// An earlier receive of a message.
struct Attempt {
    queue: String,
    end: Option<f64>,
    /// The index of its last hop.
    hop: usize,
    failed: bool,
}

struct Writer<'a> {
    traces: &'a [Trace],
    /// The last receive of each message.
    attempts: BTreeMap<String, Attempt>,
    hops: Vec<Hop>,
}

impl Writer<'_> {
    fn add(&mut self, trace: &Trace, place: &Place, message: Option<Message>) {
        if is_lambdas_own(trace, place) {
            return;
        }
        if let Some(message) = &message {
            self.add_queue(trace, place, message);
        }
        let nodes: Vec<&Place> = match place.kind {
            Kind::Subsegment => trace.walk(place).collect(),
            _ => trace.own(place).collect(),
        };
        if message.is_none() {
            self.add_request(trace, place, &nodes);
        }
        let kind = match (place.origin(), place.kind) {
            (Some("AWS::Lambda::Function"), _) | (_, Kind::Subsegment) => HopKind::Function,
            _ => HopKind::Service,
        };
        let around = trace.segment(place).unwrap_or(place);
        let mut hop = self.hop(kind, around.name.clone(), trace, place);
        hop.own = place
            .duration()
            .map(|whole| (whole - called(trace, &nodes)).max(0.0));
        hop.failures = failures(trace, &nodes);
        if let Some(message) = message {
            hop.invocation = message.invocation.as_deref().map(|id| self.invocation(id));
            hop.message_id = Some(message.id.clone());
            hop.receive_count = message.receive_count;
            let attempt = Attempt {
                queue: message.queue,
                end: place.end,
                hop: self.hops.len(),
                failed: !hop.failures.is_empty(),
            };
            self.attempts.insert(message.id, attempt);
        }
        self.hops.push(hop);
        self.add_handed_over(trace, &nodes);
    }

    fn hop(&self, kind: HopKind, name: String, trace: &Trace, place: &Place) -> Hop {
        Hop {
            kind,
            name,
            trace_id: trace.id.clone(),
            id: place.id.clone(),
            start: place.start,
            duration: place.duration(),
            own: place.duration(),
            status: None,
            message_id: None,
            receive_count: None,
            invocation: None,
            failures: Vec::new(),
            note: None,
        }
    }

    /// Adds the way of a message through its queue: since it was sent, or since its last receive
    /// failed.
    fn add_queue(&mut self, trace: &Trace, place: &Place, message: &Message) {
        let before = self.attempts.get(&message.id);
        let moved = before.is_some_and(|before| before.queue != message.queue);
        let kind = if moved {
            HopKind::DeadLetterQueue
        } else {
            HopKind::Queue
        };
        let since_last = before.and_then(|before| before.end);
        let since_last = since_last.map(|end| (place.start - end).max(0.0));
        let waited = since_last.or(message.waited);
        let mut hop = self.hop(kind, message.queue.clone(), trace, place);
        hop.start = place.start - waited.unwrap_or_default();
        hop.duration = waited;
        hop.own = waited;
        hop.message_id = Some(message.id.clone());
        hop.receive_count = message.receive_count;
        hop.note = since_last.map(|_| "since the last receive failed".to_owned());
        self.hops.push(hop);
    }

    /// Adds the HTTP request that a segment answers, or the first subsegment in it.
    fn add_request(&mut self, trace: &Trace, segment: &Place, nodes: &[&Place]) {
        let url =
            |node: &&&Place| !node.is_call() && node.text(&["http", "request", "url"]).is_some();
        let Some(node) = nodes.iter().find(url) else {
            return;
        };
        let text = |member| node.text(&["http", "request", member]).unwrap_or_default();
        let name = format!("{} {}", text("method"), text("url"));
        let mut hop = self.hop(HopKind::Request, name.trim().to_owned(), trace, segment);
        hop.status = node.status();
        // The function that answers it takes the time.
        hop.own = None;
        self.hops.push(hop);
    }

    /// Adds topics and buses, and queues whose message is in no received segment yet.
    fn add_handed_over(&mut self, trace: &Trace, nodes: &[&Place]) {
        for call in nodes.iter().filter(|node| node.is_call()) {
            let operation = call.text(&["aws", "operation"]).unwrap_or_default();
            let known = HANDED_OVER.iter().find(|(known, _)| *known == operation);
            let Some((_, kind)) = known else { continue };
            let is_handled = trace.children(call).any(|node| node.kind == Kind::Segment);
            if *kind == HopKind::Queue && is_handled {
                continue;
            }
            let callee = Callee::of(call).name;
            let name = callee.rsplit([':', '/']).next().unwrap_or(&callee);
            let mut hop = self.hop(*kind, name.to_owned(), trace, call);
            if *kind == HopKind::Queue && !call.failed() {
                hop.note = Some("sent; no function has recorded its receipt".to_owned());
            }
            self.hops.push(hop);
        }
    }

    fn invocation(&self, trace_id: &str) -> Invocation {
        let trace = self.traces.iter().find(|trace| trace.id == trace_id);
        let function = trace.and_then(|trace| {
            let mut segments = trace.nodes();
            segments.find(|node| node.origin() == Some("AWS::Lambda::Function"))
        });
        let failures = match (trace, function) {
            (Some(trace), Some(function)) => {
                let own = trace.own(function).filter(|node| message(node).is_none());
                failures(trace, &own.collect::<Vec<_>>())
            }
            _ => Vec::new(),
        };
        Invocation {
            trace_id: trace_id.to_owned(),
            duration: function.and_then(|function| function.duration()),
            failures,
        }
    }

    fn finish(mut self) -> Story {
        for attempt in self.attempts.values().filter(|attempt| attempt.failed) {
            self.hops[attempt.hop].note = Some(
                "the last recorded receive failed: the message is received again later, or is in \
                 the dead-letter queue"
                    .to_owned(),
            );
        }
        let starts = self.traces.iter().map(Trace::start);
        let start = starts.fold(f64::INFINITY, f64::min);
        let ends = self.traces.iter().map(Trace::end);
        let end = ends.fold(f64::NEG_INFINITY, f64::max);
        let own = |hop: &Hop| hop.own.unwrap_or(f64::NEG_INFINITY);
        let slowest = self.hops.iter().enumerate();
        let slowest = slowest.max_by(|(_, a), (_, b)| own(a).total_cmp(&own(b)));
        let failed = |hop: &Hop| !hop.failures.is_empty();
        Story {
            traces: self.traces.iter().map(|trace| trace.id.clone()).collect(),
            start: if start.is_finite() { start } else { 0.0 },
            duration: (end - start).max(0.0),
            slowest: slowest
                .filter(|(_, hop)| hop.own.is_some())
                .map(|(index, _)| index),
            first_failure: self.hops.iter().position(failed),
            hops: self.hops,
        }
    }
}

/// Returns whether a segment is the Lambda service's, above the function's.
fn is_lambdas_own(trace: &Trace, place: &Place) -> bool {
    let is_function = |node: &Place| node.origin() == Some("AWS::Lambda::Function");
    place.origin() == Some("AWS::Lambda") && trace.children(place).any(is_function)
}

/// Returns the seconds of the services that were called and sent segments, within the calls.
fn called(trace: &Trace, nodes: &[&Place]) -> f64 {
    let calls = nodes.iter().filter(|node| node.is_call());
    let waited_for = calls.filter(|call| {
        let within = |node: &Place| node.kind == Kind::Segment && node.end <= call.end;
        trace.children(call).any(within)
    });
    waited_for.filter_map(|call| call.duration()).sum()
}

/// Returns the failures that no failure of a part explains, each with its reason; the reason of the
/// whole last.
fn failures(trace: &Trace, nodes: &[&Place]) -> Vec<String> {
    let ids: BTreeSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    let is_part = |node: &Place| node.failed() && ids.contains(node.id.as_str());
    let mut found: Vec<String> = Vec::new();
    for node in nodes.iter().rev().filter(|node| node.failed()) {
        let is_explained = trace.children(node).any(is_part);
        if is_explained && node.exceptions.is_empty() {
            continue;
        }
        let text = failure(node);
        if !found.contains(&text) {
            found.push(text);
        }
    }
    found
}

fn failure(node: &Node) -> String {
    let mut text = node.name.clone();
    for word in [
        node.text(&["aws", "operation"]),
        node.text(&["aws", "table_name"]),
    ] {
        text.extend(word.map(|word| format!(" {word}")));
    }
    let mark = match (node.throttle, node.fault) {
        (true, _) => "throttled",
        (_, true) => "fault",
        _ => "error",
    };
    let mut reasons: Vec<String> = node.exceptions.iter().map(ToString::to_string).collect();
    if reasons.is_empty() {
        reasons.extend(node.status().map(|status| format!("HTTP {status}")));
    }
    if reasons.is_empty() {
        return format!("{text}: {mark}");
    }
    format!("{text}: {mark}: {}", reasons.join(", caused by "))
}
