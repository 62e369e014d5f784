//! `tracestitch map`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use aws_sdk_xray::types::{Edge, EdgeStatistics, Service, ServiceStatistics};
use clap::Args;
use serde_json::{Value, json};
use tracestitch_traces::text::{milliseconds, printable};

use super::period::{Period, duration};
use super::source::{Source, readable};
use crate::error::Result;

/// Options of `tracestitch map`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  tracestitch map
  tracestitch map --aws --last 1h --json

Exit code: 0 if a service was found, 1 if none was, 2 after an error.")]
pub struct MapOptions {
    /// The period until now
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30m")]
    last: Duration,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

/// Counts of calls.
struct Counts {
    ok: i64,
    error: i64,
    throttle: i64,
    fault: i64,
    total: i64,
    time: f64,
}

impl MapOptions {
    /// Writes the services and their connections; returns whether there was one.
    ///
    /// # Errors
    ///
    /// Fails if the source does not answer.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let reader = self.source.open().await?;
        let period = Period::new(self.last, Duration::ZERO);
        let request = reader.0.get_service_graph();
        let request = request.start_time(period.start).end_time(period.end);
        let mut pages = request.into_paginator().send();
        let mut services: Vec<Service> = Vec::new();
        while let Some(page) = pages.next().await {
            services.extend(page.map_err(readable)?.services.unwrap_or_default());
        }
        if self.json {
            let services: Vec<Value> = services.iter().map(object).collect();
            writeln!(out, "{}", json!({"version": 1, "services": services}))?;
        } else {
            write(out, &services)?;
        }
        Ok(!services.is_empty())
    }
}

fn write(out: &mut impl Write, services: &[Service]) -> Result<()> {
    let title = |service: &Service| {
        let name = printable(service.name().unwrap_or("unknown"));
        format!(
            "{name} [{}]",
            printable(service.r#type().unwrap_or("service"))
        )
    };
    let titles = services
        .iter()
        .map(|service| (service.reference_id(), title(service)));
    let titles: BTreeMap<_, _> = titles.collect();
    for service in services {
        let counts = service.summary_statistics().map(of_service);
        writeln!(out, "{}{}", title(service), text(counts))?;
        for edge in service.edges() {
            let to = titles
                .get(&edge.reference_id())
                .map_or("unknown", String::as_str);
            writeln!(
                out,
                "  -> {to}{}",
                text(edge.summary_statistics().map(of_edge))
            )?;
        }
    }
    Ok(())
}

fn text(counts: Option<Counts>) -> String {
    let Some(counts) = counts.filter(|counts| counts.total > 0) else {
        return String::new();
    };
    let mean = milliseconds(counts.time / counts.total as f64);
    let mut text = format!("  {} calls  mean {mean}", counts.total);
    for (word, count) in [
        ("errors", counts.error),
        ("throttles", counts.throttle),
        ("faults", counts.fault),
    ] {
        if count > 0 {
            text.push_str(&format!("  {count} {word}"));
        }
    }
    text
}

/// Defines a function that reads the counts of one of the two types of statistics, which have the same
/// members.
macro_rules! counts_of {
    ($name:ident, $statistics:ty) => {
        fn $name(statistics: &$statistics) -> Counts {
            let errors = statistics.error_statistics();
            Counts {
                ok: statistics.ok_count().unwrap_or_default(),
                error: errors.and_then(|it| it.other_count()).unwrap_or_default(),
                throttle: errors
                    .and_then(|it| it.throttle_count())
                    .unwrap_or_default(),
                fault: statistics
                    .fault_statistics()
                    .and_then(|it| it.total_count())
                    .unwrap_or_default(),
                total: statistics.total_count().unwrap_or_default(),
                time: statistics.total_response_time().unwrap_or_default(),
            }
        }
    };
}

counts_of!(of_service, ServiceStatistics);
counts_of!(of_edge, EdgeStatistics);

fn statistics(counts: Option<Counts>) -> Value {
    counts.map_or(Value::Null, |counts| {
        json!({"ok": counts.ok, "error": counts.error, "throttle": counts.throttle,
            "fault": counts.fault, "total": counts.total, "time": counts.time})
    })
}

fn object(service: &Service) -> Value {
    let edge = |edge: &Edge| {
        json!({"to": edge.reference_id(),
            "statistics": statistics(edge.summary_statistics().map(of_edge))})
    };
    json!({
        "id": service.reference_id(),
        "name": service.name(),
        "type": service.r#type(),
        "account": service.account_id(),
        "root": service.root().unwrap_or_default(),
        "statistics": statistics(service.summary_statistics().map(of_service)),
        "edges": service.edges().iter().map(edge).collect::<Vec<_>>(),
    })
}
