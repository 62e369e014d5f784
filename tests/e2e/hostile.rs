//! Invalid input: the handler runs and answers, and one warning names the problem.

use e2e::binaries;
use e2e::invocation::Invocation;
use e2e::rie::{Function, Rie};
use e2e::world::World;

use serde_json::json;

use crate::support::{SAMPLED, order, sampled, warnings};

const ECHO: &str = r#"{"do":"echo"}"#;

/// Invokes it twice: a warning must be written only once.
async fn invoke_twice(rie: &Rie, invocation: Invocation) {
    for _ in 0..2 {
        let answer = rie.invoke(invocation.clone()).await;
        let handled = answer.json().get("trace").is_some();
        assert!(
            answer.status == 200 && handled,
            "{:?}\n{}",
            answer.body,
            rie.logs()
        );
    }
}

#[track_caller]
fn assert_one_warning(rie: &Rie, about: &str) {
    let lines = warnings(rie);
    assert_eq!(lines.len(), 1, "{lines:#?}\n{}", rie.logs());
    assert!(
        lines[0].contains(about),
        "expected it to mention {about:?}: {}",
        lines[0]
    );
    assert!(!lines[0].chars().any(char::is_control), "{:?}", lines[0]);
    assert!(lines[0].len() < 500, "{} bytes", lines[0].len());
}

async fn hostile_header(header: &[u8]) {
    let world = World::start().await;
    let mut rie = world.probe().start().await;
    invoke_twice(&rie, Invocation::new(ECHO).trace_header_verbatim(header)).await;
    assert_one_warning(&rie, "trace header");
    rie.stop().await;
    assert!(
        world.sound_documents().await.is_empty(),
        "there is no trace to record"
    );
}

#[tokio::test]
async fn header_of_random_bytes_is_refused() {
    // The same bytes in each run, so that a failure can be repeated.
    let mut random = fastrand::Rng::with_seed(7);
    // HTTP cannot carry control characters.
    let bytes: Vec<u8> = (0..300)
        .map(|_| random.u8(0x21..=0xff))
        .filter(|&b| b != 0x7f)
        .collect();
    hostile_header(&bytes).await;
}

#[tokio::test]
async fn header_of_64_kib_of_semicolons_is_refused() {
    hostile_header(&[b';'; 64 * 1024]).await;
}

#[tokio::test]
async fn header_whose_parent_is_not_hexadecimal_is_refused() {
    hostile_header(b"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=<script>alert(1)</;Sampled=1")
        .await;
}

#[tokio::test]
async fn function_survives_a_body_that_is_not_json() {
    hostile_body(b"{\"do\":").await;
}

#[tokio::test]
async fn function_survives_a_body_that_is_not_utf8() {
    hostile_body(b"\xff\xfe{\"do\":\"echo\"}\xc0").await;
}

/// Sends an event that cannot be deserialised: the caller gets an error and the function survives.
/// If the event had to be searched for a trace, one warning says why none was found.
async fn hostile_body(body: &'static [u8]) {
    let world = World::start().await;
    let mut rie = world.probe().start().await;

    let refused = rie.invoke(Invocation::new(body).traced(SAMPLED)).await;
    let pid = rie.function_pid();
    for _ in 0..2 {
        rie.invoke(Invocation::new(body)).await;
    }
    let next = rie.invoke(Invocation::new(ECHO).traced(SAMPLED)).await;

    assert!(
        refused.json().get("errorType").is_some(),
        "{:?}",
        refused.body
    );
    assert!(next.json().get("trace").is_some(), "{:?}", next.body);
    assert_eq!(rie.function_pid(), pid, "the same process");
    assert_one_warning(&rie, "expected an event in JSON");
    rie.stop().await;
    world.sound_documents().await;
}

#[tokio::test]
async fn message_whose_body_is_not_json_is_named_in_one_warning() {
    let world = World::start().await;
    let mut rie = world
        .function("order-worker", binaries::order_worker())
        .start()
        .await;
    for _ in 0..2 {
        let message = json!({ "messageId": "m-1", "body": "\u{1b}[31mplain text", "attributes": {},
            "messageAttributes": {}, "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:orders" });
        let event = json!({ "Records": [message] }).to_string();
        let answer = rie.invoke(Invocation::new(event).traced(SAMPLED)).await;
        let failed = json!({ "batchItemFailures": [{ "itemIdentifier": "m-1" }] });
        assert_eq!(answer.json(), failed, "{}", rie.logs());
    }
    assert_one_warning(
        &rie,
        "message m-1 has no trace header, and its body is not JSON",
    );
    rie.stop().await;
    world.sound_documents().await;
}

#[tokio::test]
async fn order_whose_body_is_not_utf8_is_refused() {
    let world = World::start().await;
    let mut rie = world
        .function("order-api", binaries::order_api())
        .start()
        .await;
    let mut event = order("o-1", 1);
    event["body"] = "//79wA==".into();
    event["isBase64Encoded"] = true.into();
    let answer = rie.invoke(sampled(event)).await;
    assert_eq!(answer.json()["statusCode"], 400, "{}", rie.logs());
    rie.stop().await;
    assert_eq!(world.sound_documents().await.len(), 1, "the handler");
}

/// Runs the function with an invalid setting: its documents arrive by UDP.
async fn hostile_setting(prepare: impl FnOnce(&World, Function) -> Function, about: &str) {
    let world = World::start().await;
    let function = prepare(&world, world.probe());
    let mut rie = function.start().await;
    invoke_twice(&rie, Invocation::new(ECHO).traced(SAMPLED)).await;
    assert_one_warning(&rie, about);
    rie.stop().await;
    assert!(
        rie.directory().join("opt/task/function").is_file(),
        "a file of someone else is not removed"
    );
    assert_eq!(world.sound_documents().await.len(), 2, "{}", rie.logs());
}

#[tokio::test]
async fn socket_path_that_is_too_long_is_ignored() {
    let long = format!("/tmp/{}", "x".repeat(300));
    hostile_setting(
        |_, function| function.env("TRACESTITCH_SOCKET", long),
        "TRACESTITCH_SOCKET",
    )
    .await;
}

#[tokio::test]
async fn socket_path_that_is_a_regular_file_is_ignored() {
    let path = "/opt/task/function";
    hostile_setting(|_, function| function.env("TRACESTITCH_SOCKET", path), path).await;
}

#[tokio::test]
async fn socket_path_below_a_regular_file_is_ignored() {
    let path = "/opt/task/function/below.sock";
    hostile_setting(|_, function| function.env("TRACESTITCH_SOCKET", path), path).await;
}

#[tokio::test]
async fn invalid_daemon_address_is_named_in_one_warning() {
    let world = World::start().await;
    let mut rie = world
        .probe()
        .without_extension()
        .runtime_env("AWS_XRAY_DAEMON_ADDRESS", "::not an address\u{1b}[31m::")
        .start()
        .await;
    invoke_twice(&rie, Invocation::new(ECHO).traced(SAMPLED)).await;
    assert_one_warning(&rie, "AWS_XRAY_DAEMON_ADDRESS");
    rie.stop().await;
}
