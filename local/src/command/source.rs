//! The X-Ray API that a command reads: a local server, or AWS.

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_xray::Client;
use aws_sdk_xray::config::{Credentials, Region};
use aws_sdk_xray::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_xray::types::{Segment, TimeRangeType, TraceSummary};
use clap::Args;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tracestitch_traces::model::{Document, Trace};

use super::period::Period;
use crate::error::Result;

/// The address of `tracestitch serve`.
const LOCAL: &str = "127.0.0.1:2000";
/// Time for a local server to accept a connection.
const ANSWER: Duration = Duration::from_secs(1);
/// Largest number of ids in a BatchGetTraces request.
const BATCH: usize = 5;
/// Number of BatchGetTraces requests at the same time.
const AT_ONCE: usize = 8;

/// The options that select the source of traces.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Source {
    /// Reads from AWS, with your usual configuration (profile, region, credentials)
    #[arg(long, conflicts_with = "endpoint")]
    aws: bool,
    /// The URL of a local server [default: AWS_ENDPOINT_URL_XRAY, or http://127.0.0.1:2000]
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// A client of the X-Ray API.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Client);

impl Source {
    /// Connects to the source.
    pub(super) async fn open(&self) -> Result<Reader> {
        let given = self.endpoint.clone();
        let variable = || {
            env::var("AWS_ENDPOINT_URL_XRAY")
                .ok()
                .filter(|it| !it.is_empty())
        };
        let endpoint = if self.aws {
            None
        } else {
            given.or_else(variable)
        };
        let mut config = aws_config::defaults(BehaviorVersion::latest());
        if !self.aws {
            let url = match endpoint {
                Some(url) => url,
                None => local().await?,
            };
            // A local server checks no signature, and must not need a configuration.
            let credentials = Credentials::new("local", "local", None, None, "local");
            let region = Region::new("us-east-1");
            config = config
                .endpoint_url(url)
                .region(region)
                .credentials_provider(credentials);
        }
        Ok(Reader(Client::new(&config.load().await)))
    }
}

/// Returns the URL of the local server, if one answers.
async fn local() -> Result<String> {
    let address: SocketAddr = LOCAL.parse()?;
    let connected = tokio::time::timeout(ANSWER, TcpStream::connect(address)).await;
    match connected {
        Ok(Ok(_)) => Ok(format!("http://{LOCAL}")),
        _ => Err(format!(
            "no local server answers at {LOCAL}: start `tracestitch serve`, name another with \
             --endpoint URL, or read from AWS with --aws"
        )
        .into()),
    }
}

/// Returns the service's own words, if it answered.
pub(super) fn readable<E, R>(error: SdkError<E, R>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => DisplayErrorContext(error).to_string(),
    }
}

impl Reader {
    /// Returns the summaries of a period, newest first.
    pub(super) async fn summaries(
        &self,
        period: Period,
        filter: Option<&str>,
    ) -> Result<Vec<TraceSummary>> {
        let request = self.0.get_trace_summaries();
        let request = request.start_time(period.start).end_time(period.end);
        let request = request.time_range_type(TimeRangeType::Event);
        let request = request.set_filter_expression(filter.map(str::to_owned));
        let mut pages = request.into_paginator().send();
        let mut found: Vec<TraceSummary> = Vec::new();
        while let Some(page) = pages.next().await {
            found.extend(page.map_err(readable)?.trace_summaries.unwrap_or_default());
        }
        found.sort_by(|a, b| b.start_time().cmp(&a.start_time()));
        Ok(found)
    }

    /// Returns the traces with these ids, in their order; unknown ids are left out.
    pub(super) async fn traces(&self, ids: &[String]) -> Result<Vec<Trace>> {
        let batches = ids.chunks(BATCH).map(|batch| self.batch(batch.to_vec()));
        let batches = futures_util::stream::iter(batches);
        let batches: Vec<Vec<Trace>> = batches.buffered(AT_ONCE).try_collect().await?;
        let mut found: BTreeMap<String, Trace> = BTreeMap::new();
        found.extend(
            batches
                .into_iter()
                .flatten()
                .map(|trace| (trace.id.clone(), trace)),
        );
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }

    async fn batch(&self, ids: Vec<String>) -> Result<Vec<Trace>> {
        let request = self.0.batch_get_traces().set_trace_ids(Some(ids));
        let mut pages = request.into_paginator().send();
        let mut segments: BTreeMap<String, Vec<Segment>> = BTreeMap::new();
        while let Some(page) = pages.next().await {
            for trace in page.map_err(readable)?.traces.unwrap_or_default() {
                let id = trace.id.unwrap_or_default();
                segments
                    .entry(id)
                    .or_default()
                    .extend(trace.segments.unwrap_or_default());
            }
        }
        let traces = segments.into_iter().map(|(id, segments)| {
            let documents: Vec<Document> = segments.iter().filter_map(document).collect();
            Trace::build(id, &documents)
        });
        Ok(traces.collect())
    }
}

fn document(segment: &Segment) -> Option<Document> {
    let body: Value = serde_json::from_str(segment.document()?).ok()?;
    Document::read(body)
}
