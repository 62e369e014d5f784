//! A wrapped function to be killed, stopped and starved: it works in small steps, each written
//! down in a journal, and then does to itself what its event says.

mod batch;
mod ends;
mod journal;

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
use tracestitch::{Context, Sampling, TraceLayer};

use crate::ends::Then;

/// The event.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Event {
    Batch(batch::Batch),
    Work(Work),
}

/// What is to be done.
#[derive(Debug, Deserialize)]
pub(crate) struct Work {
    /// Number of the invocation or message, for the journal.
    n: u64,
    /// So many subsegments, each with one inside.
    #[serde(default)]
    steps: u32,
    /// One AWS call after them.
    #[serde(default)]
    call: bool,
    /// Bytes of metadata on each step.
    #[serde(default)]
    bytes: usize,
    /// What comes after all this.
    #[serde(default)]
    then: Then,
}

/// Set by a handler after whose reply the process hangs.
static HANG: AtomicBool = AtomicBool::new(false);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let flag = |name| std::env::var_os(name).is_some();
    if std::env::args().nth(1).as_deref() == Some("child") {
        return ends::child().await;
    }
    journal::note("absent", 0, "start", "");
    ends::limit_memory()?;
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
    // Between the reply and the moment in which the tracer tells the extension of it.
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

/// A client without TLS: the certificates would take most of the process's start.
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

/// The work of an invocation or a message, whose segment or subsegment has begun.
pub(crate) async fn perform(
    work: Work,
    table: &aws_sdk_dynamodb::Client,
    context: &lambda_runtime::Context,
) -> Result<Option<Body>, Error> {
    begun(work.n);
    for number in 0..work.steps {
        step(&work, number).await;
    }
    if work.call {
        journal::note("begin", work.n, "DynamoDB", "");
        get_item(table).await?;
        journal::note("finished", work.n, "DynamoDB", "");
    }
    let streamed = work.then.happen(work.n, context).await?;
    journal::note("finish", work.n, "victim", "");
    Ok(streamed)
}

/// The handler's own subsegment has begun, and with it the init phase is over.
pub(crate) fn over_with_init(n: u64) {
    static WARM: AtomicBool = AtomicBool::new(false);
    let init = match WARM.swap(true, Ordering::Relaxed) {
        false => "finished",
        true => "absent",
    };
    for name in ["init", "settings"] {
        journal::note(init, n, name, "");
    }
}

pub(crate) fn begun(n: u64) {
    let header = Context::current().trace_header();
    // What is not sampled carries on the id that it came with.
    let header = header.filter(|header| header.sampling == Sampling::Sampled);
    let id = header.and_then(|header| header.parent);
    let id = id.map(|id| id.to_string()).unwrap_or_default();
    journal::note("begun", n, "victim", &id);
}

async fn step(work: &Work, number: u32) {
    let outer = format!("step-{number}");
    let inner = format!("inner-{number}");
    let step = journal::begin(work.n, &outer);
    if work.bytes > 0 {
        step.metadata("filler", "x".repeat(work.bytes));
    }
    let inside = async {
        let subsegment = journal::begin(work.n, &inner);
        tokio::task::yield_now().await;
        journal::finish(work.n, &inner, subsegment);
    };
    step.context().scope(inside).await;
    journal::finish(work.n, &outer, step);
}

async fn get_item(table: &aws_sdk_dynamodb::Client) -> Result<(), Error> {
    let key = AttributeValue::S("o-1".to_owned());
    let request = table.get_item().table_name("orders").key("orderId", key);
    request.send().await?;
    Ok(())
}
