//! All parts of the demonstration, started and wired to each other.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Result;
use super::programs::{self, Programs};
use crate::api_gateway::ApiGateway;
use crate::daemon::Daemon;
use crate::emulator::{Environment, Function, Tracing};
use crate::event_source::{EventSource, Mapping};
use crate::sqs::{Queue, Settings, Sqs};
use crate::table::Tables;

const TABLE: &str = "orders";
/// The longest wait of a ReceiveMessage, in seconds (SQS API reference).
const LONG_POLL: u64 = 20;
/// Receives of a message before it goes to the dead-letter queue: a failure and its retry.
pub(super) const RECEIVES: u32 = 2;

pub(super) struct World {
    pub(super) daemon: Arc<Daemon>,
    pub(super) gateway: ApiGateway,
    order_api: Arc<Environment>,
    order_worker: Arc<Environment>,
    sqs: Sqs,
    queue: Queue,
    dead: Queue,
    // Held for what they do until they are dropped.
    _tables: Tables,
    _layer: TempDir,
}

/// A message of the dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeadLetter {
    pub(super) message_id: String,
    pub(super) body: String,
}

impl World {
    pub(super) async fn start(programs: &Programs) -> Result<Self> {
        let daemon = Arc::new(Daemon::start()?);
        let sqs = Sqs::start().await?;
        let dead = sqs.create("orders-dead", &Settings::default()).await?;
        let redrive = Some((dead.clone(), RECEIVES));
        let queue = sqs
            .create(
                "orders",
                &Settings {
                    redrive,
                    ..Settings::default()
                },
            )
            .await?;
        let tables = Tables::start().await?;
        tables.create(TABLE, "orderId")?;

        let (layer, extension) = programs::layer(&programs.extension)?;
        let function = |name: &str, program| {
            Function::new(name, program)
                .extension(&extension)
                .tracing(Tracing::Active)
                .xray_daemon(daemon.address())
                .timeout(Duration::from_secs(10))
                .env("AWS_ENDPOINT_URL_DYNAMODB", tables.endpoint())
                .env("AWS_ENDPOINT_URL_SQS", sqs.endpoint())
                .env("TABLE_NAME", TABLE)
        };
        let order_api = function("order-api", &programs.order_api).env("QUEUE_URL", &queue.url);
        let order_api = Arc::new(order_api.start().await?);
        let order_worker = function("order-worker", &programs.order_worker);
        let order_worker = Arc::new(order_worker.start().await?);
        let gateway = ApiGateway::start(Arc::clone(&order_api)).await?;
        Ok(Self {
            daemon,
            gateway,
            order_api,
            order_worker,
            sqs,
            queue,
            dead,
            _tables: tables,
            _layer: layer,
        })
    }

    /// Starts to hand the queue's messages to order-worker.
    pub(super) fn consume(&self) -> EventSource {
        let mapping = Mapping {
            report_batch_item_failures: true,
            retry_after: Some(Duration::ZERO),
            ..Mapping::new(self.queue.clone())
        };
        EventSource::start(self.sqs.clone(), mapping, Arc::clone(&self.order_worker))
    }

    /// Waits for a message in the dead-letter queue and takes all that are there; none when
    /// [`LONG_POLL`] is over.
    pub(super) async fn dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let input = json!({
            "QueueUrl": self.dead.url,
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": LONG_POLL,
        });
        let output = self.sqs.call("ReceiveMessage", input).await?;
        let text =
            |message: &Value, member: &str| message[member].as_str().unwrap_or_default().to_owned();
        let messages = output["Messages"].as_array().into_iter().flatten();
        let letters = messages.map(|message| DeadLetter {
            message_id: text(message, "MessageId"),
            body: text(message, "Body"),
        });
        Ok(letters.collect())
    }

    /// Ends both environments as Lambda does when it no longer needs them.
    pub(super) async fn shutdown(&self) {
        tokio::join!(self.order_api.shutdown(), self.order_worker.shutdown());
    }

    /// What the functions and extensions wrote, to standard error.
    pub(super) fn print_logs(&self) -> io::Result<()> {
        let mut error = io::stderr().lock();
        let environments = [
            ("order-api", &self.order_api),
            ("order-worker", &self.order_worker),
        ];
        for (function, environment) in environments {
            for line in environment.logs() {
                writeln!(error, "[{function}/{}] {}", line.source, line.text)?;
            }
        }
        Ok(())
    }
}
