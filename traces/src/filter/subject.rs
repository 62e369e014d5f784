//! The parts of a trace to which the keywords of a filter refer: the trace itself, one service, one
//! connection, or one element of a root cause.

use crate::model::{Callee, Exception, Kind, Place, Trace};

use super::syntax::{FlagKey, NumberKey, TextKey};

/// A part of a trace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'a> {
    /// The whole trace, with the flags of its root.
    Trace(&'a Trace),
    /// One segment.
    Segment(&'a Trace, &'a Place),
    /// A service that was called and sent no segment.
    Callee(&'a Trace, &'a Place),
    /// A call, between two services.
    Call(&'a Trace, &'a Place),
    /// One element of a root cause.
    Element(&'a Element),
}

/// One service, entity or exception of a root cause.
#[derive(Debug, Clone, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) messages: Vec<String>,
    pub(super) is_remote: bool,
    pub(super) is_inferred: bool,
    pub(super) is_root: bool,
    pub(super) coverage: Option<f64>,
    pub(super) index: usize,
    pub(super) is_last: bool,
}

impl<'a> Subject<'a> {
    /// Returns the node whose outcome is the subject's.
    fn node(self) -> Option<&'a Place> {
        match self {
            Self::Trace(trace) => trace.roots().next().or_else(|| trace.orphans().next()),
            Self::Segment(_, node) | Self::Callee(_, node) | Self::Call(_, node) => Some(node),
            Self::Element(_) => None,
        }
    }

    /// Returns the nodes whose texts and annotations belong to the subject.
    fn nodes(self) -> Vec<&'a Place> {
        match self {
            Self::Trace(trace) => trace.nodes().collect(),
            Self::Segment(trace, segment) => trace.own(segment).collect(),
            Self::Callee(_, node) | Self::Call(_, node) => vec![node],
            Self::Element(_) => Vec::new(),
        }
    }

    /// Returns the nodes with the subject's HTTP request: for a trace its segments, of which the
    /// first that has a value counts.
    fn served(self) -> Vec<&'a Place> {
        match self {
            Self::Trace(trace) => {
                let is_segment = |node: &&Place| node.kind == Kind::Segment || node.depth() == 0;
                trace.nodes().filter(is_segment).collect()
            }
            other => other.node().into_iter().collect(),
        }
    }

    pub(super) fn flag(self, key: FlagKey) -> bool {
        let node = self.node();
        let has = |flag: fn(&Place) -> bool| node.is_some_and(flag);
        match (key, self) {
            (FlagKey::First, Self::Element(element)) => element.index == 0,
            (FlagKey::Last, Self::Element(element)) => element.is_last,
            (FlagKey::Remote, Self::Element(element)) => element.is_remote,
            (FlagKey::Inferred, Self::Element(element)) => element.is_inferred,
            (FlagKey::Root, Self::Element(element)) => element.is_root,
            (_, Self::Element(_)) => false,
            (FlagKey::Ok, _) => has(|node| !node.failed()),
            (FlagKey::Error, _) => has(|node| node.error),
            (FlagKey::Throttle, _) => has(|node| node.throttle),
            (FlagKey::Fault, _) => has(|node| node.fault),
            (FlagKey::Partial, Self::Trace(trace)) => trace.is_partial(),
            (FlagKey::Partial, _) => has(|node| node.end.is_none()),
            (FlagKey::Inferred, Self::Trace(trace)) => {
                trace.unanswered_calls().next().is_some()
                    || trace.nodes().any(|node| node.kind == Kind::Inferred)
            }
            (FlagKey::Inferred, Self::Callee(..)) => true,
            (FlagKey::Inferred, _) => has(|node| node.kind == Kind::Inferred),
            (FlagKey::Remote, _) => has(|node| node.is_call()),
            (FlagKey::Root, Self::Trace(trace)) => trace.roots().next().is_some(),
            (FlagKey::Root, Self::Segment(..)) => has(|node| node.parent_id.is_none()),
            (FlagKey::Root | FlagKey::First | FlagKey::Last, _) => false,
        }
    }

    pub(super) fn number(self, key: NumberKey) -> Option<f64> {
        match (key, self) {
            (NumberKey::Index, Self::Element(element)) => Some(element.index as f64),
            (NumberKey::Coverage, Self::Element(element)) => element.coverage,
            (NumberKey::ResponseTime, Self::Trace(trace)) => Some(trace.response_time()),
            (NumberKey::Duration, Self::Trace(trace)) => Some(trace.duration()),
            (NumberKey::ResponseTime | NumberKey::Duration, _) => self.node()?.duration(),
            (NumberKey::Status, _) => {
                let status = self.served().into_iter().find_map(|node| node.status());
                status.map(|status| status as f64)
            }
            (NumberKey::Index | NumberKey::Coverage, _) => None,
        }
    }

    pub(super) fn texts(self, key: TextKey) -> Vec<String> {
        if let Self::Element(element) = self {
            return match key {
                TextKey::Name => vec![element.name.clone()],
                TextKey::Type => vec![element.kind.clone()],
                TextKey::Message => element.messages.clone(),
                _ => Vec::new(),
            };
        }
        let request = |member: &str| {
            let path = ["http", "request", member];
            let served = self.served().into_iter();
            let found = served.filter_map(|node| node.text(&path)).next();
            found.map(str::to_owned).into_iter().collect()
        };
        let anywhere = |path: &[&str]| {
            let nodes = self.nodes().into_iter();
            nodes
                .filter_map(|node| node.text(path))
                .map(str::to_owned)
                .collect()
        };
        match key {
            TextKey::Url => request("url"),
            TextKey::Method => request("method"),
            TextKey::UserAgent => request("user_agent"),
            TextKey::ClientIp => request("client_ip"),
            TextKey::User => anywhere(&["user"]),
            TextKey::AvailabilityZone => anywhere(&["aws", "ec2", "availability_zone"]),
            TextKey::InstanceId => anywhere(&["aws", "ec2", "instance_id"]),
            TextKey::ResourceArn => anywhere(&["resource_arn"]),
            TextKey::Name => self.name().into_iter().collect(),
            TextKey::Type => self.kind().into_iter().collect(),
            TextKey::Message => {
                let exceptions = self.nodes().into_iter().flat_map(|node| &node.exceptions);
                exceptions
                    .map(|exception: &Exception| exception.message.clone())
                    .collect()
            }
        }
    }

    fn name(self) -> Option<String> {
        match self {
            Self::Callee(_, call) => Some(Callee::of(call).name),
            other => other.node().map(|node| node.name.clone()),
        }
    }

    fn kind(self) -> Option<String> {
        match self {
            Self::Callee(_, call) => Some(Callee::of(call).kind),
            other => other.node()?.class().map(str::to_owned),
        }
    }

    /// Returns the values of an annotation.
    pub(super) fn annotations(self, key: &str) -> Vec<&'a serde_json::Value> {
        let nodes = self.nodes().into_iter();
        let value = |node: &'a Place| node.document.get("annotations")?.get(key);
        nodes.filter_map(value).collect()
    }

    /// Returns the trace in which the subject is, if there are others beside it.
    pub(super) fn trace(self) -> Option<&'a Trace> {
        match self {
            Self::Trace(trace)
            | Self::Segment(trace, _)
            | Self::Callee(trace, _)
            | Self::Call(trace, _) => Some(trace),
            Self::Element(_) => None,
        }
    }
}
