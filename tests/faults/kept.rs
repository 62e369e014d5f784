//! Facts that the function put on open documents before it died: the documents that the extension
//! closes have them. Other suites check annotations and metadata at each kill; here are errors,
//! spans, HTTP requests and work that ends by SIGKILL.

use e2e::binaries;
use e2e::fake_aws::Reaction;
use e2e::journal::Verb;
use e2e::oracle::{PARENT, root};
use e2e::wait::TIMEOUT;
use e2e::world::World;
use serde_json::json;
use tracestitch_local::emulator::{InvocationResult, Invoke, Tracing};
use tracestitch_local::store::Document;

use crate::victim::Victim;

/// Kills the function once the facts of the work called `name` must survive.
async fn kill_when_kept(victim: &Victim, name: &str) {
    victim.noted(Verb::Kept, 1, name, 1).await;
    assert!(victim.environment.kill_function().await);
}

#[tokio::test]
async fn recorded_error_survives_a_kill() {
    let victim = Victim::start().await;
    let work = json!({ "then": "refuse" });
    tokio::join!(victim.invoke(1, work), kill_when_kept(&victim, "victim"));
    let documents = victim.end("FunctionCrash").await;
    let doomed = documents.iter().find(|document| document.name == "doomed");
    let exceptions = &doomed.unwrap().body["cause"]["exceptions"];
    assert_eq!(exceptions.as_array().unwrap().len(), 2, "{exceptions}");
}

#[tokio::test]
async fn field_and_error_of_a_span_survive_a_kill() {
    let victim = Victim::start_with(|function, _| function.env("SPANS", "1")).await;
    let work = json!({ "then": "price" });
    tokio::join!(victim.invoke(1, work), kill_when_kept(&victim, "victim"));
    victim.end("FunctionCrash").await;
}

/// The process kills itself right after it has yielded.
#[tokio::test]
async fn facts_survive_an_immediate_kill() {
    let victim = Victim::start().await;
    victim
        .invoke(1, json!({ "steps": 2, "then": "kill" }))
        .await;
    victim.end("FunctionCrash").await;
}

#[tokio::test]
async fn facts_of_contexts_that_take_turns_survive_a_kill() {
    let victim = Victim::start().await;
    let work = json!({ "turns": 20, "then": "kill" });
    victim.invoke(1, work).await;
    victim.end("FunctionCrash").await;
}

/// The handler runs under `http::run`. An invocation that it answers shows the expected request.
#[tokio::test]
async fn request_of_an_http_service_survives_a_timeout() {
    let world = World::start().await;
    world
        .aws
        .script("PutItem", [Reaction::Answer, Reaction::Hang]);
    let function = world
        .emulated("order-api", binaries::order_api())
        .tracing(Tracing::PassThrough)
        .timeout(TIMEOUT);
    let environment = function.start().await.expect("the programs are there");
    let mut outcomes = Vec::new();
    for n in 1..=2 {
        let header = format!("Root={};Parent={PARENT};Sampled=1", root(n));
        let invoke = Invoke::new(order()).trace_header(header);
        outcomes.push(environment.invoke(invoke).await);
    }
    assert!(outcomes[0].is_response(), "{outcomes:?}");
    let timed_out = InvocationResult::TimedOut { after: TIMEOUT };
    assert_eq!(outcomes[1].result, timed_out);
    environment.shutdown().await;
    let documents = world.sound_documents().await;
    let handler = |n| {
        let is_handler =
            |document: &&Document| document.name == "order-api" && document.trace_id == root(n);
        let handler = documents.iter().find(is_handler);
        &handler
            .unwrap_or_else(|| panic!("no handler in {documents:#?}"))
            .body
    };
    let (answered, closed) = (handler(1), handler(2));
    assert_eq!(closed["fault"], true, "{closed:#}");
    for fact in ["/http/request", "/annotations/order_id"] {
        let (found, expected) = (closed.pointer(fact), answered.pointer(fact));
        assert!(expected.is_some(), "{answered:#}");
        assert_eq!(found, expected, "{fact} of {closed:#}");
    }
}

/// Returns an order as API Gateway (HTTP API) sends it.
fn order() -> String {
    let order = json!({ "orderId": "o-1", "item": "teapot", "quantity": 2 });
    let http = json!({
        "method": "POST", "path": "/orders", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
        "userAgent": "test",
    });
    let event = json!({
        "version": "2.0", "routeKey": "POST /orders", "rawPath": "/orders", "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "shop.example" },
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "shop.example",
            "http": http, "requestId": "request", "routeKey": "POST /orders", "stage": "$default",
            "time": "20/Nov/2026:12:00:00 +0000", "timeEpoch": 1_795_176_000_000_u64,
        },
        "body": order.to_string(), "isBase64Encoded": false,
    });
    event.to_string()
}
