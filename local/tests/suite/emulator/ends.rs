//! Ends of invocations and processes.

use std::os::unix::process::ExitStatusExt;

use super::*;

/// Waits for the first SHUTDOWN of extension `alpha`, and returns its reason.
async fn shutdown_reason(environment: &Environment) -> Value {
    let events = || {
        let events = logged(environment, "alpha", "event");
        events
            .into_iter()
            .find(|event| event["eventType"] == "SHUTDOWN")
    };
    let event = eventually("alpha gets SHUTDOWN", events).await;
    event["shutdownReason"].clone()
}

fn pids(environment: &Environment) -> Vec<u32> {
    environment
        .extension_pids()
        .into_iter()
        .chain(environment.function_pid())
        .collect()
}

#[tokio::test]
async fn function_is_killed_after_its_timeout_and_started_again() {
    let (_directory, paths) = extensions(&["alpha"]);
    let limit = Duration::from_secs(2);
    let environment = function()
        .extension(&paths[0])
        .timeout(limit)
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    let before = pids(&environment);

    let outcome = environment
        .invoke(event(json!({ "do": "sleep", "seconds": 600 })))
        .await;
    assert_eq!(outcome.result, InvocationResult::TimedOut { after: limit });
    assert!(outcome.ended.duration_since(outcome.started).unwrap() >= limit);
    let payload: Value = serde_json::from_slice(&outcome.payload()).unwrap();
    let message = payload["errorMessage"].as_str().unwrap();
    assert!(
        message.ends_with("Task timed out after 2.00 seconds"),
        "{message}"
    );
    assert_eq!(shutdown_reason(&environment).await, "timeout");
    assert_eq!(pids(&environment), [0; 0], "all processes have ended");

    let outcome = environment.invoke(event(json!({ "do": "echo" }))).await;
    answer(&outcome);
    assert!(outcome.init.is_some(), "all processes start again");
    let after = pids(&environment);
    assert!(
        after.len() == 2 && after.iter().all(|pid| !before.contains(pid)),
        "{after:?}"
    );
}

#[tokio::test]
async fn function_with_extensions_gets_sigterm_first() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function().extension(&paths[0]).start().await.unwrap();
    // The function has 300 ms to log the signal, which may be too short on a busy machine.
    for _ in 0..10 {
        answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
        environment.shutdown().await;
        if !logged(&environment, "function", "SIGTERM").is_empty() {
            return;
        }
    }
    panic!("ten functions were shut down and none got SIGTERM");
}

#[tokio::test]
async fn function_without_extensions_is_killed_at_once() {
    let environment = function()
        .timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let outcome = environment
        .invoke(event(json!({ "do": "sleep", "seconds": 600 })))
        .await;
    assert!(
        matches!(outcome.result, InvocationResult::TimedOut { .. }),
        "{outcome:?}"
    );
    assert_eq!(logged(&environment, "function", "SIGTERM").len(), 0);
}

#[tokio::test]
async fn process_that_ignores_shutdown_is_killed() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .env("EXTENSION_MODE", "stubborn")
        .env("IGNORE_SIGTERM", "1")
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    let pids = pids(&environment);
    let clock = Instant::now();
    environment.shutdown().await;
    assert!(
        clock.elapsed() >= Duration::from_millis(1900),
        "the processes get two seconds"
    );
    for pid in pids {
        is_gone(pid).await;
    }
    assert_eq!(shutdown_reason(&environment).await, "spindown");
}

#[tokio::test]
async fn invocation_after_a_shutdown_starts_new_processes() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function().extension(&paths[0]).start().await.unwrap();
    environment.shutdown().await;
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.shutdown().await;
    assert_eq!(pids(&environment), [0; 0]);
    let outcome = environment.invoke(event(json!({ "do": "echo" }))).await;
    answer(&outcome);
    assert!(outcome.init.is_some());
}

#[tokio::test]
async fn extension_gets_only_registered_events() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .env("EXTENSION_EVENTS", "INVOKE")
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.shutdown().await;
    let events = logged(&environment, "alpha", "event");
    assert!(
        events.iter().all(|event| event["eventType"] == "INVOKE"),
        "{events:?}"
    );
}

#[tokio::test]
async fn crash_ends_the_invocation_and_the_environment() {
    for (what, code, signal) in [
        (json!({ "do": "exit", "status": 3 }), Some(3), None),
        (json!({ "do": "exit", "status": 0 }), Some(0), None),
        (json!({ "do": "kill" }), None, Some(9)),
    ] {
        let (_directory, paths) = extensions(&["alpha"]);
        let environment = function().extension(&paths[0]).start().await.unwrap();
        let outcome = environment.invoke(event(what.clone())).await;
        let InvocationResult::Crashed {
            status: Some(status),
            reason,
        } = &outcome.result
        else {
            panic!("{what}: {outcome:?}");
        };
        assert_eq!(
            (status.code(), status.signal()),
            (code, signal),
            "{what}: {reason}"
        );
        assert_eq!(shutdown_reason(&environment).await, "failure", "{what}");
        answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    }
}

#[tokio::test]
async fn answer_counts_if_the_function_ends_right_after_it() {
    let environment = function().start().await.unwrap();
    let outcome = environment
        .invoke(event(json!({ "do": "exit after answer" })))
        .await;
    assert_eq!(answer(&outcome), "last words");
    let outcome = environment.invoke(event(json!({ "do": "echo" }))).await;
    assert!(
        outcome.is_response() && outcome.init.is_some(),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn function_killed_during_an_invocation_has_crashed() {
    let environment = function().start().await.unwrap();
    let (outcome, ()) = tokio::join!(
        environment.invoke(event(json!({ "do": "sleep", "seconds": 600 }))),
        async {
            first_logged(&environment, "function", "sleeping").await;
            assert!(environment.kill_function().await);
        }
    );
    let InvocationResult::Crashed {
        status: Some(status),
        ..
    } = outcome.result
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(status.signal(), Some(9));
}

#[tokio::test]
async fn function_killed_while_frozen_is_started_again() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function().extension(&paths[0]).start().await.unwrap();
    assert!(!environment.kill_function().await, "no function runs yet");
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.settled().await;
    assert!(environment.kill_function().await);
    assert_eq!(environment.function_pid(), None);
    let outcome = environment.invoke(event(json!({ "do": "echo" }))).await;
    assert!(
        outcome.is_response() && outcome.init.is_some(),
        "{outcome:?}"
    );
    assert_eq!(shutdown_reason(&environment).await, "failure");
}

#[tokio::test]
async fn failing_extension_ends_the_environment() {
    for (mode, expected) in [
        ("exit", "alpha ended with exit status: 7"),
        ("init error", "reported Extension.Sad"),
    ] {
        let (_directory, paths) = extensions(&["alpha"]);
        let environment = function()
            .extension(&paths[0])
            .env("EXTENSION_MODE", mode)
            .start()
            .await
            .unwrap();
        let outcome = environment
            .invoke(event(json!({ "do": "sleep", "seconds": 600 })))
            .await;
        let InvocationResult::Crashed { reason, .. } = &outcome.result else {
            panic!("{mode}: {outcome:?}");
        };
        assert!(reason.contains(expected), "{mode}: {reason}");
        assert_eq!(pids(&environment), [0; 0], "{mode}");
    }
}

#[tokio::test]
async fn slow_extension_uses_the_remaining_time() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .env("EXTENSION_MODE", "slow")
        .timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let clock = Instant::now();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.settled().await;
    assert!(
        clock.elapsed() >= Duration::from_secs(1),
        "the extension has the whole timeout"
    );
    assert_eq!(pids(&environment), [0; 0], "then all processes ended");
}

#[tokio::test]
async fn failed_init_phase_fails_the_invocation() {
    for (init, limit, expected) in [
        ("error", PATIENCE, "FunctionError"),
        ("exit", PATIENCE, "Crashed"),
        ("sleep", Duration::from_secs(1), "TimedOut"),
    ] {
        let environment = function()
            .env("INIT", init)
            .init_limit(limit)
            .start()
            .await
            .unwrap();
        let outcome = environment.invoke(event(json!({ "do": "echo" }))).await;
        assert!(
            format!("{:?}", outcome.result).starts_with(expected),
            "{init}: {outcome:?}"
        );
        assert!(outcome.init.is_some(), "{init}");
        assert_eq!(environment.function_pid(), None, "{init}");
    }
}

#[tokio::test]
async fn dropped_environment_kills_all_processes() {
    let (_directory, paths) = extensions(&["alpha"]);
    for (freeze, reason) in [(true, "stopped ones"), (false, "running ones")] {
        let environment = function()
            .extension(&paths[0])
            .freeze(freeze)
            .start()
            .await
            .unwrap();
        let outcome = environment.invoke(event(json!({ "do": "child" }))).await;
        let child = answer(&outcome).as_u64().unwrap() as u32;
        environment.settled().await;
        let pids = pids(&environment);
        assert_eq!(pids.len(), 2, "{reason}");
        drop(environment);
        for pid in pids.into_iter().chain([child]) {
            is_gone(pid).await;
        }
    }
}

#[test]
fn panic_kills_all_processes() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let environment = function().start().await.unwrap();
            tokio::select! {
                _ = environment.invoke(event(json!({ "do": "sleep", "seconds": 600 }))) => {}
                _ = first_logged(&environment, "function", "sleeping") => {}
            }
            sender.send(environment.function_pid().unwrap()).unwrap();
            panic!("on purpose");
        });
    });
    assert!(panicked.join().is_err());
    let pid = receiver.recv().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(is_gone(pid));
}

#[tokio::test]
async fn environment_can_outlive_its_extensions() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .outlive_extensions(true)
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    let function = environment.function_pid();
    assert_eq!(environment.kill_extensions().await, 1);
    assert_eq!(environment.extension_pids(), [0; 0]);
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.settled().await;

    assert!(environment.start_extensions().await);
    assert_eq!(environment.extension_pids().len(), 1);
    let events = logged(&environment, "alpha", "event").len();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    let received = || (logged(&environment, "alpha", "event").len() > events).then_some(());
    eventually("the new process gets its event", received).await;
    assert_eq!(environment.function_pid(), function, "the same process");
    environment.shutdown().await;
    assert_eq!(shutdown_reason(&environment).await, "spindown");
}

#[tokio::test]
async fn environment_can_outlive_an_unregistered_extension() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .env("EXTENSION_NAME", "beta")
        .outlive_extensions(true)
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    assert_eq!(environment.extension_pids(), [0; 0]);
}
