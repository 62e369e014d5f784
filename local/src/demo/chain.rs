//! The long chain: order-api -> SQS -> order-worker -> SNS -> SQS -> order-notifier, in which
//! every order is one trace, from the request to the last function.
//!
//! The topic has two subscriptions, one with SNS's envelope and one with raw delivery, so each
//! order arrives at order-notifier twice.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tracestitch_wire::header::{NAME, TraceHeader};

use super::programs::{self, Programs};
use super::{ARRIVAL, DEADLINE, Result, Unmet, print};
use crate::api_gateway::ApiGateway;
use crate::client;
use crate::daemon::Daemon;
use crate::emulator::{Environment, Function, Tracing};
use crate::event_source::{EventSource, Mapping};
use crate::sns::{Subscription, Topic};
use crate::sqs::{Queue, Settings, Sqs};
use crate::store::{Document, Store};
use crate::table::Tables;
use crate::tree::Trace;

const ORDERS: [&str; 3] = ["C-1001", "C-1002", "C-1003"];
/// What an order's trace leads through, from its leaf to its root. Calls by their names, segments
/// of functions by theirs.
const WAY: [&str; 6] = [
    "notify customer",
    "order-notifier",
    "SNS",
    "order-worker",
    "SQS",
    "order-api",
];
/// One for each subscription.
const LEAVES: usize = 2;

struct Chain {
    daemon: Daemon,
    gateway: ApiGateway,
    functions: Vec<(&'static str, Arc<Environment>)>,
    sources: Vec<EventSource>,
    // Held for what they do until they are dropped.
    _topic: Topic,
    _tables: Tables,
    _layer: TempDir,
}

/// Builds the example functions with cargo, sends orders through the whole chain, prints each
/// trace and walks it from its leaves to its root.
///
/// To be run inside the workspace of tracestitch.
///
/// # Errors
///
/// A part that cannot be started, a step that is not over in time, or [`Unmet`] promises.
pub async fn chain() -> Result<()> {
    let chain = Chain::start(&programs::build().await?).await?;
    let mut traces = Vec::new();
    for order in ORDERS {
        traces.push((order, chain.place(order).await?));
    }
    let done = |store: &Store| unmet(store, &traces).is_empty();
    let _ = chain.daemon.wait_for(done, DEADLINE).await;
    for (_, function) in &chain.functions {
        function.shutdown().await;
    }
    // What is wrong after that stays wrong: the check below says what it is.
    let _ = chain.daemon.wait_for(done, ARRIVAL).await;
    let (trees, unmet) = chain.daemon.read(|store| {
        let tree = |(_, id): &(_, String)| Trace::build(id, store.trace(id));
        let trees: Vec<Trace> = traces.iter().map(tree).collect();
        (trees, unmet(store, &traces))
    });
    for tree in trees {
        print(format_args!("{tree}"))?;
    }
    if !unmet.is_empty() {
        chain.print_logs()?;
        return Err(Unmet(unmet).into());
    }
    print(format_args!(
        "{} orders, each one trace: {}",
        ORDERS.len(),
        WAY.join(" <- ")
    ))
}

impl Chain {
    async fn start(programs: &Programs) -> Result<Self> {
        let daemon = Daemon::start()?;
        let sqs = Sqs::start().await?;
        let settings = Settings::default();
        let orders = sqs.create("orders", &settings).await?;
        let wrapped = sqs.create("processed", &settings).await?;
        let raw = sqs.create("processed-raw", &settings).await?;
        let subscription = |queue: &Queue, raw| Subscription {
            queue: queue.clone(),
            raw,
        };
        let subscriptions = vec![subscription(&wrapped, false), subscription(&raw, true)];
        let topic = Topic::start("processed", sqs.clone(), subscriptions).await?;
        let tables = Tables::start().await?;
        tables.create("orders", "orderId")?;

        let (layer, extension) = programs::layer(&programs.extension)?;
        let function = |name: &str, program| {
            Function::new(name, program)
                .extension(&extension)
                .tracing(Tracing::Active)
                .xray_daemon(daemon.address())
                .timeout(Duration::from_secs(10))
                .env("AWS_ENDPOINT_URL_DYNAMODB", tables.endpoint())
                .env("AWS_ENDPOINT_URL_SQS", sqs.endpoint())
                .env("AWS_ENDPOINT_URL_SNS", topic.endpoint())
                .env("TABLE_NAME", "orders")
        };
        let api = function("order-api", &programs.order_api).env("QUEUE_URL", &orders.url);
        let worker = function("order-worker", &programs.order_worker).env("TOPIC_ARN", &topic.arn);
        let notifier = function("order-notifier", &programs.order_notifier);
        let api = Arc::new(api.start().await?);
        let worker = Arc::new(worker.start().await?);
        let notifier = Arc::new(notifier.start().await?);
        let consume = |queue: Queue, target: &Arc<Environment>| {
            let mapping = Mapping {
                report_batch_item_failures: true,
                ..Mapping::new(queue)
            };
            EventSource::start(sqs.clone(), mapping, Arc::clone(target))
        };
        Ok(Self {
            sources: vec![
                consume(orders, &worker),
                consume(wrapped, &notifier),
                consume(raw, &notifier),
            ],
            gateway: ApiGateway::start(Arc::clone(&api)).await?,
            functions: vec![
                ("order-api", api),
                ("order-worker", worker),
                ("order-notifier", notifier),
            ],
            daemon,
            _topic: topic,
            _tables: tables,
            _layer: layer,
        })
    }

    /// Places an order and gives the trace that the gateway began for it.
    async fn place(&self, order: &str) -> Result<String> {
        let url = format!("{}/orders", self.gateway.url());
        let body = json!({"orderId": order, "item": "lamp", "quantity": 1});
        let answer = tokio::time::timeout(DEADLINE, client::post_json(&url, &[], &body))
            .await
            .map_err(|_| format!("order-api did not answer order {order} within {DEADLINE:?}"))??;
        if answer.status != 202 {
            let (status, body) = (answer.status, answer.body);
            return Err(format!("order-api answered {status} {body}, expected 202").into());
        }
        let header: TraceHeader = answer.headers[NAME].to_str()?.parse()?;
        Ok(header.root.to_string())
    }

    fn print_logs(&self) -> Result<()> {
        for source in &self.sources {
            print(format_args!("batches: {:?}", source.batches()))?;
        }
        for (name, function) in &self.functions {
            for line in function.logs() {
                print(format_args!("[{name}/{}] {}", line.source, line.text))?;
            }
        }
        Ok(())
    }
}

/// Every promise that is not kept, in words: each order's trace leads from each of its leaves
/// over [`WAY`] to its root.
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

/// What stands in place of a root where a parent is missing, or documents hang in a ring.
const NO_ROOT: &str = "(no root)";

/// Names from a document to the root, by parent ids. Lambda's own segment and the handler in it
/// have the function's name: they count once.
fn way<'a>(leaf: &'a Document, documents: &[&'a Document]) -> Vec<&'a str> {
    let mut names = vec![leaf.name.as_str()];
    let mut parent = leaf.parent_id.as_deref();
    // No way is longer than there are documents, unless they hang in a ring.
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
    use super::*;

    /// The documents of one order; `broken` names one and the parent that it has instead.
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
    fn the_way_is_walked_from_each_leaf() {
        let traces = [("o", "1-581cf771-a006649127e371903a2de979".to_owned())];
        for (leaves, broken, problems, reason) in [
            (2, None, 0, "all there"),
            (1, None, 1, "a subscription without a message"),
            (2, Some((1, 99)), 2, "the root has a parent that is missing"),
            (2, Some((2, 99)), 2, "order-api's handler hangs nowhere"),
            (2, Some((3, 99)), 2, "the call to SQS hangs nowhere"),
            (2, Some((4, 99)), 2, "order-worker hangs nowhere"),
            (2, Some((5, 99)), 2, "the call to SNS hangs nowhere"),
            (2, Some((10, 99)), 1, "one of order-notifier hangs nowhere"),
            (2, Some((20, 99)), 1, "one leaf hangs nowhere"),
            (2, Some((1, 5)), 2, "a ring"),
            (2, Some((4, 1)), 2, "a link is left out"),
        ] {
            let found = unmet(&store(leaves, broken), &traces);
            assert_eq!(found.len(), problems, "{reason}: {found:?}");
        }
    }
}
