//! The long chain: order-api -> SQS -> order-worker -> SNS -> SQS -> order-notifier. Every order is
//! one trace, from the request to the last function.
//!
//! The topic has two subscriptions, one with SNS's envelope and one with raw delivery, so
//! order-notifier gets each order twice.

use std::io::{self, Write};

use tracestitch_traces::model::Trace;

use super::place::Order;
use super::world::World;
use crate::api_gateway::ApiGateway;
use crate::error::Result;
use crate::event_source::EventSource;
use crate::programs::{self, Programs};
use crate::sns::{Subscription, Topic};
use crate::sqs::{Queue, Settings};
use crate::store::{Document, Store};

const ORDERS: [&str; 3] = ["C-1001", "C-1002", "C-1003"];
/// Names of calls and functions on the way from a leaf of an order's trace to its root.
const WAY: [&str; 6] = [
    "notify customer",
    "order-notifier",
    "SNS",
    "order-worker",
    "SQS",
    "order-api",
];
/// Number of leaves of an order's trace: one for each subscription.
const LEAVES: usize = 2;

/// Builds the example functions with cargo, sends orders through the whole chain, prints each trace
/// and walks it from its leaves to its root.
///
/// # Errors
///
/// Fails if a part cannot be started, if a step does not end in time, or with [`Unmet`] promises.
///
/// [`Unmet`]: super::Unmet
pub async fn chain() -> Result<()> {
    let chain = Chain::start(&programs::build().await?).await?;
    let mut traces = Vec::new();
    for id in ORDERS {
        let order = Order {
            client: "web/4.2",
            id,
            item: "lamp",
            quantity: 1,
        };
        traces.push((id, order.place(&chain.gateway.url()).await?));
    }
    let unmet = |store: &Store| unmet(store, &traces);
    chain.world.wait_for(unmet).await;
    chain.world.shut_down(unmet).await;
    let trees: Vec<Trace> = chain.world.daemon.read(|store| {
        let tree = |(_, id): &(_, String)| Trace::build(id, store.trace(id));
        traces.iter().map(tree).collect()
    });
    for tree in trees {
        writeln!(io::stdout().lock(), "{tree}")?;
    }
    if let Err(unmet) = chain.world.check(unmet) {
        chain.print_batches()?;
        chain.world.print_logs()?;
        return Err(unmet);
    }
    writeln!(
        io::stdout().lock(),
        "{} orders, each one trace: {}",
        ORDERS.len(),
        WAY.join(" <- ")
    )?;
    Ok(())
}

struct Chain {
    world: World,
    gateway: ApiGateway,
    sources: Vec<EventSource>,
    // Serves until it is dropped.
    _topic: Topic,
}

impl Chain {
    async fn start(programs: &Programs) -> Result<Self> {
        let mut world = World::start(programs).await?;
        let settings = Settings::default();
        let orders = world.sqs.create("orders", &settings).await?;
        let wrapped = world.sqs.create("processed", &settings).await?;
        let raw = world.sqs.create("processed-raw", &settings).await?;
        let subscription = |queue: &Queue, raw| Subscription {
            queue: queue.clone(),
            raw,
        };
        let subscriptions = vec![subscription(&wrapped, false), subscription(&raw, true)];
        let topic = Topic::start("processed", world.sqs.clone(), subscriptions).await?;

        let variables = [("QUEUE_URL", orders.url.as_str())];
        let api = world
            .function("order-api", &programs.order_api, &variables)
            .await?;
        let endpoint = topic.endpoint();
        let variables = [
            ("AWS_ENDPOINT_URL_SNS", endpoint.as_str()),
            ("TOPIC_ARN", topic.arn.as_str()),
        ];
        let worker = world
            .function("order-worker", &programs.order_worker, &variables)
            .await?;
        let notifier = world
            .function("order-notifier", &programs.order_notifier, &[])
            .await?;
        Ok(Self {
            sources: vec![
                world.consume(&orders, None, &worker),
                world.consume(&wrapped, None, &notifier),
                world.consume(&raw, None, &notifier),
            ],
            gateway: ApiGateway::start(api).await?,
            world,
            _topic: topic,
        })
    }

    fn print_batches(&self) -> io::Result<()> {
        for source in &self.sources {
            writeln!(io::stderr(), "batches: {:?}", source.batches())?;
        }
        Ok(())
    }
}

/// Returns every promise that is not kept: each order's trace leads from each of its leaves over
/// [`WAY`] to its root.
fn unmet(store: &Store, traces: &[(&str, String)]) -> Vec<String> {
    let mut unmet = Vec::new();
    for (order, id) in traces {
        let documents: Vec<&Document> = store.trace(id).collect();
        let ways: Vec<Vec<&str>> = documents
            .iter()
            .filter(|document| document.name == WAY[0])
            .map(|leaf| way(leaf, &documents))
            .collect();
        if ways.len() != LEAVES {
            let found = ways.len();
            unmet.push(format!(
                "order {order}, trace {id}: {found} leaves, expected {LEAVES}"
            ));
        }
        for way in ways.iter().filter(|way| **way != WAY) {
            unmet.push(format!(
                "order {order}, trace {id}: the way from leaf to root is {way:?}, expected {WAY:?}"
            ));
        }
    }
    unmet
}

/// Ends a way whose last document has a missing parent, or whose documents form a ring.
const NO_ROOT: &str = "(no root)";

/// Returns the names from a document to the root, by parent ids. Lambda's own segment and the
/// handler in it share the function's name, which counts once.
fn way<'a>(leaf: &'a Document, documents: &[&'a Document]) -> Vec<&'a str> {
    let mut names = vec![leaf.name.as_str()];
    let mut parent = leaf.parent_id.as_deref();
    // At most one step for each document, in case they form a ring.
    for _ in documents {
        let Some(document) = parent.and_then(|id| documents.iter().find(|found| found.id == id))
        else {
            break;
        };
        if names.last() != Some(&document.name.as_str()) {
            names.push(&document.name);
        }
        parent = document.parent_id.as_deref();
    }
    if parent.is_some() {
        names.push(NO_ROOT);
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the documents of one order; `broken` is a document's id and its wrong parent's.
    fn store(leaves: usize, broken: Option<(u64, u64)>) -> Store {
        let mut store = Store::default();
        let mut add = |name: &str, id: u64, parent: u64| {
            let parent = match broken {
                Some((broken, other)) if broken == id => other,
                _ => parent,
            };
            let mut body = json!({
                "trace_id": "1-581cf771-a006649127e371903a2de979", "id": format!("{id:016x}"),
                "name": name, "start_time": 1.0, "end_time": 2.0,
            });
            if parent > 0 {
                body["parent_id"] = format!("{parent:016x}").into();
            }
            store.accept(Document::read(body).unwrap());
        };
        add("order-api", 1, 0);
        add("order-api", 2, 1);
        add("SQS", 3, 2);
        add("order-worker", 4, 3);
        add("SNS", 5, 4);
        for leaf in 0..leaves as u64 {
            add("order-notifier", 10 + leaf, 5);
            add("notify customer", 20 + leaf, 10 + leaf);
        }
        store
    }

    #[test]
    fn broken_link_is_found_from_each_leaf() {
        let traces = [("o", "1-581cf771-a006649127e371903a2de979".to_owned())];
        for (leaves, broken, problems, reason) in [
            (2, None, 0, "complete"),
            (1, None, 1, "a subscription without a message"),
            (2, Some((1, 99)), 2, "the root's parent is missing"),
            (
                2,
                Some((2, 99)),
                2,
                "the parent of order-api's handler is missing",
            ),
            (
                2,
                Some((3, 99)),
                2,
                "the parent of the call to SQS is missing",
            ),
            (2, Some((4, 99)), 2, "order-worker's parent is missing"),
            (
                2,
                Some((5, 99)),
                2,
                "the parent of the call to SNS is missing",
            ),
            (
                2,
                Some((10, 99)),
                1,
                "the parent of one order-notifier is missing",
            ),
            (2, Some((20, 99)), 1, "one leaf's parent is missing"),
            (2, Some((1, 5)), 2, "a ring"),
            (2, Some((4, 1)), 2, "a link is skipped"),
        ] {
            let found = unmet(&store(leaves, broken), &traces);
            assert_eq!(found.len(), problems, "{reason}: {found:?}");
        }
    }
}
