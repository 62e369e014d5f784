//! A wrapped function to be killed and stopped: it works in small steps, notes each in a journal, and
//! then ends as its event demands.

mod batch;
mod ends;
mod journal;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::streaming::Body;
use lambda_runtime::tower::{ServiceExt, layer::layer_fn};
use lambda_runtime::{Error, FunctionResponse, LambdaEvent, Runtime, service_fn, tower::Layer};
use serde::Deserialize;
use serde_json::{Value, json};
use tracestitch::aws::TraceInterceptor;
use tracestitch::{Context, Sampling, SpanLayer, Subsegment, TraceLayer};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

use crate::ends::Then;

/// The event.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Event {
    Batch(batch::Batch),
    Work(Work),
}

/// The work of an invocation or a message.
#[derive(Debug, Deserialize)]
pub(crate) struct Work {
    /// Number of the invocation or message, for the journal.
    n: u64,
    /// Number of subsegments, each with one inside.
    #[serde(default)]
    steps: u32,
    /// True if an AWS call follows them.
    #[serde(default)]
    call: bool,
    /// Bytes of metadata on each step.
    #[serde(default)]
    bytes: usize,
    /// Number of turns of several contexts that take turns.
    #[serde(default)]
    turns: u32,
    /// Number of subsegments that several threads record at once, with `bytes` of metadata each.
    #[serde(default)]
    burst: usize,
    /// The end of the work.
    #[serde(default)]
    then: Then,
}

/// Set by a handler after whose reply the process must hang.
static HANG: AtomicBool = AtomicBool::new(false);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let flag = |name| std::env::var_os(name).is_some();
    if std::env::args().nth(1).as_deref() == Some("child") {
        return ends::child().await;
    }
    journal::note("absent", 0, "start", "");
    if flag("SPANS") {
        let spans = SpanLayer::new().filtered();
        tracing_subscriber::registry().with(spans).init();
    }
    tracestitch::capture("settings", async {}).await;
    let table = table().await;
    let handler = service_fn(move |event| handle(table.clone(), event));
    if flag("AWS_LAMBDA_MAX_CONCURRENCY") {
        return tracestitch::run_concurrent(handler).await;
    }
    if flag("UNWRAPPED") {
        return lambda_runtime::run(handler).await;
    }
    if !flag("MAY_HANG") {
        return tracestitch::run(handler).await;
    }
    // Hangs between the reply and the tracer's signal to the extension.
    let hang = layer_fn(|runtime: _| {
        ServiceExt::<lambda_runtime::LambdaInvocation>::then(runtime, async |posted| {
            if HANG.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_secs(3600));
            }
            posted
        })
    });
    let trace = TraceLayer::new();
    let runtime = Runtime::new(trace.layer(handler));
    runtime.layer(hang).layer(trace).run().await
}

/// Returns a client without TLS: loading certificates would take most of the process's start.
async fn table() -> aws_sdk_dynamodb::Client {
    let shared = aws_config::defaults(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .load()
        .await;
    let config = aws_sdk_dynamodb::config::Builder::from(&shared)
        .interceptor(TraceInterceptor::new())
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

type Answer = FunctionResponse<Value, Body>;

async fn handle(
    table: aws_sdk_dynamodb::Client,
    event: LambdaEvent<Event>,
) -> Result<Answer, Error> {
    let (event, context) = event.into_parts();
    let work = match event {
        Event::Work(work) => work,
        Event::Batch(batch) => {
            let response = batch.work_off(&table, &context).await;
            return Ok(FunctionResponse::BufferedResponse(serde_json::to_value(
                response,
            )?));
        }
    };
    let n = work.n;
    over_with_init(n);
    let streamed = perform(work, &table, &context).await?;
    Ok(match streamed {
        Some(body) => FunctionResponse::StreamingResponse(body.into()),
        None => FunctionResponse::BufferedResponse(json!({ "n": n })),
    })
}

/// Does the work of an invocation or a message, whose segment or subsegment has begun.
pub(crate) async fn perform(
    work: Work,
    table: &aws_sdk_dynamodb::Client,
    context: &lambda_runtime::Context,
) -> Result<Option<Body>, Error> {
    begun(work.n, "victim");
    let invocation = json!({ "annotations": { "invocation": work.n } });
    journal::fact(work.n, "victim", &invocation);
    tracestitch::annotate("invocation", work.n);
    for number in 0..work.steps {
        step(&work, number).await;
    }
    weave(work.n, work.turns).await;
    burst(&work);
    if work.call {
        journal::note("begin", work.n, "DynamoDB", "victim");
        let aws = json!({ "operation": "GetItem", "table_name": "orders" });
        let known = json!({ "namespace": "aws", "aws": aws });
        journal::fact(work.n, "DynamoDB", &known);
        // The document has them when it is opened.
        journal::note("kept", work.n, "DynamoDB", "");
        get_item(table).await?;
        journal::note("finished", work.n, "DynamoDB", "");
    }
    let streamed = work.then.happen(work.n, context).await?;
    journal::note("finish", work.n, "victim", "");
    Ok(streamed)
}

/// Notes that the handler's subsegment has begun, which ends the init phase.
pub(crate) fn over_with_init(n: u64) {
    static WARM: AtomicBool = AtomicBool::new(false);
    // Environments of Managed Instances are made ahead, so their init phase is in no trace.
    let made_ahead = std::env::var_os("AWS_LAMBDA_MAX_CONCURRENCY").is_some();
    let init = match WARM.swap(true, Ordering::Relaxed) || made_ahead {
        false => "finished",
        true => "absent",
    };
    for name in ["init", "settings"] {
        journal::note(init, n, name, "");
    }
}

/// Notes the id of the current subsegment, which is called `name`.
pub(crate) fn begun(n: u64, name: &str) {
    let header = Context::current().trace_header();
    // An unsampled trace passes on the id that it came with.
    let header = header.filter(|header| header.sampling == Sampling::Sampled);
    let id = header.and_then(|header| header.parent);
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    journal::note("begun", n, name, &id);
}

async fn step(work: &Work, number: u32) {
    let n = work.n;
    let (outer, inner) = (format!("step-{number}"), format!("inner-{number}"));
    let step = journal::begin(n, &outer, "victim");
    // A child has begun.
    journal::note("kept", n, "victim", "");
    put_facts(work, number, &outer, &step);
    let inside = async {
        journal::fact(n, &outer, &json!({ "annotations": { "inside": true } }));
        tracestitch::annotate("inside", true);
        let subsegment = journal::begin(n, &inner, &outer);
        journal::note("kept", n, &outer, "");
        let fact = json!({ "annotations": { "number": number } });
        journal::fact(n, &inner, &fact);
        subsegment.annotate("number", number);
        tokio::task::yield_now().await;
        journal::note("kept", n, &inner, "");
        journal::finish(n, &inner, subsegment);
    };
    step.context().scope(inside).await;
    journal::finish(n, &outer, step);
}

/// The error that the second step records.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no tea")
    }
}

impl std::error::Error for Refused {}

/// Puts facts of each kind on a step that has begun.
fn put_facts(work: &Work, number: u32, name: &str, step: &Subsegment) {
    let order = format!("o-{}", work.n);
    let basket = json!({ "number": number, "prices": [1.5, 2] });
    let fails = number == 1;
    let mut facts = json!({
        "annotations": { "order": order, "items": number, "paid": true },
        "metadata": { "default": { "basket": basket } },
    });
    if work.bytes > 0 {
        facts["metadata"]["default"]["filler"] = Value::Null;
    }
    if fails {
        facts["fault"] = true.into();
        let refused = json!({ "type": "Refused", "message": Refused.to_string() });
        facts["cause"] = json!({ "exceptions": [refused] });
    }
    journal::fact(work.n, name, &facts);
    step.annotate("order", order);
    step.annotate("items", number);
    step.annotate("paid", true);
    step.metadata("basket", basket);
    if work.bytes > 0 {
        step.metadata("filler", "x".repeat(work.bytes));
    }
    if fails {
        step.record_error(&Refused);
    }
}

/// Works in two subsegments and around them, by turns on one thread.
async fn weave(n: u64, turns: u32) {
    // Different lengths, so that the order of turns varies.
    tokio::join!(
        strand(n, "left", turns),
        between(n, "a", 2 * turns),
        strand(n, "right", 2 * turns),
        between(n, "b", turns),
    );
}

/// Records a subsegment and annotates it in each turn.
async fn strand(n: u64, name: &str, turns: u32) {
    if turns == 0 {
        return;
    }
    let subsegment = journal::begin(n, name, "victim");
    let work = async {
        for turn in 0..turns {
            let key = format!("turn_{turn}");
            journal::fact(n, name, &json!({ "annotations": { &key: turn } }));
            tracestitch::annotate(key, turn);
            tokio::task::yield_now().await;
            journal::note("kept", n, name, "");
        }
    };
    subsegment.context().scope(work).await;
    journal::finish(n, name, subsegment);
}

/// Threads of a burst.
const THREADS: usize = 8;

/// Records subsegments from several threads at once, as fast as possible and without the journal.
fn burst(work: &Work) {
    let context = Context::current();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let context = context.clone();
            scope.spawn(move || {
                context.sync_scope(|| {
                    for _ in (thread..work.burst).step_by(THREADS) {
                        let subsegment = Subsegment::begin("burst");
                        subsegment.metadata("filler", "x".repeat(work.bytes));
                        subsegment.finish();
                    }
                });
            });
        }
    });
}

/// Records a subsegment of the handler in each turn.
async fn between(n: u64, name: &str, turns: u32) {
    for turn in 0..turns {
        let name = format!("between-{name}-{turn}");
        let subsegment = journal::begin(n, &name, "victim");
        journal::finish(n, &name, subsegment);
        tokio::task::yield_now().await;
    }
}

async fn get_item(table: &aws_sdk_dynamodb::Client) -> Result<(), Error> {
    let key = AttributeValue::S("o-1".to_owned());
    let request = table.get_item().table_name("orders").key("orderId", key);
    request.send().await?;
    Ok(())
}
