//! The parts that both demonstrations share.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::place::DEADLINE;
use super::unmet::Unmet;
use super::vendor::Vendor;
use crate::daemon::Daemon;
use crate::emulator::{Environment, Function, Tracing};
use crate::error::Result;
use crate::event_source::{EventSource, Mapping};
use crate::programs::{self, Programs};
use crate::sqs::{Queue, Sqs};
use crate::store::Store;
use crate::table::Tables;

const TABLE: &str = "orders";
/// Time for documents to arrive after all orders have been processed.
const ARRIVAL: Duration = Duration::from_secs(10);

/// X-Ray daemon, queues, tables, vendor, and the running functions.
pub(super) struct World {
    pub(super) daemon: Arc<Daemon>,
    pub(super) sqs: Sqs,
    tables: Tables,
    vendor: Vendor,
    functions: Vec<(&'static str, Arc<Environment>)>,
    extension: PathBuf,
    // Holds the extension.
    _layer: TempDir,
}

impl World {
    /// Starts everything but functions.
    pub(super) async fn start(programs: &Programs) -> Result<Self> {
        let daemon = Arc::new(Daemon::start()?);
        let tables = Tables::start().await?;
        tables.create(TABLE, "orderId")?;
        let (layer, extension) = programs::layer(&programs.extension)?;
        Ok(Self {
            vendor: Vendor::start(daemon.address()).await?,
            daemon,
            sqs: Sqs::start().await?,
            tables,
            functions: Vec::new(),
            extension,
            _layer: layer,
        })
    }

    /// Starts a function with the extension and these variables besides the common ones.
    pub(super) async fn function(
        &mut self,
        name: &'static str,
        program: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Arc<Environment>> {
        let mut function = Function::new(name, program)
            .extension(&self.extension)
            .tracing(Tracing::Active)
            .xray_daemon(self.daemon.address())
            .timeout(Duration::from_secs(10))
            .env("AWS_ENDPOINT_URL_DYNAMODB", self.tables.endpoint())
            .env("AWS_ENDPOINT_URL_SQS", self.sqs.endpoint())
            .env("TABLE_NAME", TABLE)
            .env("VENDOR_URL", self.vendor.url());
        for (name, value) in variables {
            function = function.env(*name, *value);
        }
        let environment = Arc::new(function.start().await?);
        self.functions.push((name, Arc::clone(&environment)));
        Ok(environment)
    }

    /// Starts to pass a queue's messages to a function, which names the failed ones.
    pub(super) fn consume(
        &self,
        queue: &Queue,
        retry_after: Option<Duration>,
        function: &Arc<Environment>,
    ) -> EventSource {
        let mapping = Mapping {
            report_batch_item_failures: true,
            retry_after,
            ..Mapping::new(queue.clone())
        };
        EventSource::start(self.sqs.clone(), mapping, Arc::clone(function))
    }

    /// Waits for documents until `unmet` returns nothing. A promise that is not kept in time is
    /// reported by the check that follows.
    pub(super) async fn wait_for(&self, unmet: impl Fn(&Store) -> Vec<String>) {
        let _ = self
            .daemon
            .wait_for(|store| unmet(store).is_empty(), DEADLINE)
            .await;
    }

    /// Shuts all functions down, and waits until their last documents have arrived.
    pub(super) async fn shut_down(&self, unmet: impl Fn(&Store) -> Vec<String>) {
        for (_, function) in &self.functions {
            function.shutdown().await;
        }
        let _ = self
            .daemon
            .wait_for(|store| unmet(store).is_empty(), ARRIVAL)
            .await;
    }

    /// Fails if `unmet` returns a promise.
    pub(super) fn check(&self, unmet: impl Fn(&Store) -> Vec<String>) -> Result<()> {
        match self.daemon.read(unmet) {
            unmet if unmet.is_empty() => Ok(()),
            unmet => Err(Unmet(unmet).into()),
        }
    }

    /// Writes the output of functions and extensions to standard error.
    pub(super) fn print_logs(&self) -> io::Result<()> {
        let mut error = io::stderr().lock();
        for (function, environment) in &self.functions {
            for line in environment.logs() {
                writeln!(error, "[{function}/{}] {}", line.source, line.text)?;
            }
        }
        Ok(())
    }
}
