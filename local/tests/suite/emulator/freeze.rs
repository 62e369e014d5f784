//! The freeze between invocations.

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::*;

#[tokio::test]
async fn all_processes_are_frozen_between_invocations() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function().extension(&paths[0]).start().await.unwrap();
    for _ in 0..2 {
        answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
        environment.settled().await;
        let pids = [
            environment.function_pid().unwrap(),
            environment.extension_pids()[0],
        ];
        for pid in pids {
            let stopped = || (state(pid) == Some('T')).then_some(());
            eventually(&format!("process {pid} stops"), stopped).await;
        }
    }
}

#[tokio::test]
async fn processes_run_on_without_the_freeze() {
    let environment = function().freeze(false).start().await.unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.settled().await;
    assert_ne!(state(environment.function_pid().unwrap()), Some('T'));
}

#[tokio::test]
async fn stopped_process_remains_stopped_without_the_freeze() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .freeze(false)
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    environment.settled().await;
    let pid = environment.extension_pids()[0];
    let group = Pid::from_raw(pid.try_into().unwrap());
    killpg(group, Signal::SIGSTOP).unwrap();
    let stopped = || (state(pid) == Some('T')).then_some(());
    eventually("the process stops", stopped).await;
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    assert_eq!(state(pid), Some('T'));
}
