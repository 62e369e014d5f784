//! `tracestitch follow`.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tracestitch_traces::model::Trace;
use tracestitch_traces::story::{Story, linked, story};

use super::period::{Period, duration};
use super::source::{Reader, Source};
use crate::error::Result;

/// Largest number of traces of one story. A batch of SQS has 10,000 messages at most.
const TRACES: usize = 200;
/// Largest number of stories.
const STORIES: usize = 20;

/// Options of `tracestitch follow`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  tracestitch follow 'annotation.order_id = \"A-1003\"'
  tracestitch follow --aws --last 6h 'user = \"alice\" AND service() { fault }'

Exit code: 0 if a request was found, 1 if none was, 2 after an error.")]
pub struct FollowOptions {
    /// An X-Ray filter expression that matches a trace of the request
    #[arg(value_name = "EXPR")]
    filter: String,
    /// The period until now
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "6h")]
    last: Duration,
    /// Writes JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

impl FollowOptions {
    /// Writes the story of each request that matches; returns whether there was one.
    ///
    /// # Errors
    ///
    /// Fails if the source does not answer or refuses the filter expression.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let reader = self.source.open().await?;
        let period = Period::new(self.last, Duration::ZERO);
        let found = reader.summaries(period, Some(&self.filter)).await?;
        let mut seeds: Vec<String> = found.into_iter().filter_map(|summary| summary.id).collect();
        // The oldest trace is the request; later ones are often its invocations.
        seeds.reverse();
        let mut written: BTreeSet<String> = BTreeSet::new();
        let mut stories: Vec<Story> = Vec::new();
        let mut omitted = 0;
        for seed in seeds {
            if written.contains(&seed) {
                continue;
            }
            if stories.len() == STORIES {
                omitted += 1;
                continue;
            }
            let traces = gather(&reader, &seed).await?;
            written.extend(traces.iter().map(|trace| trace.id.clone()));
            stories.push(story(&traces));
        }
        if self.json {
            let stories = json!({"version": 1, "stories": stories, "omitted": omitted});
            writeln!(out, "{stories}")?;
            return Ok(!written.is_empty());
        }
        for (index, story) in stories.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(out, "{gap}{story}")?;
        }
        if omitted > 0 {
            writeln!(
                out,
                "\n{omitted} more traces match; narrow the filter expression or --last"
            )?;
        }
        Ok(!written.is_empty())
    }
}

/// Returns a trace and the traces that belong to its story. An invocation's other messages are
/// other stories, unless the invocation itself is asked for.
pub(super) async fn gather(reader: &Reader, seed: &str) -> Result<Vec<Trace>> {
    let mut found = reader.traces(&[seed.to_owned()]).await?;
    let mut known = BTreeSet::from([seed.to_owned()]);
    let of_seed = found.iter().map(linked);
    let messages: BTreeSet<String> = of_seed.flat_map(|linked| linked.messages).collect();
    found.extend(fetch(reader, &mut known, messages).await?);
    let invocations = found.iter().map(linked);
    let invocations = invocations.flat_map(|linked| linked.invocations).collect();
    found.extend(fetch(reader, &mut known, invocations).await?);
    Ok(found)
}

async fn fetch(
    reader: &Reader,
    known: &mut BTreeSet<String>,
    ids: BTreeSet<String>,
) -> Result<Vec<Trace>> {
    let room = TRACES.saturating_sub(known.len());
    let new: Vec<String> = ids.difference(known).take(room).cloned().collect();
    known.extend(new.iter().cloned());
    reader.traces(&new).await
}
