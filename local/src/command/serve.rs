//! `tracestitch serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tracestitch_traces::api::Server;
use tracestitch_traces::store::{Limits, Store};

use crate::error::Result;

/// Options of `tracestitch serve`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = "\
Examples:
  tracestitch serve
  tracestitch serve --store traces.db
  AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:2000 node app.js        # any X-Ray SDK sends to it
  AWS_ENDPOINT_URL_XRAY=http://127.0.0.1:2000 sam traces    # any X-Ray client reads from it")]
pub struct ServeOptions {
    /// The address, on this machine only; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:2000")]
    listen: SocketAddr,
    /// Keeps the traces in this file; without it they are in memory
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// Largest number of traces; the oldest are removed first
    #[arg(long, value_name = "N")]
    max_traces: Option<u64>,
}

impl ServeOptions {
    /// Serves the X-Ray API and the daemon's port until the future is dropped.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be opened or the address cannot be bound.
    pub async fn run(&self, out: &mut impl Write) -> Result<bool> {
        let mut limits = Limits::default();
        if let Some(traces) = self.max_traces {
            limits.traces = traces;
        }
        let store = match &self.store {
            Some(path) => Store::open(path, limits)
                .map_err(|error| format!("the store {}: {error}", path.display()))?,
            None => Store::memory(limits)?,
        };
        let server = Server::start(self.listen, Arc::new(store))
            .await
            .map_err(|error| format!("cannot listen at {}: {error}", self.listen))?;
        writeln!(out, "listening: http://{}", server.address())?;
        writeln!(out, "daemon: {}", server.daemon())?;
        out.flush()?;
        std::future::pending().await
    }
}
