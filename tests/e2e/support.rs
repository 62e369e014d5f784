//! Helpers for several modules.

use e2e::invocation::{Answer, Invocation};
use e2e::rie::Rie;
use e2e::world::World;
use serde_json::{Value, json};
use tracestitch_local::store::Document;

pub(crate) const ROOT: &str = "1-5759e988-bd862e3fe1be46a994272793";
pub(crate) const SAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
pub(crate) const NOT_SAMPLED: &str =
    "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0";

/// Returns a sampled invocation with this event.
pub(crate) fn sampled(event: Value) -> Invocation {
    Invocation::new(event.to_string()).traced(SAMPLED)
}

/// Returns an order as API Gateway (HTTP API) sends it to order-api.
pub(crate) fn order(id: &str, quantity: i64) -> Value {
    let body = json!({ "orderId": id, "item": "teapot", "quantity": quantity }).to_string();
    json!({
        "version": "2.0",
        "routeKey": "POST /orders",
        "rawPath": "/orders",
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "shop.example" },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "shop.example",
            "http": {
                "method": "POST",
                "path": "/orders",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "test"
            },
            "requestId": "request",
            "routeKey": "POST /orders",
            "stage": "$default",
            "time": "20/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_176_000_000_u64
        },
        "body": body,
        "isBase64Encoded": false
    })
}

/// Returns the parent that the runtime got: the id of the function's segment, which Lambda sends.
pub(crate) fn function_segment(answer: &Answer) -> String {
    let header = answer
        .trace_header
        .as_ref()
        .expect("the invocation had a valid header");
    header
        .parent
        .expect("active tracing names a parent")
        .to_string()
}

/// Returns all documents and the subsegments embedded in them.
pub(crate) fn entities(documents: &[Document]) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    let mut waiting: Vec<Value> = documents
        .iter()
        .map(|document| document.body.clone())
        .collect();
    while let Some(entity) = waiting.pop() {
        waiting.extend(
            entity["subsegments"]
                .as_array()
                .into_iter()
                .flatten()
                .cloned(),
        );
        found.push(entity);
    }
    found
}

/// Returns the only entity with this name.
#[track_caller]
pub(crate) fn the<'a>(entities: &'a [Value], name: &str) -> &'a Value {
    let mut named = entities.iter().filter(|entity| entity["name"] == name);
    let first = named
        .next()
        .unwrap_or_else(|| panic!("no {name} in {entities:#?}"));
    assert!(
        named.next().is_none(),
        "more than one {name} in {entities:#?}"
    );
    first
}

/// Ends the environment and returns all entities that X-Ray has of it.
pub(crate) async fn finish(world: &World, rie: &mut Rie) -> Vec<Value> {
    rie.stop().await;
    entities(&world.sound_documents().await)
}

/// Returns the lines that the tracer wrote to the function's standard error.
pub(crate) fn warnings(rie: &Rie) -> Vec<String> {
    rie.function_stderr()
        .lines()
        .filter(|line| line.starts_with("tracestitch "))
        .map(str::to_owned)
        .collect()
}
