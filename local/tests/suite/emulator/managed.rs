//! Managed Instances: concurrent invocations, no freeze, no INVOKE.

use super::*;

#[tokio::test]
async fn invocations_run_concurrently() {
    let environment = function().managed_instances(2).start().await.unwrap();
    // Each waits for the other.
    let (first, second) = tokio::join!(
        environment.invoke(event(json!({ "do": "meet" }))),
        environment.invoke(event(json!({ "do": "meet" }))),
    );
    assert_eq!(
        (answer(&first), answer(&second)),
        (json!("met"), json!("met"))
    );
    assert!(
        first.init.is_some() != second.init.is_some(),
        "one start for both"
    );
}

#[tokio::test]
async fn processes_are_not_frozen() {
    let environment = function().managed_instances(2).start().await.unwrap();
    let outcome = environment.invoke(event(json!({ "do": "describe" }))).await;
    assert_eq!(
        answer(&outcome)["variables"]["AWS_LAMBDA_MAX_CONCURRENCY"],
        "2"
    );
    environment.settled().await;
    assert_ne!(state(environment.function_pid().unwrap()), Some('T'));
}

#[tokio::test]
async fn extensions_get_only_shutdown() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .managed_instances(1)
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.shutdown().await;
    let attempts = logged(&environment, "alpha", "registered");
    assert_eq!(attempts[0]["status"], 403);
    assert_eq!(
        attempts[0]["body"]["errorType"],
        "Extension.InvalidEventType"
    );
    assert_eq!(attempts[1]["status"], 200);
    let kinds = || {
        let events = logged(&environment, "alpha", "event");
        (!events.is_empty()).then(|| events.iter().map(|e| e["eventType"].clone()).collect())
    };
    let kinds: Vec<_> = eventually("alpha gets an event", kinds).await;
    assert_eq!(kinds, ["SHUTDOWN"]);
}

#[tokio::test]
async fn invocation_that_times_out_fails_alone() {
    let limit = Duration::from_secs(3);
    let environment = function()
        .managed_instances(2)
        .timeout(limit)
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    let pid = environment.function_pid();
    let outcome = environment
        .invoke(event(json!({ "do": "sleep", "seconds": 4 })))
        .await;
    assert_eq!(outcome.result, InvocationResult::TimedOut { after: limit });
    assert_eq!(environment.function_pid(), pid, "the function lives on");
    let refused = || {
        logged(&environment, "function", "posted response")
            .contains(&410.into())
            .then_some(())
    };
    eventually("the late answer is refused", refused).await;
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
}

#[tokio::test]
async fn crash_fails_all_running_invocations() {
    let environment = function().managed_instances(2).start().await.unwrap();
    let (first, second) = tokio::join!(
        environment.invoke(event(json!({ "do": "sleep", "seconds": 600 }))),
        async {
            first_logged(&environment, "function", "sleeping").await;
            environment
                .invoke(event(json!({ "do": "exit", "status": 1 })))
                .await
        }
    );
    for outcome in [first, second] {
        assert!(
            matches!(outcome.result, InvocationResult::Crashed { .. }),
            "{outcome:?}"
        );
    }
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
}
