//! Work in several contexts that take turns on one thread: each subsegment has its own parent, and
//! each annotation is on the subsegment of its context.

use serde_json::{Value, json};

use crate::victim::Victim;

/// Turns enough that each kind of future is polled dozens of times.
fn woven() -> Value {
    json!({ "turns": 20, "steps": 2 })
}

#[tokio::test]
async fn contexts_that_take_turns_stay_apart() {
    let victim = Victim::start().await;
    for n in 1..=2 {
        let outcome = victim.invoke(n, woven()).await;
        assert!(outcome.is_response(), "{outcome:?}");
    }
    victim.end("nothing").await;
}

#[tokio::test]
async fn concurrent_invocations_that_take_turns_stay_apart() {
    let victim = Victim::start_with(|function, _| function.managed_instances(4)).await;
    let outcomes = tokio::join!(
        victim.invoke(1, woven()),
        victim.invoke(2, woven()),
        victim.invoke(3, woven()),
        victim.invoke(4, woven()),
    );
    assert!(outcomes.0.is_response(), "{outcomes:?}");
    let documents = victim.end("nothing").await;
    assert_eq!(documents.len(), victim.oracle().certain());
}

#[tokio::test]
async fn contexts_stay_apart_without_the_extension() {
    let victim = Victim::start_alone(|function, _| function).await;
    let outcome = victim.invoke(1, woven()).await;
    assert!(outcome.is_response(), "{outcome:?}");
    victim.end("nothing").await;
}
