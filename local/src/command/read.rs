//! `tracestitch traces` and `tracestitch trace`.

use std::io::Write;
use std::time::Duration;

use aws_sdk_xray::types::{AnnotationValue, TraceSummary};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tracestitch_traces::text::{milliseconds, printable, time};

use super::period::{Period, duration};
use super::source::Source;
use crate::error::Result;

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// Newest first
    Time,
    /// Longest first
    Duration,
}

/// Options of `tracestitch traces`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  tracestitch traces --last 1h
  tracestitch traces --filter 'service(\"order-worker\") { fault }'
  tracestitch traces --filter 'annotation.order_id = \"A-1003\"' --json
  tracestitch traces --aws --last 6h --sort duration

Exit code: 0 if a trace was found, 1 if none was, 2 after an error.")]
pub struct TracesOptions {
    /// An X-Ray filter expression
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// The period until now
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30m")]
    last: Duration,
    /// The order
    #[arg(long, value_enum, default_value = "time")]
    sort: Sort,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

impl TracesOptions {
    /// Writes the traces of a period; returns whether there was one.
    ///
    /// # Errors
    ///
    /// Fails if the source does not answer or refuses the filter expression.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let reader = self.source.open().await?;
        let period = Period::new(self.last, Duration::ZERO);
        let mut found = reader.summaries(period, self.filter.as_deref()).await?;
        if self.sort == Sort::Duration {
            let seconds = |summary: &TraceSummary| summary.duration().unwrap_or_default();
            found.sort_by(|a, b| seconds(b).total_cmp(&seconds(a)));
        }
        if self.json {
            let traces: Vec<Value> = found.iter().map(object).collect();
            writeln!(out, "{}", json!({"version": 1, "traces": traces}))?;
        } else {
            for summary in &found {
                writeln!(out, "{}", line(summary))?;
            }
        }
        Ok(!found.is_empty())
    }
}

fn flags(summary: &TraceSummary) -> Vec<&'static str> {
    let flags = [
        (summary.has_fault(), "FAULT"),
        (summary.has_error(), "ERROR"),
        (summary.has_throttle(), "THROTTLE"),
        (summary.is_partial(), "PARTIAL"),
    ];
    let set = flags.into_iter().filter(|(is, _)| *is == Some(true));
    set.map(|(_, word)| word).collect()
}

fn line(summary: &TraceSummary) -> String {
    let start = summary.start_time().map_or(f64::NAN, |at| at.as_secs_f64());
    let mut parts = vec![
        summary.id().unwrap_or_default().to_owned(),
        time(start),
        milliseconds(summary.duration().unwrap_or_default()),
    ];
    let entry = summary.entry_point().and_then(|service| service.name());
    parts.extend(entry.map(printable));
    if let Some(http) = summary.http() {
        let status = http.http_status().map(|status| status.to_string());
        let words = [http.http_method(), http.http_url(), status.as_deref()];
        let words: Vec<_> = words.into_iter().flatten().map(printable).collect();
        parts.extend((!words.is_empty()).then(|| words.join(" ")));
    }
    parts.extend(flags(summary).into_iter().map(str::to_owned));
    let annotations = annotations(summary);
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let annotations = annotations.iter().flat_map(|(key, values)| {
        let values = values.as_array().into_iter().flatten();
        values.map(move |value| format!("{}={}", printable(key), printable(&text(value))))
    });
    parts.extend(annotations);
    parts.join("  ")
}

fn annotations(summary: &TraceSummary) -> Map<String, Value> {
    let value = |value: &AnnotationValue| match value {
        AnnotationValue::BooleanValue(flag) => Some(json!(flag)),
        AnnotationValue::NumberValue(number) => Some(json!(number)),
        AnnotationValue::StringValue(text) => Some(json!(text)),
        _ => None,
    };
    let annotations = summary.annotations().into_iter().flatten();
    let mut found: Vec<(String, Value)> = annotations
        .map(|(key, values)| {
            let values = values.iter().filter_map(|it| value(it.annotation_value()?));
            (key.clone(), values.collect())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().collect()
}

fn object(summary: &TraceSummary) -> Value {
    json!({
        "id": summary.id(),
        "start": summary.start_time().map(|at| at.as_secs_f64()),
        "duration": summary.duration(),
        "response_time": summary.response_time(),
        "fault": summary.has_fault().unwrap_or_default(),
        "error": summary.has_error().unwrap_or_default(),
        "throttle": summary.has_throttle().unwrap_or_default(),
        "partial": summary.is_partial().unwrap_or_default(),
        "entry": summary.entry_point().and_then(|service| service.name()),
        "method": summary.http().and_then(|http| http.http_method()),
        "url": summary.http().and_then(|http| http.http_url()),
        "status": summary.http().and_then(|http| http.http_status()),
        "annotations": annotations(summary),
        "users": summary.users().iter().filter_map(|user| user.user_name()).collect::<Vec<_>>(),
    })
}

/// Options of `tracestitch trace`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  tracestitch trace 1-581cf771-a006649127e371903a2de979
  tracestitch trace --aws --json 1-581cf771-a006649127e371903a2de979

Exit code: 0 if the trace was found, 1 if not, 2 after an error.")]
pub struct TraceOptions {
    /// The trace id
    #[arg(value_name = "ID")]
    id: String,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

impl TraceOptions {
    /// Writes one trace as a tree, with its defects; returns whether it was found.
    ///
    /// # Errors
    ///
    /// Fails if the source does not answer.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let reader = self.source.open().await?;
        let found = reader.traces(std::slice::from_ref(&self.id)).await?;
        let Some(trace) = found.first().filter(|trace| trace.nodes().next().is_some()) else {
            return Ok(false);
        };
        if self.json {
            writeln!(out, "{}", json!({"version": 1, "trace": trace}))?;
            return Ok(true);
        }
        write!(out, "{trace}")?;
        for finding in trace.findings() {
            writeln!(out, "finding: {}", printable(&finding.to_string()))?;
        }
        Ok(true)
    }
}
