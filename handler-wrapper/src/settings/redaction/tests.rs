use std::panic::AssertUnwindSafe;

use serde_json::json;
use tracestitch_wire::document::{Cause, Exception, Http, Request, Sql, StackFrame};

use super::*;
use crate::{
    tests::{
        header::SAMPLED,
        kept::{Event, Kept, invoke},
    },
    trace::subsegment::Subsegment,
};

const SECRET: &str = "sk_live_4242";

/// Runs `work` as a handler with these rules. Returns all that its sink received.
async fn leaves<F: Future>(rules: Redaction, work: F) -> (Kept, String) {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.redaction = rules;
    invoke(tracer, SAMPLED, work).await;
    let json = |event| match event {
        Event::Open(document) | Event::Close(document) => document.to_string(),
        _ => String::new(),
    };
    let all = kept.events().into_iter().map(json).collect();
    (kept, all)
}

fn hide() -> Redaction {
    Redaction::from_fn(|_, text| {
        text.contains(SECRET)
            .then(|| text.replace(SECRET, "[gone]"))
    })
}

/// A secret in every place of a document that can hold text.
async fn plant() {
    crate::annotate(format!("key_{SECRET}"), format!("value {SECRET}"));
    crate::metadata(
        format!("key {SECRET}"),
        json!({ "deep": [{ SECRET: SECRET }] }),
    );
    crate::record_error(&std::io::Error::other(format!("failed with {SECRET}")));
    let _: Result<(), _> = crate::try_capture(format!("call {SECRET}"), async {
        Err(std::io::Error::other(format!("failed with {SECRET}")))
    })
    .await;
    let planted = Subsegment::begin_with(&crate::Context::current(), "planted", |document| {
        document.aws.insert("secret_id", SECRET);
        document.put_metadata(SECRET.into(), SECRET.into(), SECRET.into());
        document.http = Some(Http {
            request: Some(Request {
                method: SECRET.into(),
                url: format!("https://shop.example/{SECRET}").into(),
            }),
            response: None,
        });
        document.sql = Some(Box::new(Sql {
            url: Some(format!("postgres://h/{SECRET}").into()),
            sanitized_query: Some(format!("select {SECRET}").into()),
            database_type: Some(SECRET.into()),
            user: Some(SECRET.into()),
        }));
        let mut exception = Exception::new(SECRET, SECRET);
        exception.stack.push(StackFrame {
            path: SECRET.into(),
            line: 1,
            label: SECRET.into(),
        });
        document.cause = Some(Box::new(Cause::from_exception(exception)));
    });
    planted.finish();
}

#[tokio::test]
async fn planted_secrets_do_not_leave() {
    let (_, all) = leaves(Redaction::default(), plant()).await;
    let planted = all.matches(SECRET).count();
    assert!(planted > 30, "the test plants {planted}");
    let (kept, all) = leaves(hide(), plant()).await;
    assert!(!all.contains(SECRET), "{all}");
    // The key of an annotation has no room for brackets.
    let shown = all.matches("[gone]").count() + all.matches("_gone_").count();
    assert!(shown > 20, "{all}");
    let planted = kept.one("planted");
    assert_eq!(planted["sql"]["sanitized_query"], "select [gone]");
    assert_eq!(
        planted["http"]["request"]["url"],
        "https://shop.example/[gone]"
    );
}

#[tokio::test]
async fn secret_in_a_panic_does_not_leave() {
    let (kept, all) = leaves(hide(), async {
        let work = crate::capture("charge", async { panic!("card {SECRET}") });
        let caught = futures_util::FutureExt::catch_unwind(AssertUnwindSafe(work)).await;
        assert!(caught.is_err());
    })
    .await;
    assert!(!all.contains(SECRET), "{all}");
    let charge = kept.one("charge");
    assert_eq!(charge["cause"]["exceptions"][0]["message"], "card [gone]");
}

#[tokio::test]
async fn rule_that_panics_lets_nothing_pass() {
    let rule = |place: Place<'_>, _: &str| match place {
        Place::Annotation("card") => panic!("a bug in the rule"),
        _ => None,
    };
    let (kept, all) = leaves(Redaction::from_fn(rule), async {
        crate::annotate("card", SECRET)
    })
    .await;
    assert!(!all.contains(SECRET));
    assert_eq!(kept.one("order-worker")["annotations"]["card"], REDACTED);
}

#[tokio::test]
async fn rules_see_the_replacements_of_earlier_rules() {
    let first = Redaction::from_fn(|_, text| (text == "a").then(|| "b".to_owned()));
    let second = Redaction::from_fn(|_, text| (text == "b").then(|| "c".to_owned()));
    let (kept, _) = leaves(first.and(second), async { crate::annotate("x", "a") }).await;
    assert_eq!(kept.one("order-worker")["annotations"]["x"], "c");
}

#[cfg(feature = "regex")]
#[tokio::test]
async fn patterns_match_anywhere() {
    let rules = Redaction::patterns([r"sk_live_\d+", r"\b\d{4} \d{4}\b"]).unwrap();
    let (kept, all) = leaves(rules, async {
        plant().await;
        crate::annotate("card", "no 4242 4242.");
    })
    .await;
    assert!(!all.contains(SECRET), "{all}");
    assert_eq!(
        kept.one("order-worker")["annotations"]["card"],
        "no [redacted]."
    );
}

#[cfg(feature = "regex")]
#[test]
fn invalid_pattern_is_named() {
    let error = Redaction::patterns(["ok", "(("]).unwrap_err().to_string();
    assert!(
        error.starts_with(r#"not a regular expression: "((": "#),
        "{error}"
    );
}

/// Otherwise the rule would be applied to its own subsegments, without end.
#[tokio::test]
async fn records_of_a_rule_are_left_out() {
    let rule = |_: Place<'_>, text: &str| {
        crate::annotate("seen", true);
        crate::capture_sync("rule", || {
            text.contains(SECRET).then(|| "[gone]".to_owned())
        })
    };
    let (kept, all) = leaves(Redaction::from_fn(rule), plant()).await;
    assert!(!all.contains(SECRET), "{all}");
    assert!(!all.contains("rule"), "{all}");
    assert!(
        kept.one("order-worker")["annotations"]
            .get("seen")
            .is_none()
    );
}
