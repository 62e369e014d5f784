//! Traces that are not sampled: they are not recorded, and their header is passed on.

use e2e::binaries;
use e2e::invocation::Invocation;
use e2e::world::World;
use serde_json::json;
use tracestitch_local::emulator::{Invoke, Tracing};

use crate::support::{NOT_SAMPLED, ROOT, SAMPLED, order};

#[tokio::test]
async fn unsampled_trace_is_not_recorded_and_its_decision_is_passed_on() {
    let world = World::start().await;
    let mut rie = world
        .function("order-api", binaries::order_api())
        .start()
        .await;

    let event = Invocation::new(order("o-1", 2).to_string()).traced(NOT_SAMPLED);
    let answer = rie.invoke(event).await;
    assert_eq!(
        answer.json()["statusCode"],
        202,
        "{}\n{}",
        answer.json(),
        rie.logs()
    );
    rie.stop().await;

    assert!(world.sound_documents().await.is_empty());
    let headers: Vec<_> = world
        .aws
        .received()
        .iter()
        .filter_map(|request| request.trace_header())
        .collect();
    assert_eq!(
        headers.len(),
        world.aws.received().len(),
        "each request has one header"
    );
    for header in headers {
        let text = header.to_string();
        assert!(text.starts_with(&format!("Root={ROOT};Parent=")), "{text}");
        assert!(text.ends_with(";Sampled=0"), "{text}");
    }
}

/// Settings that decide whether an invocation is recorded that Lambda itself does not trace.
#[tokio::test]
async fn environment_variables_decide_what_is_recorded() {
    let (bare, root_alone) = (json!({}), format!("Root={ROOT}"));
    let (known, own) = (
        json!({ "_traceId": SAMPLED }),
        json!({ "meta": { "trace": SAMPLED } }),
    );
    let rules = "TRACESTITCH_SAMPLING";
    for (variable, value, event, header, expected, reason) in [
        (
            rules,
            "source=direct rate=1",
            &bare,
            "",
            Some(""),
            "a trace begins here",
        ),
        (
            rules,
            "source=http rate=1",
            &bare,
            "",
            None,
            "the rule is for another source",
        ),
        (
            rules,
            "rate=1",
            &bare,
            &*root_alone,
            Some(ROOT),
            "the caller made no decision",
        ),
        (
            rules,
            "rate=1",
            &bare,
            NOT_SAMPLED,
            None,
            "the caller made a decision",
        ),
        (rules, "rate=2", &known, "", Some(ROOT), "an invalid rule"),
        (
            "TRACESTITCH_PATHS",
            "meta.trace",
            &own,
            "",
            Some(ROOT),
            "a configured field",
        ),
        (
            "TRACESTITCH_PATHS",
            "meta..trace",
            &own,
            "",
            None,
            "an invalid path",
        ),
        (
            "TRACESTITCH_IGNORE",
            "http",
            &known,
            "",
            Some(ROOT),
            "another carrier is ignored",
        ),
        (
            "TRACESTITCH_IGNORE",
            "http,embedded",
            &known,
            "",
            None,
            "its carrier is ignored",
        ),
    ] {
        let world = World::start().await;
        let function = world
            .emulated("probe", binaries::probe())
            .tracing(Tracing::PassThrough)
            .env(variable, value);
        let environment = function.start().await.expect("the programs are there");
        let mut event = event.clone();
        event["do"] = "echo".into();
        let invoke = Invoke::new(event.to_string()).trace_header(header);
        let outcome = environment.invoke(invoke).await;
        assert!(outcome.is_response(), "{outcome:?}");
        environment.shutdown().await;

        let documents = world.sound_documents().await;
        let handler = documents.iter().find(|document| document.name == "probe");
        assert_eq!(
            handler.is_some(),
            expected.is_some(),
            "{reason}: {documents:?}"
        );
        let Some(handler) = handler else { continue };
        let root = expected.filter(|root| !root.is_empty());
        assert!(root.is_none_or(|root| handler.trace_id == root), "{reason}");
    }
}
