//! Tests of the harness: the properties of the emulator on which the other tests rely.

use e2e::binaries;
use e2e::invocation::Invocation;
use e2e::rie::Function;

const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

fn probe() -> Function {
    Function::new("probe", binaries::probe())
}

#[tokio::test]
async fn runtime_gets_the_header_that_active_tracing_rebuilds() {
    let rie = probe().start().await;

    let answer = rie
        .invoke(Invocation::new(r#"{"do":"echo"}"#).traced(HEADER))
        .await;

    let header = answer.trace_header.clone().expect("a header was given");
    assert_eq!(answer.json()["trace"], header.to_string(), "{}", rie.logs());
    assert!(
        header
            .to_string()
            .starts_with("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=")
    );
    assert!(
        !header.to_string().contains("53995c3f42cd8ad8"),
        "Parent is the id of the function's segment"
    );
}

#[tokio::test]
async fn runtime_gets_no_header_if_none_was_sent() {
    let rie = probe().start().await;

    let answer = rie.invoke(Invocation::new(r#"{"do":"echo"}"#)).await;

    assert_eq!(
        answer.json()["trace"],
        serde_json::Value::Null,
        "{}",
        rie.logs()
    );
}

#[tokio::test]
async fn function_that_exits_is_restarted() {
    let rie = probe().start().await;

    let died = rie
        .invoke(Invocation::new(r#"{"do":"exit","code":3}"#))
        .await;
    let first = rie.function_pid();
    let lives = rie.invoke(Invocation::new(r#"{"do":"echo"}"#)).await;

    assert_eq!((died.status, lives.status), (502, 200), "{}", rie.logs());
    assert_ne!(first, rie.function_pid());
}

#[tokio::test]
async fn dropped_emulator_ends_its_processes() {
    let rie = probe().start().await;
    rie.invoke(Invocation::new(r#"{"do":"echo"}"#)).await;
    let process = format!("/proc/{}", rie.function_pid());
    assert!(std::path::Path::new(&process).exists());

    drop(rie);

    e2e::wait::until("the function's end", || {
        (!std::path::Path::new(&process).exists()).then_some(())
    })
    .await;
}
