//! Root causes: the way from a trace's root to the work that failed or took the time.
//!
//! X-Ray computes them for its summaries and does not publish how. Here the way of a failure
//! follows the first child with the same flag, and the way of a response time the longest child,
//! each as far as it leads.

use super::callee::Callee;
use super::node::{Exception, Kind};
use super::trace::{Place, Trace};

/// Smallest share of a child in the time of the root segment, for the way of a response time.
const SHARE: f64 = 0.5;

/// A kind of root cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A fault (5xx).
    Fault,
    /// An error (4xx).
    Error,
    /// The response time.
    ResponseTime,
}

/// A service on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct CauseService {
    /// The name.
    pub name: String,
    /// The type, such as `AWS::Lambda::Function`; empty if unknown.
    pub kind: String,
    /// True if the service sent no segment.
    pub is_inferred: bool,
    /// True for the service of the root segment.
    pub is_root: bool,
    /// The segment and its subsegments on the way.
    pub entities: Vec<CauseEntity>,
}

/// A segment or subsegment on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct CauseEntity {
    /// The name.
    pub name: String,
    /// True for a call of another service.
    pub is_remote: bool,
    /// The share of the time of the root segment.
    pub coverage: f64,
    /// The recorded errors.
    pub exceptions: Vec<Exception>,
}

/// Returns the services from the root to the cause; `None` if the root has no such outcome.
#[must_use]
pub fn root_cause(trace: &Trace, cause: Cause) -> Option<Vec<CauseService>> {
    let root = trace.roots().next().or_else(|| trace.orphans().next())?;
    let whole = root.duration().unwrap_or_else(|| trace.duration());
    let share = |node: &Place| {
        let duration = node.duration().unwrap_or_default();
        if whole > 0.0 { duration / whole } else { 0.0 }
    };
    let next = |node: &Place| match cause {
        Cause::Fault => trace.children(node).find(|child| child.fault),
        Cause::Error => trace.children(node).find(|child| child.error),
        Cause::ResponseTime => trace
            .children(node)
            .filter(|child| share(child) >= SHARE)
            .max_by(|a, b| share(a).total_cmp(&share(b))),
    };
    let has = match cause {
        Cause::Fault => root.fault,
        Cause::Error => root.error,
        Cause::ResponseTime => root.end.is_some(),
    };
    if !has {
        return None;
    }
    let mut services: Vec<CauseService> = Vec::new();
    let mut at = Some(root);
    while let Some(node) = at {
        at = next(node);
        let entity = CauseEntity {
            name: node.name.clone(),
            is_remote: node.is_call(),
            coverage: share(node),
            exceptions: node.exceptions.clone(),
        };
        match services.last_mut() {
            Some(service) if node.kind == Kind::Subsegment => service.entities.push(entity),
            _ => services.push(CauseService {
                name: node.name.clone(),
                kind: node.origin().unwrap_or_default().to_owned(),
                is_inferred: node.kind == Kind::Inferred,
                is_root: node.parent_id.is_none(),
                entities: vec![entity],
            }),
        }
        if at.is_none() && node.is_call() {
            let callee = Callee::of(node);
            services.push(CauseService {
                name: callee.name,
                kind: callee.kind,
                is_inferred: true,
                is_root: false,
                entities: Vec::new(),
            });
        }
    }
    Some(services)
}
