//! Functions under an emulator that freezes processes, enforces timeouts and sends Lambda's segments.

use e2e::binaries;
use e2e::fake_aws::Reaction;
use e2e::outline::outline;
use e2e::wait::TIMEOUT;
use e2e::world::World;
use serde_json::json;
use tracestitch_local::emulator::{InvocationResult, Invoke};

use crate::support::{ROOT, SAMPLED, entities, order, the};

fn probe(event: serde_json::Value) -> Invoke {
    Invoke::new(event.to_string()).trace_header(SAMPLED)
}

#[tokio::test]
async fn timeout_during_a_call_closes_call_and_handler() {
    let world = World::start().await;
    world.aws.script("PutItem", [Reaction::Hang]);
    let function = world.emulated("probe", binaries::probe()).timeout(TIMEOUT);
    let environment = function.start().await.expect("the programs are there");

    let outcome = environment
        .invoke(probe(json!({ "do": "call", "operation": "PutItem" })))
        .await;
    assert!(
        matches!(outcome.result, InvocationResult::TimedOut { .. }),
        "{outcome:?}"
    );
    environment.shutdown().await;

    let entities = entities(&world.sound_documents().await);
    let call = the(&entities, "DynamoDB");
    assert_eq!(call["fault"], true, "{call:#}");
    let cause = call["cause"]["exceptions"][0].to_string().to_lowercase();
    assert!(
        cause.contains("time"),
        "the cause mentions the timeout: {cause}"
    );
}

#[tokio::test]
async fn documents_survive_a_freeze_between_invocations() {
    const INVOCATIONS: usize = 5;
    const STEPS: usize = 20;
    let world = World::start().await;
    let environment = world
        .emulated("probe", binaries::probe())
        .start()
        .await
        .expect("the programs are there");

    for _ in 0..INVOCATIONS {
        let outcome = environment
            .invoke(probe(json!({ "do": "subsegments", "count": STEPS })))
            .await;
        assert!(outcome.is_response(), "{outcome:?}");
    }
    environment.shutdown().await;

    let entities = entities(&world.sound_documents().await);
    let steps = entities
        .iter()
        .filter(|entity| entity["name"] == "step")
        .count();
    assert_eq!(steps, INVOCATIONS * STEPS);
}

#[tokio::test]
async fn documents_are_sent_before_the_freeze() {
    let world = World::start().await;
    let environment = world
        .emulated("probe", binaries::probe())
        .start()
        .await
        .expect("the programs are there");

    environment
        .invoke(probe(json!({ "do": "subsegments", "count": 3 })))
        .await;

    // Neither a second invocation nor a shutdown follows, and a frozen process sends nothing.
    world
        .daemon
        .wait_for(
            |store| {
                store
                    .documents()
                    .filter(|document| document.name == "step")
                    .count()
                    == 3
            },
            e2e::wait::PATIENCE,
        )
        .await
        .expect("all steps arrive");
}

#[tokio::test]
async fn handler_is_a_descendant_of_lambdas_segments() {
    let world = World::start().await;
    let environment = world
        .emulated("order-api", binaries::order_api())
        .start()
        .await
        .expect("the programs are there");

    let outcome = environment
        .invoke(
            Invoke::new(order("o-1", 2).to_string()).trace_header(format!("Root={ROOT};Sampled=1")),
        )
        .await;
    assert!(outcome.is_response(), "{outcome:?}");
    environment.shutdown().await;

    let traces = world.sound_traces().await;
    assert_eq!(traces.len(), 1);
    assert!(
        traces[0].orphans().next().is_none(),
        "{}",
        outline(&traces[0])
    );
    assert!(
        outline(&traces[0]).contains("SQS aws SendMessage"),
        "{}",
        outline(&traces[0])
    );
}
