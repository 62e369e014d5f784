//! `tracestitch stats`.

use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tracestitch_traces::stats::{By, Table, compare, table};

use super::period::{Period, duration};
use super::source::{Reader, Source};
use crate::error::Result;

/// Options of `tracestitch stats`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  tracestitch stats --last 1h
  tracestitch stats --by annotation.client --filter 'service(\"order-api\")'
  tracestitch stats --against-ago 1d
  tracestitch stats --filter 'annotation.version = \"2\"' --against 'annotation.version = \"1\"'

Exit code: 0 if a trace was found, 1 if none was, 2 after an error.")]
pub struct StatsOptions {
    /// An X-Ray filter expression
    #[arg(long, value_name = "EXPR")]
    filter: Option<String>,
    /// The groups: name (of subsegments), service, or annotation.KEY
    #[arg(long, value_name = "GROUP", value_parser = by, default_value = "name")]
    by: By,
    /// The period until now
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30m")]
    last: Duration,
    /// Shows what differs from the traces that match this filter expression
    #[arg(long, value_name = "EXPR")]
    against: Option<String>,
    /// Shows what differs from the period that ended so long ago
    #[arg(long, value_name = "TIME", value_parser = duration)]
    against_ago: Option<Duration>,
    /// Largest number of traces, the newest first
    #[arg(long, value_name = "N", default_value = "1000")]
    limit: usize,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

fn by(text: &str) -> std::result::Result<By, String> {
    let key = text
        .strip_prefix("annotation.")
        .filter(|key| !key.is_empty());
    match (text, key) {
        ("name", _) => Ok(By::Name),
        ("service", _) => Ok(By::Service),
        (_, Some(key)) => Ok(By::Annotation(key.to_owned())),
        _ => Err("expected name, service or annotation.KEY".to_owned()),
    }
}

impl StatsOptions {
    /// Writes a table, and what changed; returns whether there was a trace.
    ///
    /// # Errors
    ///
    /// Fails if the source does not answer or refuses a filter expression.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let reader = self.source.open().await?;
        let after = self
            .table(&reader, Duration::ZERO, self.filter.as_deref())
            .await?;
        let changes = match (&self.against, self.against_ago) {
            (None, None) => None,
            (filter, ago) => {
                let filter = filter.as_deref().or(self.filter.as_deref());
                let ago = ago.unwrap_or_default();
                let before = self.table(&reader, ago, filter).await?;
                Some((before.traces, compare(&before, &after)))
            }
        };
        if self.json {
            let changes = changes
                .as_ref()
                .map(|(traces, changes)| json!({"traces": traces, "changes": changes}));
            let all = json!({"version": 1, "table": after, "against": changes});
            writeln!(out, "{all}")?;
            return Ok(after.traces > 0);
        }
        write!(out, "{after}")?;
        if let Some((traces, changes)) = changes {
            writeln!(out, "\nagainst {traces} traces:")?;
            if changes.is_empty() {
                writeln!(out, "nothing changed")?;
            }
            for change in changes {
                write!(out, "{change}")?;
            }
        }
        Ok(after.traces > 0)
    }

    async fn table(&self, reader: &Reader, ago: Duration, filter: Option<&str>) -> Result<Table> {
        let summaries = reader
            .summaries(Period::new(self.last, ago), filter)
            .await?;
        let ids = summaries.into_iter().filter_map(|summary| summary.id);
        let ids: Vec<String> = ids.take(self.limit).collect();
        Ok(table(&reader.traces(&ids).await?, self.by.clone()))
    }
}
