mod carried;

use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use serde_json::json;
use tracing::{Instrument, info_span, instrument};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::tests::{
    header::{PARENT, ROOT, SAMPLED},
    kept::Kept,
};

/// Runs `work` as a handler under this layer. Returns its documents.
async fn traced<F: Future>(layer: SpanLayer, header: &str, work: F) -> Kept {
    let subscriber = tracing_subscriber::registry().with(layer);
    let _guard = tracing::subscriber::set_default(subscriber);
    let kept = Kept::default();
    kept.invoke(header, work).await;
    kept
}

#[instrument(fields(total = tracing::field::Empty))]
async fn price(order_id: &str, items: u32, message: Option<&str>) -> u32 {
    tracing::Span::current().record("total", 15);
    crate::capture("ask", tokio::task::yield_now()).await;
    15
}

#[tokio::test]
async fn instrumented_function_is_a_subsegment() {
    let layer = SpanLayer::new().annotate(["order_id"]);
    let kept = traced(layer, SAMPLED, async {
        assert_eq!(price("o-1", 3, Some("a body")).await, 15);
        crate::capture("after", async {}).await;
    })
    .await;
    let (handler, price) = (kept.one("order-worker"), kept.one("price"));
    assert_eq!(price["parent_id"], handler["id"]);
    assert_eq!(price["annotations"], json!({ "order_id": "o-1" }));
    assert_eq!(
        price["metadata"],
        json!({ "default": { "items": 3, "total": 15 } })
    );
    assert_eq!(
        kept.one("ask")["parent_id"],
        price["id"],
        "calls hang under the span"
    );
    assert_eq!(
        kept.one("after")["parent_id"],
        handler["id"],
        "not after it"
    );
}

#[tokio::test]
async fn spans_hang_under_each_other_and_under_captures() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let work = async { info_span!("inner").in_scope(|| crate::annotate("here", true)) };
        crate::capture("middle", work)
            .instrument(info_span!("outer"))
            .await;
    })
    .await;
    let (outer, middle, inner) = (kept.one("outer"), kept.one("middle"), kept.one("inner"));
    assert_eq!(middle["parent_id"], outer["id"]);
    assert_eq!(inner["parent_id"], middle["id"]);
    assert_eq!(inner["annotations"]["here"], true);
}

#[tokio::test]
async fn joined_futures_keep_their_spans() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let one = |name: &'static str| {
            let work = async move {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                    crate::capture(name, async {}).await;
                }
            };
            work.instrument(info_span!("branch", name))
        };
        tokio::join!(one("a"), one("b"));
    })
    .await;
    for name in ["a", "b"] {
        let closed = kept.closed();
        let branch = closed
            .iter()
            .find(|d| d["metadata"]["default"]["name"] == name)
            .unwrap();
        let calls: Vec<_> = closed.iter().filter(|d| d["name"] == name).collect();
        assert_eq!(calls.len(), 3);
        assert!(
            calls.iter().all(|call| call["parent_id"] == branch["id"]),
            "{name}"
        );
    }
}

#[instrument(err)]
async fn refuse() -> Result<(), std::io::Error> {
    Err(std::io::Error::other("out of stock"))
}

#[tokio::test]
async fn error_events_are_causes() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let _ = refuse().await;
        info_span!("chain").in_scope(|| {
            let source = "x".parse::<i32>().unwrap_err();
            let error = std::io::Error::other(source);
            tracing::error!(error = &error as &dyn Error, "not priced");
        });
        info_span!("text").in_scope(|| tracing::error!("no answer from http://h/?token={}", 1));
        info_span!("literal").in_scope(|| tracing::error!(error = "no price"));
        info_span!("warned").in_scope(|| tracing::warn!("slow"));
    })
    .await;
    let exception = |name| kept.one(name)["cause"]["exceptions"][0].clone();
    assert_eq!(kept.one("refuse")["fault"], true);
    assert_eq!(exception("refuse")["message"], "out of stock");
    assert_eq!(
        exception("chain")["message"],
        "invalid digit found in string"
    );
    assert_eq!(exception("text")["message"], "no answer from http://h/");
    assert_eq!(exception("literal")["message"], "no price");
    assert!(kept.one("warned").get("fault").is_none());
    assert!(kept.one("order-worker").get("fault").is_none());
}

#[tokio::test]
async fn filter_selects_by_target_and_level() {
    let mut names = Vec::new();
    for filter in [
        None,
        Some("off,chosen=debug"),
        Some("debug,tracestitch=off"),
    ] {
        let layer = SpanLayer::new();
        let layer = match filter {
            Some(filter) => layer.filter(filter.parse().unwrap()),
            None => layer,
        };
        let kept = traced(layer, SAMPLED, async {
            for span in [
                tracing::debug_span!(target: "chosen", "chosen debug"),
                tracing::info_span!("own info"),
                tracing::debug_span!("own debug"),
            ] {
                // An unrecorded span does not hide its parent either.
                span.in_scope(|| crate::capture_sync("call", || {}));
            }
        })
        .await;
        let closed = kept.closed();
        let spans = closed
            .iter()
            .map(|d| d["name"].as_str().unwrap().to_owned());
        names.push(spans.filter(|name| name.contains(' ')).collect::<Vec<_>>());
    }
    assert_eq!(names, [["own info"], ["chosen debug"], ["chosen debug"]]);
}

#[tokio::test]
async fn nothing_is_recorded_outside_or_unsampled() {
    let layer = tracing_subscriber::registry().with(SpanLayer::new());
    tracing::subscriber::with_default(layer, || {
        let span = info_span!("outside");
        span.in_scope(|| assert!(!Context::current().is_recording()));
    });
    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let kept = traced(SpanLayer::new(), &unsampled, async {
        assert_eq!(price("o-1", 3, None).await, 15);
        let header = Context::current().trace_header().unwrap().to_string();
        assert!(header.ends_with("Sampled=0"), "the context is not touched");
    })
    .await;
    assert!(kept.events().is_empty());
}

#[tokio::test]
async fn panic_in_a_span_is_its_fault() {
    crate::trace::panic_hook::install();
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let work = async { panic!("in a span") }.instrument(info_span!("charge"));
        assert!(AssertUnwindSafe(work).catch_unwind().await.is_err());
        crate::annotate("after", true);
    })
    .await;
    let exception = &kept.one("charge")["cause"]["exceptions"][0];
    assert_eq!(exception["message"], "in a span");
    assert!(exception["stack"].is_array(), "{exception}");
    assert_eq!(kept.one("order-worker")["annotations"]["after"], true);
}

#[tokio::test]
async fn guard_that_leaves_late_does_not_change_the_context() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let (one, two) = (info_span!("one"), info_span!("two"));
        let one_entered = one.enter();
        let two_entered = two.enter();
        drop(one_entered);
        crate::annotate("in", "two");
        drop(two_entered);
    })
    .await;
    assert_eq!(kept.one("two")["annotations"]["in"], "two");
}

#[tokio::test]
async fn spans_beyond_the_limit_are_counted_and_left_out() {
    fn dig(depth: u32) {
        if depth > 0 {
            info_span!("dig").in_scope(|| dig(depth - 1));
        }
    }
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        dig(100);
        for _ in 0..1000 {
            drop(info_span!("one of many"));
        }
    })
    .await;
    let counted = |name| kept.closed().iter().filter(|d| d["name"] == name).count();
    assert_eq!((counted("dig"), counted("one of many")), (64, 936));
    let ours = &kept.one("order-worker")["metadata"]["tracestitch"];
    assert_eq!(ours["subsegments_left_out"], 36 + 64);
}

#[tokio::test]
async fn field_may_annotate_while_it_is_formatted() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            crate::annotate("written", true);
            f.write_str("chatty")
        }
    }
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let span = info_span!("work", late = tracing::field::Empty);
        let _entered = span.enter();
        span.record("late", tracing::field::debug(Chatty));
        tracing::error!(error = ?Chatty);
    })
    .await;
    let work = kept.one("work");
    assert_eq!(work["annotations"]["written"], true);
    assert_eq!(work["metadata"]["default"]["late"], "chatty");
    assert_eq!(work["cause"]["exceptions"][0]["message"], "chatty");
}

#[tokio::test]
async fn spans_left_out_of_order_restore_the_context() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let (one, two) = (info_span!("one"), info_span!("two"));
        let one_entered = one.enter();
        let two_entered = two.enter();
        drop(one_entered);
        drop(two_entered);
        crate::capture("after", async {}).await;
    })
    .await;
    assert_eq!(
        kept.one("after")["parent_id"],
        kept.one("order-worker")["id"]
    );
}

#[tokio::test]
async fn second_layer_makes_no_second_subsegment() {
    let layers = tracing_subscriber::registry()
        .with(SpanLayer::new())
        .with(SpanLayer::new());
    let _guard = tracing::subscriber::set_default(layers);
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        info_span!("work").in_scope(|| crate::annotate("in", "work"));
        crate::annotate("after", true);
    })
    .await;
    assert_eq!(kept.one("work")["annotations"]["in"], "work");
    assert_eq!(kept.one("order-worker")["annotations"]["after"], true);
}

#[tokio::test]
async fn urls_in_fields_are_cleaned() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let url = "https://me:SECRET@shop.example/orders?token=SECRET";
        drop(info_span!("fetch", url, uri = %url, all = ?[url]));
    })
    .await;
    let fetch = kept.one("fetch");
    let url = "https://shop.example/orders";
    assert_eq!(
        fetch["metadata"]["default"],
        json!({ "url": url, "uri": url, "all": format!("[\"{url}\"]") })
    );
    assert!(!format!("{:?}", kept.events()).contains("SECRET"));
}

#[tokio::test]
async fn error_that_panics_while_it_is_read_is_contained() {
    #[derive(Debug)]
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no message")
        }
    }
    impl Error for Broken {}
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let error: &(dyn Error + 'static) = &Broken;
        info_span!("field", error).in_scope(|| {});
        info_span!("event").in_scope(|| tracing::error!(error));
    })
    .await;
    for name in ["field", "event"] {
        assert_eq!(kept.one(name)["fault"], true, "{name}");
    }
}

#[tokio::test]
async fn disabled_spans_are_not_created() {
    let log = crate::LogLayer::from_env().to(std::io::sink());
    let layers = tracing_subscriber::registry()
        .with(SpanLayer::new().filtered())
        .with(log.filtered());
    // `tracing` uses this hint before it asks any layer.
    assert_eq!(layers.max_level_hint(), Some(LevelFilter::INFO));
    let _guard = tracing::subscriber::set_default(layers);
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        info_span!("work").in_scope(|| {
            tracing::error!("failed");
            crate::annotate("in", "work");
        });
    })
    .await;
    let work = kept.one("work");
    assert_eq!(work["annotations"]["in"], "work");
    assert_eq!(work["cause"]["exceptions"][0]["message"], "failed");
}

#[tokio::test]
async fn layer_can_be_reloaded() {
    let (layer, reload) = tracing_subscriber::reload::Layer::new(SpanLayer::new());
    let subscriber = tracing_subscriber::registry().with(layer);
    let _guard = tracing::subscriber::set_default(subscriber);
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        let old = info_span!("old");
        reload.reload(SpanLayer::new()).unwrap();
        old.in_scope(|| crate::capture_sync("call", || {}));
    })
    .await;
    let old = kept.one("old");
    assert!(old.get("fault").is_none(), "{old}");
    assert_eq!(kept.one("call")["parent_id"], old["id"]);
}

#[tokio::test]
async fn values_keep_their_types() {
    let layer = SpanLayer::new().annotate(["less", "most", "half", "yes", "text"]);
    let kept = traced(layer, SAMPLED, async {
        drop(info_span!(
            "annotations",
            less = -3,
            most = u64::MAX,
            half = 0.5,
            yes = true,
            text = "t"
        ));
        drop(info_span!(
            "metadata",
            a = -3,
            b = u64::MAX,
            c = 0.5,
            d = true,
            e = "t"
        ));
    })
    .await;
    // Compared as text, because equal values may be written differently.
    assert_eq!(
        kept.one("annotations")["annotations"].to_string(),
        json!({ "half": 0.5, "less": -3, "most": u64::MAX, "text": "t", "yes": true }).to_string()
    );
    assert_eq!(
        kept.one("metadata")["metadata"]["default"].to_string(),
        json!({ "a": -3, "b": u64::MAX, "c": 0.5, "d": true, "e": "t" }).to_string()
    );
}

#[tokio::test]
async fn numbers_without_a_json_form_are_texts() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        drop(info_span!("work", share = f64::NAN, rate = 0.5));
    })
    .await;
    let metadata = &kept.one("work")["metadata"]["default"];
    assert_eq!(metadata, &json!({ "share": "NaN", "rate": 0.5 }));
}

#[tracing::instrument]
fn login(user: &str, password: &str, api_key: &str, credentials: &[&str], attempt: u32) {}

#[tokio::test]
async fn arguments_with_names_of_secrets_are_not_recorded() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        login("ada", "SECRET1", "SECRET2", &["SECRET3"], 2);
    });
    let document = kept.await.one("login");
    let expected = json!({ "user": "ada", "attempt": 2 });
    assert_eq!(document["metadata"]["default"], expected);
    let layer = SpanLayer::new().annotate(["api_key"]);
    let kept = traced(layer, SAMPLED, async { login("ada", "", "k-1", &[], 1) });
    let document = kept.await.one("login");
    assert_eq!(
        document["annotations"]["api_key"], "k-1",
        "named by the user"
    );
}

/// A client with settings and `#[instrument]` on each method, as teams write it.
#[derive(Debug)]
struct Repository {
    _client: &'static str,
}

impl Repository {
    #[instrument]
    fn load(&self, id: u32) {}
}

#[tokio::test]
async fn self_of_a_method_is_not_recorded() {
    let kept = traced(SpanLayer::new(), SAMPLED, async {
        let _client = "Client { config: .. }";
        Repository { _client }.load(7);
    })
    .await;
    let load = kept.one("load");
    assert_eq!(load["metadata"], json!({ "default": { "id": 7 } }));
}

/// A value with endless output that counts what is read of it.
struct Endless(&'static str, AtomicUsize);

impl fmt::Debug for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            self.1.fetch_add(1, Ordering::Relaxed);
            f.write_str(self.0)?;
        }
    }
}

#[tokio::test]
async fn formatting_of_a_field_stops_at_its_limit() {
    let long = "x ".repeat(10_000) + "https://me:SECRET@h/";
    // The password continues beyond the cut.
    let half = format!(
        "{}https://me:{}@h/",
        "x ".repeat(490),
        "SECRET".repeat(2000)
    );
    for (text, expected) in [(&*long, "x ".repeat(500)), (&half, "x ".repeat(490))] {
        let endless = Endless(text.to_owned().leak(), Default::default());
        let kept = traced(SpanLayer::new(), SAMPLED, async {
            let span = info_span!("work", endless = ?endless, text);
            span.in_scope(|| tracing::error!(error = ?endless));
        })
        .await;
        let work = kept.one("work");
        let fields = &work["metadata"]["default"];
        for field in ["endless", "text"] {
            assert_eq!(
                fields[field].as_str().map(str::trim),
                Some(expected.trim()),
                "{field}"
            );
        }
        let written = endless.1.into_inner();
        let bytes = written * text.len();
        assert!(bytes < 1_000_000, "{bytes} bytes");
        assert!(!work.to_string().contains("SECRET"), "{work}");
    }
}
