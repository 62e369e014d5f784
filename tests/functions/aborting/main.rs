//! A wrapped function that panics. Built with `--profile abort`, a panic ends the process.

#[path = "../victim/journal.rs"]
mod journal;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracestitch::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let n = event.payload["n"].as_u64().unwrap_or_default();
    for name in ["init", "settings"] {
        journal::note("absent", n, name, "");
    }
    journal::note("begun", n, "victim", "");
    let step = journal::begin(n, "step", "victim");
    let order = format!("o-{n}");
    journal::fact(n, "step", &json!({ "annotations": { "order": order } }));
    step.annotate("order", order);
    journal::finish(n, "step", step);
    let doomed = journal::begin(n, "doomed", "victim");
    if !cfg!(panic = "abort") {
        // In another profile the panic would unwind, and the test would prove nothing.
        return Err("this function is to be built with --profile abort".into());
    }
    doomed.context().scope(async { panic!("no kettle") }).await
}
