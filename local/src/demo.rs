//! The demonstration: five orders from three clients go through order-api, a queue and
//! order-worker; then their traces are printed and checked.
//!
//! One order cannot be processed. It fails alone, is tried twice, and ends in the dead-letter
//! queue.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tracestitch_wire::header::{NAME, TraceHeader};

use crate::client;
use crate::event_source::Batch;
use crate::tree::Trace;
use crate::view::Viewer;

mod chain;
pub(crate) mod programs;
mod verify;
mod world;

pub use chain::chain;
use verify::{Ended, Order};
use world::World;

/// For each step that waits for a condition.
const DEADLINE: Duration = Duration::from_secs(30);
/// For documents that are still on their way when all orders have come to their end.
const ARRIVAL: Duration = Duration::from_secs(10);

/// User agent, order id, item, quantity. The third order is the one that fails.
const ORDERS: [(&str, &str, &str, i64); 5] = [
    ("web/4.2", "A-1001", "book", 1),
    ("mobile/2.0", "A-1002", "lamp", 2),
    ("partner/1.7", "A-1003", "desk", 0),
    ("web/4.2", "A-1004", "chair", 4),
    ("mobile/2.0", "A-1005", "pen", 12),
];

pub(crate) type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Builds the example functions with cargo, runs the orders through them, prints each trace and
/// a summary to standard output. With `serve` the functions and a [`Viewer`] then stay up until
/// the future is dropped.
///
/// To be run inside the workspace of tracestitch.
///
/// # Errors
///
/// A part that cannot be started, a step that is not over in time, or [`Unmet`] promises.
pub async fn run(serve: bool) -> Result<()> {
    let world = World::start(&programs::build().await?).await?;
    let checked = orders(&world, serve).await;
    if checked.is_err() {
        world.print_logs()?;
        return checked;
    }
    if serve {
        let viewer = Viewer::start(Arc::clone(&world.daemon)).await?;
        let _source = world.consume();
        print(format_args!(
            "viewer: {}\n\
             an order: curl {}/orders -d '{{\"orderId\":\"B-1\",\"item\":\"cup\",\"quantity\":1}}'\n\
             Ctrl-C ends it.",
            viewer.url(),
            world.gateway.url(),
        ))?;
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn orders(world: &World, serve: bool) -> Result<()> {
    let orders = send_all(world).await?;
    // Only now: so the first batch holds the messages of all three clients.
    let source = world.consume();
    let processed =
        |batches: &[Batch]| -> usize { batches.iter().map(|batch| batch.succeeded.len()).sum() };
    if !source
        .wait_for(|batches| processed(batches) == ORDERS.len() - 1, DEADLINE)
        .await
    {
        return Err(format!(
            "{} of {} orders were processed within {DEADLINE:?}",
            processed(&source.batches()),
            ORDERS.len() - 1
        )
        .into());
    }
    let dead = world.dead_letters().await?;
    let failed: BTreeSet<String> = source
        .batches()
        .into_iter()
        .flat_map(|batch| batch.failed)
        .collect();
    drop(source);
    if !serve {
        world.shutdown().await;
    }

    let ended = Ended {
        orders: &orders,
        failed: &failed,
        dead: &dead,
    };
    // What is wrong after that stays wrong: the check below says what it is.
    let _ = world
        .daemon
        .wait_for(|store| verify::unmet(store, &ended).is_empty(), ARRIVAL)
        .await;
    let (traces, documents, unmet) = world.daemon.read(|store| {
        (
            Trace::all(store),
            store.documents().count(),
            verify::unmet(store, &ended),
        )
    });
    for trace in &traces {
        print(format_args!("{trace}"))?;
    }
    if !unmet.is_empty() {
        return Err(Unmet(unmet).into());
    }
    print(format_args!(
        "{} orders of 3 clients: {} processed, 1 in the dead-letter queue; {} traces, \
         {documents} documents, none refused, none twice",
        orders.len(),
        orders.len() - 1,
        traces.len(),
    ))
}

/// Sends each order as its client would, and keeps the trace that the gateway began for it.
async fn send_all(world: &World) -> Result<Vec<Order>> {
    let mut orders = Vec::new();
    for (client, id, item, quantity) in ORDERS {
        let url = format!("{}/orders", world.gateway.url());
        let body = json!({"orderId": id, "item": item, "quantity": quantity});
        let headers = [("user-agent", client)];
        let answer = tokio::time::timeout(DEADLINE, client::post_json(&url, &headers, &body))
            .await
            .map_err(|_| format!("order-api did not answer order {id} within {DEADLINE:?}"))??;
        if answer.status != 202 {
            let (status, body) = (answer.status, answer.body);
            return Err(format!(
                "order-api answered order {id} with {status} {body}, expected 202"
            )
            .into());
        }
        let header: TraceHeader = answer.headers[NAME].to_str()?.parse()?;
        orders.push(Order {
            id,
            trace_id: header.root.to_string(),
            fails: quantity <= 0,
        });
    }
    Ok(orders)
}

/// What the traces should have shown and did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet(pub Vec<String>);

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the traces are not as promised:")?;
        self.0
            .iter()
            .try_for_each(|promise| write!(f, "\n  - {promise}"))
    }
}

impl Error for Unmet {}

fn print(line: fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}
