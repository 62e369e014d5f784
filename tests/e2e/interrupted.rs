//! A function that is killed during a call: its open documents are closed and arrive.

use e2e::fake_aws::Reaction;
use e2e::world::World;
use serde_json::{Value, json};

use crate::support::{entities, finish, function_segment, sampled, the};

#[track_caller]
fn assert_closed_as_fault(entity: &Value) {
    assert_eq!(entity["fault"], true, "{entity:#}");
    assert!(entity["end_time"].is_number(), "{entity:#}");
    assert!(
        entity["cause"]["exceptions"][0]["message"].is_string(),
        "{entity:#}"
    );
}

#[tokio::test]
async fn kill_during_a_call_closes_call_and_handler() {
    let world = World::start().await;
    world.aws.script("PutItem", [Reaction::Hang]);
    let mut rie = world.probe().start().await;

    let (answer, ()) = tokio::join!(
        rie.invoke(sampled(json!({ "do": "call", "operation": "PutItem" }))),
        async {
            world.aws.wait_for("PutItem", 1).await;
            rie.kill_function();
        }
    );
    assert_eq!(answer.status, 502, "{}", rie.logs());

    let entities = finish(&world, &mut rie).await;
    assert_closed_as_fault(the(&entities, "DynamoDB"));
    let handler = the(&entities, "probe");
    assert_closed_as_fault(handler);
    assert_eq!(handler["parent_id"], function_segment(&answer));
}

#[tokio::test]
async fn finished_documents_of_a_killed_function_arrive_unchanged() {
    let world = World::start().await;
    world.aws.script("PutItem", [Reaction::Hang]);
    let mut rie = world.probe().start().await;

    rie.invoke(sampled(json!({ "do": "subsegments", "count": 3 })))
        .await;
    tokio::join!(
        rie.invoke(sampled(json!({ "do": "call", "operation": "PutItem" }))),
        async {
            world.aws.wait_for("PutItem", 1).await;
            rie.kill_function();
        }
    );

    let entities = finish(&world, &mut rie).await;
    let steps: Vec<_> = entities
        .iter()
        .filter(|entity| entity["name"] == "step")
        .collect();
    assert_eq!(steps.len(), 3, "{}", rie.logs());
    assert!(steps.iter().all(|step| step["fault"] != true), "{steps:#?}");
}

#[tokio::test]
async fn invocation_after_a_kill_is_traced() {
    let world = World::start().await;
    world.aws.script("PutItem", [Reaction::Hang]);
    let mut rie = world.probe().start().await;

    tokio::join!(
        rie.invoke(sampled(json!({ "do": "call", "operation": "PutItem" }))),
        async {
            world.aws.wait_for("PutItem", 1).await;
            rie.kill_function();
        }
    );
    let next = rie.invoke(sampled(json!({ "do": "echo" }))).await;

    rie.stop().await;
    let entities = entities(&world.sound_documents().await);
    let handler = entities
        .iter()
        .find(|entity| entity["parent_id"] == function_segment(&next))
        .unwrap_or_else(|| panic!("no handler of the second invocation in {entities:#?}"));
    assert_ne!(handler["fault"], true);
}
