//! The demonstration with a queue: five orders from three clients pass through order-api, SQS and
//! order-worker, which notifies the vendor.
//!
//! One order cannot be processed. It fails alone, is tried twice, and ends in the dead-letter
//! queue.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::place::{DEADLINE, Order};
use super::verify::{self, DeadLetter, Ended, Placed, RECEIVES};
use super::world::World;
use crate::api_gateway::ApiGateway;
use crate::emulator::Environment;
use crate::error::Result;
use crate::event_source::{Batch, EventSource};
use crate::programs::{self, Programs};
use crate::sqs::{Queue, Settings};
use crate::store::Store;
use crate::view::Viewer;

/// Longest wait of a ReceiveMessage, in seconds (SQS API reference).
const LONG_POLL: u64 = 20;

const ORDERS: [Order; 5] = [
    order("web/4.2", "A-1001", "book", 1),
    order("mobile/2.0", "A-1002", "lamp", 2),
    order("partner/1.7", "A-1003", "desk", 0),
    order("web/4.2", "A-1004", "chair", 4),
    order("mobile/2.0", "A-1005", "pen", 12),
];

const fn order(client: &'static str, id: &'static str, item: &'static str, quantity: i64) -> Order {
    Order {
        client,
        id,
        item,
        quantity,
    }
}

/// Builds the example functions with cargo, sends orders through a queue, and prints each trace
/// and a summary to standard output. With `serve` the functions and a [`Viewer`] then remain up
/// until the future is dropped.
///
/// # Errors
///
/// Fails if a part cannot be started, if a step does not end in time, or with [`Unmet`] promises.
///
/// [`Unmet`]: super::Unmet
pub async fn orders(serve: bool) -> Result<()> {
    let demo = Demo::start(&programs::build().await?).await?;
    let checked = demo.run(serve).await;
    if checked.is_err() {
        demo.world.print_logs()?;
        return checked;
    }
    if serve {
        let viewer = Viewer::start(Arc::clone(&demo.world.daemon)).await?;
        let _source = demo.consume();
        writeln!(
            io::stdout().lock(),
            "viewer: {}\n\
             an order: curl {}/orders -d '{{\"orderId\":\"B-1\",\"item\":\"cup\",\"quantity\":1}}'\n\
             Ctrl-C ends it.",
            viewer.url(),
            demo.gateway.url(),
        )?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

struct Demo {
    world: World,
    gateway: ApiGateway,
    order_worker: Arc<Environment>,
    queue: Queue,
    dead_letters: Queue,
}

impl Demo {
    async fn start(programs: &Programs) -> Result<Self> {
        let mut world = World::start(programs).await?;
        let settings = Settings::default();
        let dead_letters = world.sqs.create("orders-dead", &settings).await?;
        let settings = Settings {
            redrive: Some((dead_letters.clone(), RECEIVES)),
            ..settings
        };
        let queue = world.sqs.create("orders", &settings).await?;
        let variables = [("QUEUE_URL", queue.url.as_str())];
        let order_api = world
            .function("order-api", &programs.order_api, &variables)
            .await?;
        let order_worker = world
            .function("order-worker", &programs.order_worker, &[])
            .await?;
        Ok(Self {
            gateway: ApiGateway::start(order_api).await?,
            world,
            order_worker,
            queue,
            dead_letters,
        })
    }

    async fn run(&self, serve: bool) -> Result<()> {
        let mut placed = Vec::new();
        for order in ORDERS {
            placed.push(Placed {
                id: order.id,
                trace_id: order.place(&self.gateway.url()).await?,
                fails: order.quantity <= 0,
            });
        }
        // Starts only now, so that the first batch holds the messages of all three clients.
        let source = self.consume();
        wait_until_processed(&source).await?;
        let dead = self.receive_dead_letters().await?;
        let batches = source.batches().into_iter();
        let failed: BTreeSet<String> = batches.flat_map(|batch| batch.failed).collect();
        drop(source);

        let ended = Ended {
            orders: &placed,
            failed: &failed,
            dead: &dead,
        };
        let unmet = |store: &Store| verify::unmet(store, &ended);
        if serve {
            self.world.wait_for(unmet).await;
        } else {
            self.world.shut_down(unmet).await;
        }
        let (traces, documents) = self
            .world
            .daemon
            .read(|store| (store.traces(), store.documents().count()));
        let mut out = io::stdout().lock();
        for trace in &traces {
            writeln!(out, "{trace}")?;
        }
        self.world.check(unmet)?;
        writeln!(
            out,
            "{} orders of 3 clients: {} processed, 1 in the dead-letter queue; {} traces, \
             {documents} documents, none refused, none received twice",
            ORDERS.len(),
            ORDERS.len() - 1,
            traces.len(),
        )?;
        Ok(())
    }

    fn consume(&self) -> EventSource {
        let at_once = Some(Duration::ZERO);
        self.world.consume(&self.queue, at_once, &self.order_worker)
    }

    /// Waits for a message in the dead-letter queue, at most [`LONG_POLL`], and receives all that
    /// are there.
    async fn receive_dead_letters(&self) -> Result<Vec<DeadLetter>> {
        let input = json!({
            "QueueUrl": self.dead_letters.url,
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": LONG_POLL,
        });
        let output = self.world.sqs.call("ReceiveMessage", input).await?;
        let text =
            |message: &Value, member: &str| message[member].as_str().unwrap_or_default().to_owned();
        let messages = output["Messages"].as_array().into_iter().flatten();
        let letters = messages.map(|message| DeadLetter {
            message_id: text(message, "MessageId"),
            body: text(message, "Body"),
        });
        Ok(letters.collect())
    }
}

/// Waits until every order but the failing one is processed.
async fn wait_until_processed(source: &EventSource) -> Result<()> {
    let wanted = ORDERS.len() - 1;
    let processed =
        |batches: &[Batch]| -> usize { batches.iter().map(|batch| batch.succeeded.len()).sum() };
    if source
        .wait_for(|batches| processed(batches) == wanted, DEADLINE)
        .await
    {
        return Ok(());
    }
    let found = processed(&source.batches());
    Err(format!("{found} of {wanted} orders were processed within {DEADLINE:?}").into())
}
