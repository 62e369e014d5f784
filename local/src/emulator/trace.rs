//! Lambda's own part of tracing: the header that the runtime gets, and the two segments of service
//! and function.
//!
//! Source: Lambda developer guide, "Visualize Lambda function invocations using AWS X-Ray".

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::SystemTime,
};

use serde_json::{Value, json};
use tokio::net::UdpSocket;
use tracestitch_wire::{
    datagram,
    document::Name,
    header::{Sampling, TraceHeader},
    id::{SegmentId, TraceId},
    time::Timestamp,
};

use super::{
    function::{Function, Tracing},
    invocation::InvocationResult,
    sandbox::Init,
};

/// The trace of one invocation.
#[derive(Debug)]
pub(super) struct Trace {
    /// The runtime's header, `Lambda-Runtime-Trace-Id`.
    pub(super) for_runtime: Option<String>,
    /// The caller's header, which extensions get with INVOKE.
    pub(super) for_extensions: Option<String>,
    /// Set when Lambda's own segments are recorded.
    recorded: Option<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    root: TraceId,
    caller: Option<SegmentId>,
    service: SegmentId,
    function: SegmentId,
}

/// The times of an invocation's parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) received: SystemTime,
    pub(super) init: Option<Init>,
    /// The time at which the runtime got the invocation; `None` if it never did.
    pub(super) dispatched: Option<SystemTime>,
    /// The time of the result.
    pub(super) answered: SystemTime,
    /// The end of Lambda's own work.
    pub(super) ended: SystemTime,
}

impl From<SystemTime> for Times {
    /// Returns the times of an invocation that has just been received.
    fn from(received: SystemTime) -> Self {
        Self {
            received,
            init: None,
            dispatched: None,
            answered: received,
            ended: received,
        }
    }
}

impl Trace {
    /// Decides which headers an invocation gets, and whether it is recorded.
    pub(super) fn begin(function: &Function, incoming: Option<String>) -> Self {
        if function.tracing == Tracing::PassThrough {
            return Self {
                for_runtime: incoming.clone(),
                for_extensions: incoming,
                recorded: None,
            };
        }
        // An unreadable header counts as absent.
        let header = incoming.as_deref().and_then(|text| text.parse().ok());
        let known = header.is_some();
        let mut header: TraceHeader = header.unwrap_or_else(|| {
            let root = TraceId::new(Timestamp::from(SystemTime::now()));
            TraceHeader::new(root, None, Sampling::Undecided)
        });
        if !matches!(header.sampling, Sampling::Sampled | Sampling::NotSampled) {
            header.sampling = match function.sample_undecided {
                true => Sampling::Sampled,
                false => Sampling::NotSampled,
            };
        }
        let segment = SegmentId::new();
        let recorded = (header.sampling == Sampling::Sampled).then(|| Recorded {
            root: header.root,
            caller: header.parent,
            service: SegmentId::new(),
            function: segment,
        });
        let mut for_runtime =
            TraceHeader::new(header.root, Some(segment), header.sampling).to_string();
        let lineage = |field: &&str| field.to_ascii_lowercase().starts_with("lineage=");
        if let Some(lineage) = header.others().split(';').find(lineage) {
            for_runtime.extend([";", lineage]);
        }
        let for_extensions = if known {
            incoming
        } else {
            Some(header.to_string())
        };
        Self {
            for_runtime: Some(for_runtime),
            for_extensions,
            recorded,
        }
    }

    /// Sends Lambda's segments to the daemon, if the trace is recorded and there is a daemon.
    pub(super) async fn record(
        &self,
        function: &Function,
        request_id: &str,
        times: Times,
        result: &InvocationResult,
        cause: Option<&Value>,
    ) -> io::Result<()> {
        let (Some(recorded), Some(daemon)) = (&self.recorded, function.daemon) else {
            return Ok(());
        };
        let any: SocketAddr = match daemon {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        for segment in recorded.segments(function, request_id, times, result, cause) {
            for document in datagram::fit(segment.to_string().into()).documents {
                socket.send_to(&datagram::encode(&document), daemon).await?;
            }
        }
        Ok(())
    }
}

impl Recorded {
    /// Returns the segments of the service and of the function.
    fn segments(
        &self,
        function: &Function,
        request_id: &str,
        times: Times,
        result: &InvocationResult,
        cause: Option<&Value>,
    ) -> [Value; 2] {
        let failed = !matches!(result, InvocationResult::Response(_));
        let Times {
            received,
            init,
            dispatched,
            answered,
            ended,
        } = times;
        let name = Name::from(function.name.clone());
        let arn = function.arn();
        let block = |name: &str, began: SystemTime, ended: SystemTime, failed: bool| {
            let mut block = json!({
                "name": name,
                "id": SegmentId::new(),
                "start_time": Timestamp::from(began),
                "end_time": Timestamp::from(ended.max(began)),
            });
            mark(&mut block, failed);
            block
        };

        let mut service = block(name.as_str(), received, answered, failed);
        put(&mut service, "id", json!(self.service));
        put(&mut service, "trace_id", json!(self.root));
        if let Some(caller) = self.caller {
            put(&mut service, "parent_id", json!(caller));
        }
        put(&mut service, "origin", json!("AWS::Lambda"));
        put(&mut service, "resource_arn", json!(arn));
        put(
            &mut service,
            "http",
            json!({ "response": { "status": 200 } }),
        );
        put(&mut service, "aws", json!({ "request_id": request_id }));

        let began = init
            .map(|init| init.began)
            .or(dispatched)
            .unwrap_or(received);
        let mut parts = Vec::new();
        if let Some(init) = init {
            let failed = dispatched.is_none();
            parts.push(block(
                "Initialization",
                init.began,
                init.began + init.took,
                failed,
            ));
        }
        if let Some(dispatched) = dispatched {
            parts.push(block("Invocation", dispatched, answered, failed));
            if ended > answered {
                parts.push(block("Overhead", answered, ended, false));
            }
        }
        let mut invoked = block(name.as_str(), began, ended, failed);
        put(&mut invoked, "id", json!(self.function));
        put(&mut invoked, "trace_id", json!(self.root));
        put(&mut invoked, "parent_id", json!(self.service));
        put(&mut invoked, "origin", json!("AWS::Lambda::Function"));
        let aws = json!({
            "account_id": function.account,
            "function_arn": arn,
            "request_id": request_id,
            "resource_names": [function.name],
        });
        put(&mut invoked, "aws", aws);
        if let Some(cause) = cause {
            put(&mut invoked, "cause", cause.clone());
        }
        put(&mut invoked, "subsegments", Value::Array(parts));
        [service, invoked]
    }
}

fn mark(block: &mut Value, failed: bool) {
    if failed {
        put(block, "fault", json!(true));
    }
}

fn put(block: &mut Value, key: &str, value: Value) {
    block[key] = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";

    /// Returns the header for the runtime, with new ids replaced by `NEW`.
    fn runtime_header(function: &Function, incoming: Option<&str>) -> Option<String> {
        let trace = Trace::begin(function, incoming.map(str::to_owned));
        let mut header = trace.for_runtime?;
        let read: TraceHeader = header.parse().ok()?;
        let parent = read.parent.map(|id| id.to_string()).unwrap_or_default();
        if !incoming.unwrap_or_default().contains(&parent) {
            header = header.replace(&parent, "NEW");
        }
        Some(header.replace(
            &read.root.to_string(),
            if incoming.is_some_and(|text| text.contains(ROOT)) {
                "R"
            } else {
                "NEW"
            },
        ))
    }

    #[test]
    fn runtime_header_follows_mode_and_caller() {
        let passing = Function::new("f", "/f");
        let active = passing.clone().tracing(Tracing::Active);
        let frugal = active.clone().sample_undecided(false);
        for (function, incoming, expected, reason) in [
            (&passing, None, None, "nothing to pass through"),
            (&passing, Some("Root=R"), Some("Root=R"), "unchanged"),
            (
                &passing,
                Some("Root=R;Sampled=?;x=1"),
                Some("Root=R;Sampled=?;x=1"),
                "unchanged",
            ),
            (
                &active,
                None,
                Some("Root=NEW;Parent=NEW;Sampled=1"),
                "a new trace",
            ),
            (
                &frugal,
                None,
                Some("Root=NEW;Parent=NEW;Sampled=0"),
                "a new trace, not recorded",
            ),
            (
                &active,
                Some("garbage"),
                Some("Root=NEW;Parent=NEW;Sampled=1"),
                "unreadable",
            ),
            (
                &active,
                Some("Root=R;Parent=53995c3f42cd8ad8;Sampled=1"),
                Some("Root=R;Parent=NEW;Sampled=1"),
                "Parent is the function",
            ),
            (
                &active,
                Some("Root=R;Parent=53995c3f42cd8ad8;Sampled=0"),
                Some("Root=R;Parent=NEW;Sampled=0"),
                "the decision stays",
            ),
            (
                &active,
                Some("Root=R"),
                Some("Root=R;Parent=NEW;Sampled=1"),
                "undecided",
            ),
            (
                &frugal,
                Some("Root=R;Sampled=?"),
                Some("Root=R;Parent=NEW;Sampled=0"),
                "asked to decide",
            ),
            (
                &active,
                Some("Root=R;Sampled=1;x=1;Lineage=a:1|b:2"),
                Some("Root=R;Parent=NEW;Sampled=1;Lineage=a:1|b:2"),
                "of other fields only Lineage stays",
            ),
        ] {
            let incoming = incoming.map(|text| text.replace("Root=R", &format!("Root={ROOT}")));
            let found = runtime_header(function, incoming.as_deref());
            assert_eq!(found.as_deref(), expected, "{reason}");
        }
    }

    #[test]
    fn extensions_get_the_callers_header() {
        let active = Function::new("f", "/f").tracing(Tracing::Active);
        let incoming = format!("Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;x=1");
        let trace = Trace::begin(&active, Some(incoming.clone()));
        assert_eq!(trace.for_extensions, Some(incoming));
    }
}
