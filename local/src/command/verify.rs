//! `tracestitch verify`.

mod hops;

use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tracestitch_traces::model::Trace;
use tracestitch_traces::text::printable;

use super::follow::gather;
use super::period::duration;
use super::source::{Reader, Source};
use crate::error::Result;
use hops::{Hop, hops};

/// Time between two looks at a trace that is not complete yet.
const INTERVAL: Duration = Duration::from_secs(1);

/// Options of `tracestitch verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Example, for a deployed function behind HTTP:
  ID=1-$(printf %08x $(date +%s))-$(openssl rand -hex 12)
  curl -H \"X-Amzn-Trace-Id: Root=$ID;Sampled=1\" https://.../orders -d '{..}'
  tracestitch verify --aws --trace $ID

Exit code: 0 if the chain is complete, 1 if a hop is missing, 2 after an error.")]
pub struct VerifyOptions {
    /// The id of a trace that should be complete
    #[arg(long, value_name = "ID")]
    trace: String,
    /// Time for the trace to arrive
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    wait: Duration,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

impl VerifyOptions {
    /// Waits until a chain is complete, and writes each hop with the setting to check; returns
    /// whether all are there.
    ///
    /// # Errors
    ///
    /// Fails if the source does not answer.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let reader = self.source.open().await?;
        let found = self.wait_for(&reader).await?;
        let complete = found.iter().all(|hop| hop.missing.is_none());
        if self.json {
            let all = json!({"version": 1, "complete": complete, "hops": found});
            writeln!(out, "{all}")?;
            return Ok(complete);
        }
        for hop in &found {
            let name = printable(&hop.name);
            match &hop.missing {
                None => writeln!(out, "ok       {name}")?,
                Some(setting) => writeln!(out, "missing  {name}: {}", printable(setting))?,
            }
        }
        Ok(complete)
    }

    async fn wait_for(&self, reader: &Reader) -> Result<Vec<Hop>> {
        let begun = Instant::now();
        loop {
            let traces: Vec<Trace> = gather(reader, &self.trace).await?;
            let found = hops(&self.trace, &traces);
            let complete = found.iter().all(|hop| hop.missing.is_none());
            if complete || begun.elapsed() >= self.wait {
                return Ok(found);
            }
            tokio::time::sleep(INTERVAL.min(self.wait)).await;
        }
    }
}
