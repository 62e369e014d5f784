//! `GetServiceGraph`, `GetTraceGraph` and `GetTimeSeriesServiceStatistics`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Period;
use super::context::Context;
use super::error::ApiError;
use super::groups;
use super::search::Search;
use crate::filter::{self, Expression, Target};
use crate::graph::{Builder, Edge, Graph, Histogram, Service, Statistics};
use crate::model::Trace;
use crate::store::{Clock, Store, normal_trace_id};

/// Largest number of traces that one graph contains, the newest ones.
const TRACES: usize = 10_000;
/// Seconds of one entry of a series, unless the request names them.
const PERIOD: i64 = 60;
/// The last second of the year 9999. Clients translate times into calendars that end there.
const LATEST: f64 = 253_402_300_799.0;

#[derive(Debug, Deserialize)]
pub(super) struct Selection {
    #[serde(flatten)]
    period: Period,
    #[serde(rename = "GroupName")]
    group_name: Option<String>,
    #[serde(rename = "GroupARN")]
    group_arn: Option<String>,
}

impl Selection {
    /// Calls `each` with every trace of the period and the group.
    fn walk(&self, store: &Store, mut each: impl FnMut(&Trace)) -> Result<(), ApiError> {
        let (name, arn) = (self.group_name.as_deref(), self.group_arn.as_deref());
        let filter = match name.or(arn) {
            None => None,
            Some(_) => Some(groups::filter_of(store, groups::name(name, arn)?)?),
        };
        let mut search = Search::new(Clock::Start, self.period, filter)?;
        while search.tested() < TRACES
            && let Some(step) = search.next(store)?
        {
            let Some(found) = step.found else { continue };
            if let Some(tree) = found.tree(store)? {
                each(&tree);
            }
        }
        Ok(())
    }
}

/// Returns the graph of the traces of a period.
pub(super) fn get_service_graph(
    Context { store, .. }: &Context,
    request: Selection,
) -> Result<Value, ApiError> {
    let mut builder = Builder::default();
    request.walk(store, |trace| builder.add(trace))?;
    Ok(json!({
        "StartTime": time(request.period.start_time),
        "EndTime": time(request.period.end_time),
        "Services": services(&builder.finish()),
        "ContainsOldGroupVersions": false,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetTraceGraph {
    trace_ids: Vec<String>,
}

/// Returns the graph of the named traces.
pub(super) fn get_trace_graph(
    Context { store, .. }: &Context,
    request: GetTraceGraph,
) -> Result<Value, ApiError> {
    let mut builder = Builder::default();
    for id in request.trace_ids.iter().take(TRACES) {
        let Some(normal) = normal_trace_id(id) else {
            let short: String = id.chars().take(40).collect();
            return Err(ApiError::invalid(format!(
                "{short:?} is not the form of a trace id"
            )));
        };
        if let Some((row, documents)) = store.trace(&normal)? {
            builder.add(&Trace::build(row.id, &documents));
        }
    }
    Ok(json!({ "Services": services(&builder.finish()) }))
}

#[derive(Debug, Deserialize)]
pub(super) struct GetTimeSeries {
    #[serde(flatten)]
    selection: Selection,
    #[serde(rename = "EntitySelectorExpression")]
    selector: Option<String>,
    #[serde(rename = "Period")]
    seconds: Option<i64>,
}

/// The part of a graph whose statistics a series contains.
#[derive(Debug)]
enum Selector {
    Edges(Target, Target),
    Services(Target),
}

impl Selector {
    fn read(text: Option<&str>) -> Result<Self, ApiError> {
        let Some(text) = text else {
            // "If no selector expression is specified, edge statistics are returned."
            return Ok(Self::Edges(Target::default(), Target::default()));
        };
        let invalid = |reason: String| {
            ApiError::invalid(format!("EntitySelectorExpression is invalid: {reason}"))
        };
        match filter::parse(text).map_err(|error| invalid(error.to_string()))? {
            Expression::Service(target, None) => Ok(Self::Services(target)),
            Expression::Edge(from, to, None) => Ok(Self::Edges(from, to)),
            _ => Err(invalid(
                "expected service(..) or edge(.., ..) without a filter".to_owned(),
            )),
        }
    }
}

/// Returns the statistics of a period in equal parts; parts without traces are left out.
pub(super) fn get_time_series(
    Context { store, .. }: &Context,
    request: GetTimeSeries,
) -> Result<Value, ApiError> {
    let selector = Selector::read(request.selector.as_deref())?;
    let seconds = request.seconds.unwrap_or(PERIOD);
    if !(1..=86_400).contains(&seconds) {
        return Err(ApiError::invalid(format!(
            "Period is {seconds}, expected 1 to 86400 seconds"
        )));
    }
    let mut parts: BTreeMap<i64, Builder> = BTreeMap::new();
    request.selection.walk(store, |trace| {
        // Times are between 1970 and the year 9999 here.
        let part = time(trace.start()) as i64 / seconds;
        parts.entry(part).or_default().add(trace);
    })?;
    let series: Vec<Value> = parts
        .into_iter()
        .map(|(part, builder)| entry(part * seconds, &builder.finish(), &selector))
        .collect();
    Ok(json!({ "TimeSeriesServiceStatistics": series, "ContainsOldGroupVersions": false }))
}

fn entry(at: i64, graph: &Graph, selector: &Selector) -> Value {
    let mut sum = Sum::default();
    let member = match selector {
        Selector::Services(target) => {
            for service in graph
                .services
                .iter()
                .filter(|service| fits(target, service))
            {
                sum.add(&service.statistics, &service.durations);
            }
            "ServiceSummaryStatistics"
        }
        Selector::Edges(from, to) => {
            let is_selected = |edge: &&Edge| {
                fits(from, &graph.services[edge.from]) && fits(to, &graph.services[edge.to])
            };
            for edge in graph.edges.iter().filter(is_selected) {
                sum.add(&edge.statistics, &edge.response_times);
            }
            "EdgeSummaryStatistics"
        }
    };
    json!({
        "Timestamp": at,
        member: statistics(&sum.statistics),
        "ResponseTimeHistogram": sum.histogram(),
    })
}

fn fits(target: &Target, service: &Service) -> bool {
    let is = |wanted: &Option<String>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    is(&target.name, Some(&service.name))
        && is(&target.kind, Some(&service.kind))
        && is(&target.account, service.account.as_deref())
}

/// The sum of several statistics.
#[derive(Debug, Default)]
struct Sum {
    statistics: Statistics,
    /// Counts by time in microseconds.
    times: BTreeMap<u64, u64>,
}

impl Sum {
    fn add(&mut self, other: &Statistics, times: &Histogram) {
        let sum = &mut self.statistics;
        sum.ok += other.ok;
        sum.error += other.error;
        sum.throttle += other.throttle;
        sum.fault += other.fault;
        sum.total += other.total;
        sum.time += other.time;
        for bucket in times.buckets() {
            *self.times.entry((bucket.value * 1e6) as u64).or_default() += bucket.count;
        }
    }

    fn histogram(&self) -> Value {
        let entry =
            |(time, count): (&u64, &u64)| json!({ "Value": *time as f64 / 1e6, "Count": count });
        self.times.iter().map(entry).collect()
    }
}

fn services(graph: &Graph) -> Value {
    let mut edges: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for edge in &graph.edges {
        edges.entry(edge.from).or_default().push(json!({
            "ReferenceId": edge.to,
            "StartTime": time(edge.start),
            "EndTime": time(edge.end),
            "SummaryStatistics": statistics(&edge.statistics),
            "ResponseTimeHistogram": histogram(&edge.response_times),
            "ReceivedEventAgeHistogram": histogram(&edge.queue_times),
            "Aliases": [],
        }));
    }
    let service = |(index, service): (usize, &Service)| {
        let mut value = json!({
            "ReferenceId": index,
            "Name": service.name,
            "Names": [service.name],
            "Root": service.is_root,
            "State": if service.is_partial { "unknown" } else { "active" },
            "StartTime": time(service.start),
            "EndTime": time(service.end),
            "Edges": edges.remove(&index).unwrap_or_default(),
            "SummaryStatistics": statistics(&service.statistics),
            "DurationHistogram": histogram(&service.durations),
            "ResponseTimeHistogram": histogram(&service.durations),
        });
        if !service.kind.is_empty() {
            value["Type"] = service.kind.clone().into();
        }
        if let Some(account) = &service.account {
            value["AccountId"] = account.clone().into();
        }
        value
    };
    graph.services.iter().enumerate().map(service).collect()
}

fn statistics(statistics: &Statistics) -> Value {
    json!({
        "OkCount": statistics.ok,
        "ErrorStatistics": {
            "ThrottleCount": statistics.throttle,
            "OtherCount": statistics.error,
            "TotalCount": statistics.throttle + statistics.error,
        },
        "FaultStatistics": { "OtherCount": statistics.fault, "TotalCount": statistics.fault },
        "TotalCount": statistics.total,
        "TotalResponseTime": statistics.time,
    })
}

fn histogram(histogram: &Histogram) -> Value {
    let entry =
        |bucket: &crate::graph::Bucket| json!({ "Value": bucket.value, "Count": bucket.count });
    histogram.buckets().iter().map(entry).collect()
}

fn time(seconds: f64) -> f64 {
    seconds.clamp(0.0, LATEST)
}
