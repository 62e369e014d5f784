//! Tracing that is disabled or outside an invocation: nothing is recorded or changed.

use std::process::Stdio;

use e2e::binaries;
use e2e::world::World;
use serde_json::json;

use crate::support::sampled;

#[tokio::test]
async fn disabled_tracing_is_transparent() {
    let world = World::start().await;
    let mut rie = world
        .probe()
        .env("TRACESTITCH_ENABLED", "false")
        .start()
        .await;

    let answer = rie
        .invoke(sampled(json!({ "do": "call", "operation": "PutItem" })))
        .await;
    assert_eq!(answer.status, 200, "{}", rie.logs());
    assert_eq!(rie.function_stderr(), "");
    rie.stop().await;

    assert!(world.sound_documents().await.is_empty());
    // The AWS SDK itself passes the runtime's header on.
    let header = world.aws.received_for("PutItem")[0].trace_header();
    assert_eq!(header, answer.trace_header);
}

#[tokio::test]
async fn calls_outside_an_invocation_record_nothing() {
    let world = World::start().await;

    let output = tokio::process::Command::new(binaries::outside())
        .env_clear()
        .envs([
            ("AWS_ENDPOINT_URL", world.aws.url()),
            (
                "AWS_XRAY_DAEMON_ADDRESS",
                world.daemon.address().to_string(),
            ),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ])
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the program starts");

    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(world.sound_documents().await.is_empty());
    assert_eq!(
        world.aws.received_for("GetItem")[0].trace_header_text(),
        None
    );
}
