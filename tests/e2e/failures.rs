//! Handlers and calls that fail: the trace has the reason, and the function survives.

use e2e::world::World;
use serde_json::json;

use crate::support::{finish, sampled, the};

#[tokio::test]
async fn handler_error_is_a_fault_with_its_message() {
    let world = World::start().await;
    let mut rie = world.probe().start().await;

    let answer = rie
        .invoke(sampled(
            json!({ "do": "fail", "message": "out of teapots" }),
        ))
        .await;
    assert_eq!(
        answer.json()["errorMessage"],
        "out of teapots",
        "{}",
        rie.logs()
    );

    let entities = finish(&world, &mut rie).await;
    let handler = the(&entities, "probe");
    assert_eq!(handler["fault"], true);
    assert_eq!(
        handler["cause"]["exceptions"][0]["message"],
        "out of teapots"
    );
}

#[tokio::test]
async fn panic_is_a_fault_with_its_message() {
    let world = World::start().await;
    let mut rie = world.probe().start().await;

    rie.invoke(sampled(json!({ "do": "panic", "message": "no kettle" })))
        .await;
    let after = rie
        .invoke(sampled(json!({ "do": "fail", "message": "second" })))
        .await;
    assert_eq!(
        after.json()["errorMessage"],
        "second",
        "the function survives\n{}",
        rie.logs()
    );

    let entities = finish(&world, &mut rie).await;
    let messages: Vec<_> = entities
        .iter()
        .filter(|entity| entity["fault"] == true)
        .filter_map(|entity| entity["cause"]["exceptions"][0]["message"].as_str())
        .collect();
    assert!(
        messages.iter().any(|message| message.contains("no kettle")),
        "{messages:?}"
    );
}

#[tokio::test]
async fn cancelled_call_is_a_fault_with_a_cause() {
    let world = World::start().await;
    world.aws.script("PutItem", [e2e::fake_aws::Reaction::Hang]);
    let mut rie = world.probe().start().await;

    rie.invoke(sampled(
        json!({ "do": "cancel", "operation": "PutItem", "after_millis": 200 }),
    ))
    .await;

    let entities = finish(&world, &mut rie).await;
    let call = the(&entities, "DynamoDB");
    assert_eq!(call["fault"], true, "{call:#}");
    assert!(
        call["cause"]["exceptions"][0]["message"].is_string(),
        "{call:#}"
    );
}

#[tokio::test]
async fn broken_connection_is_a_fault_of_the_call() {
    let world = World::start().await;
    world
        .aws
        .script("PutItem", [e2e::fake_aws::Reaction::Reset]);
    let mut rie = world.probe().start().await;

    let answer = rie
        .invoke(sampled(json!({ "do": "call", "operation": "PutItem" })))
        .await;
    assert!(
        answer.json()["errorMessage"].is_string(),
        "the handler sees the error"
    );

    let entities = finish(&world, &mut rie).await;
    assert_eq!(the(&entities, "DynamoDB")["fault"], true);
}

#[tokio::test]
async fn failed_call_is_marked_by_its_status_and_code() {
    use e2e::fake_aws::Reaction::Error;
    let rows = [
        (
            400,
            "ValidationException",
            ["error"].as_slice(),
            "an error of the caller",
        ),
        (
            400,
            "ThrottlingException",
            &["error", "throttle"],
            "throttled according to its code",
        ),
        (
            500,
            "InternalServerError",
            &["fault"],
            "a fault of the service",
        ),
    ];
    for (status, code, expected, reason) in rows {
        let world = World::start().await;
        world.aws.script(
            "PutItem",
            [Error {
                status,
                code,
                message: "no",
            }],
        );
        let mut rie = world.probe().start().await;

        rie.invoke(sampled(json!({ "do": "call", "operation": "PutItem" })))
            .await;

        let entities = finish(&world, &mut rie).await;
        let call = the(&entities, "DynamoDB");
        let flags: Vec<_> = ["error", "throttle", "fault"]
            .into_iter()
            .filter(|flag| call[*flag] == true)
            .collect();
        assert_eq!(flags, expected, "{reason}: {call:#}");
    }
}
