use std::sync::Arc;

use crate::{
    settings::redaction::Redaction,
    tests::{
        header::{PARENT, ROOT},
        kept::{Event, Kept},
    },
    trace::{context::Context, subsegment::Subsegment, trace::Trace},
};

use super::{MAX_BYTES, MAX_DOCUMENTS, SMALLEST};

/// Returns the trace of an unsampled invocation, with `TRACESTITCH_ERRORS=always`.
fn unsampled(redaction: Redaction) -> (Kept, Arc<Trace>) {
    let kept = Kept::default();
    let mut tracer = kept.tracer();
    tracer.errors_always = true;
    tracer.redaction = redaction;
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let trace = Trace::new(Arc::new(tracer), header.parse().ok(), "r-1");
    (kept, Arc::new(trace))
}

/// Begins the handler of an unsampled invocation.
fn handler() -> (Kept, Subsegment) {
    let (kept, trace) = unsampled(Redaction::default());
    let handler = Subsegment::begin_handler(&trace).unwrap();
    (kept, handler)
}

fn fail(subsegment: Subsegment) {
    subsegment.record_error(&std::fmt::Error);
    subsegment.finish();
}

fn under<T>(subsegment: &Subsegment, work: impl FnOnce() -> T) -> T {
    subsegment.context().sync_scope(work)
}

#[track_caller]
fn has(kept: &Kept, sent: &[&str], open: &[&str]) {
    let (is_sent, is_open) = kept.extension();
    assert_eq!((is_sent, is_open), (owned(sent), owned(open)));
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn extension_holds_all_documents_before_a_kill() {
    let (kept, handler) = handler();
    has(&kept, &[], &["order-worker in progress"]);
    under(&handler, || {
        let outer = Subsegment::begin("outer");
        under(&outer, || crate::capture_sync("inner", || {}));
        has(
            &kept,
            &[],
            &["inner", "order-worker in progress", "outer in progress"],
        );
        outer.finish();
    });
    has(&kept, &[], &["inner", "order-worker in progress", "outer"]);
    handler.finish();
    has(&kept, &[], &[]);
}

#[test]
fn failed_trace_is_sent_in_order_of_the_ends() {
    let (kept, handler) = handler();
    under(&handler, || {
        crate::capture_sync("one", || {});
        crate::capture_sync("two", || {});
    });
    fail(handler);
    has(&kept, &["one", "two", "order-worker"], &[]);
}

/// Finished documents are no longer among those in progress, however many there are.
#[test]
fn documents_are_discarded_once() {
    let (kept, handler) = handler();
    under(&handler, || {
        crate::capture_sync("finished", || {});
        Subsegment::begin("presigned").discard();
    });
    handler.finish();
    let discarded = kept.events().into_iter();
    let discarded = discarded.filter(|event| matches!(event, Event::Discard(_)));
    assert_eq!(discarded.count(), 3);
}

#[test]
fn work_after_a_success_is_not_recorded() {
    let (kept, handler) = handler();
    let late = under(&handler, || Subsegment::begin("late"));
    let presigned = under(&handler, || Subsegment::begin("presigned"));
    let context = late.context();
    handler.finish();
    let events = kept.events().len();
    context.sync_scope(|| crate::capture_sync("begun later", || {}));
    late.record_error(&std::fmt::Error);
    late.finish();
    presigned.discard();
    has(&kept, &[], &[]);
    assert_eq!(kept.events().len(), events, "nothing more is said of it");
}

#[test]
fn work_after_a_failure_is_recorded() {
    let (kept, handler) = handler();
    let late = under(&handler, || Subsegment::begin("late"));
    let context = late.context();
    fail(handler);
    has(&kept, &["order-worker"], &["late in progress"]);
    context.sync_scope(|| crate::capture_sync("begun later", || {}));
    late.finish();
    has(&kept, &["order-worker", "begun later", "late"], &[]);
}

#[test]
fn withdrawn_document_is_discarded() {
    let (kept, handler) = handler();
    under(&handler, || Subsegment::begin("presigned").discard());
    has(&kept, &[], &["order-worker in progress"]);
    let late = under(&handler, || Subsegment::begin("presigned"));
    fail(handler);
    late.discard();
    has(&kept, &["order-worker"], &[]);
}

#[test]
fn kept_documents_are_bounded() {
    let (kept, handler) = handler();
    let outer = under(&handler, || Subsegment::begin("outer"));
    under(&outer, || {
        for _ in 0..MAX_DOCUMENTS + 3 {
            crate::capture_sync("one of many", || {});
        }
    });
    let (_, open) = kept.extension();
    assert_eq!(open.len(), MAX_DOCUMENTS + 2, "and what they are a part of");
    outer.finish();
    fail(handler);
    let (sent, open) = kept.extension();
    assert_eq!(sent.len(), MAX_DOCUMENTS + 1, "and the outermost");
    assert_eq!(open, [""; 0]);
}

/// A failure most likely comes last.
#[test]
fn failures_are_kept_beyond_the_bound_of_other_documents() {
    let (kept, handler) = handler();
    under(&handler, || {
        for _ in 0..MAX_DOCUMENTS + 3 {
            crate::capture_sync("one of many", || {});
        }
        for nth in 0..MAX_DOCUMENTS + 3 {
            let failure = Subsegment::begin("failure");
            failure.amend(|document| {
                let is_ours = nth % 2 == 0;
                (document.fault, document.error) = (is_ours, !is_ours);
            });
            failure.finish();
        }
    });
    fail(handler);
    let (sent, open) = kept.extension();
    let failures = sent.iter().filter(|name| *name == "failure").count();
    assert_eq!(
        (sent.len(), failures),
        (2 * MAX_DOCUMENTS + 1, MAX_DOCUMENTS)
    );
    assert_eq!(open, [""; 0]);
}

/// Work of the init phase.
#[test]
fn document_that_ended_before_the_outermost_began_is_sent() {
    let ended = |trace: &Trace| {
        let header = trace.recorded().unwrap();
        let mut document = trace.segment(header, None, crate::support::clock::now());
        document.name = "init".into();
        document.finish(crate::support::clock::now());
        trace.close(&mut document);
    };
    let (kept, trace) = unsampled(Redaction::default());
    ended(&trace);
    has(&kept, &[], &[]);
    let handler = Subsegment::begin_handler(&trace).unwrap();
    has(&kept, &[], &["init", "order-worker in progress"]);
    fail(handler);
    has(&kept, &["init", "order-worker"], &[]);

    let (kept, trace) = unsampled(Redaction::default());
    ended(&trace);
    Subsegment::begin_handler(&trace).unwrap().finish();
    has(&kept, &[], &[]);
}

#[test]
fn redaction_applies_to_all_documents_that_leave() {
    const SECRET: &str = "sk_live_4242";
    let rules = Redaction::from_fn(|_, text| text.contains(SECRET).then(|| "[gone]".to_owned()));
    let (kept, trace) = unsampled(rules);
    let handler = Subsegment::begin_handler(&trace).unwrap();
    under(&handler, || {
        let named = Subsegment::begin("named");
        named.annotate("key", SECRET);
        named.finish();
        let with = Subsegment::begin_with(&Context::current(), "with", |document| {
            document.annotate("key".into(), SECRET.into());
        });
        with.finish();
    });
    fail(handler);
    let events = format!("{:?}", kept.events());
    assert!(!events.contains(SECRET), "{events}");
    let told = kept.events().into_iter().filter_map(|event| match event {
        Event::Open(document) => Some(document["annotations"]["key"] == "[gone]"),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(
        told,
        [false, false, true, true, true],
        "the handler, both as they end, and one as it begins"
    );
}

/// A message in its producer's trace, in an invocation with another trace.
#[test]
fn outcomes_of_message_and_invocation_are_independent() {
    let (kept, trace) = unsampled(Redaction::default());
    let invocation = Subsegment::begin_handler(&trace).unwrap();
    let message = |name: &'static str| {
        let trace = Arc::new(trace.carried(trace.header.clone().unwrap()));
        let header = trace.recorded().unwrap();
        let mut document = trace.segment(header, None, crate::support::clock::now());
        document.name = name.into();
        Subsegment::start(trace, document)
    };
    let (good, bad) = (message("good"), message("bad"));
    under(&good, || crate::capture_sync("in the good one", || {}));
    under(&bad, || crate::capture_sync("in the bad one", || {}));
    good.finish();
    fail(bad);
    has(
        &kept,
        &["in the bad one", "bad"],
        &["order-worker in progress"],
    );
    invocation.finish();
    has(&kept, &["in the bad one", "bad"], &[]);
}

/// Threads end their work while the outermost document ends: discarded documents stay discarded.
#[test]
fn concurrent_ends_leave_nothing_open() {
    for round in 0..200 {
        let (kept, handler) = handler();
        let failing = round % 2 == 0;
        let start = Arc::new(std::sync::Barrier::new(4));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (context, start) = (handler.context(), start.clone());
                let begun = under(&handler, || Subsegment::begin("begun"));
                std::thread::spawn(move || {
                    start.wait();
                    begun.finish();
                    context.sync_scope(|| crate::capture_sync("more", || {}));
                })
            })
            .collect();
        start.wait();
        if failing {
            fail(handler);
        } else {
            handler.finish();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        let (sent, open) = kept.extension();
        assert_eq!(open, [""; 0], "round {round}");
        assert_eq!(sent.len(), if failing { 7 } else { 0 }, "round {round}");
    }
}

#[test]
fn kept_documents_are_bounded_in_bytes_and_keep_what_fits() {
    let (kept, handler) = handler();
    under(&handler, || {
        for name in ["one", "two", "three"] {
            crate::capture_sync(name, || {
                crate::annotate("name", name);
                crate::metadata("texts", vec!["x".repeat(1000); 1000]);
            });
        }
        for _ in 0..100 {
            crate::capture_sync("of a trace of more than the memory", || {
                crate::metadata("texts", vec!["x".repeat(1000); 60]);
            });
        }
    });
    fail(handler);
    let closed = kept.closed();
    assert_eq!(closed.len(), 104, "none is left out");
    let bytes: usize = closed
        .iter()
        .map(|document| document.to_string().len())
        .sum();
    assert!(bytes < MAX_BYTES + 104 * SMALLEST, "{bytes}");
    for name in ["one", "two", "three"] {
        let document = kept.one(name);
        assert_eq!(document["annotations"]["name"], name);
        assert_eq!(document["metadata"]["tracestitch"]["trimmed"], "metadata");
    }
}

#[test]
fn documents_that_are_left_out_are_counted_on_the_outermost() {
    let (kept, handler) = handler();
    under(&handler, || {
        for _ in 0..MAX_DOCUMENTS + 3 {
            crate::capture_sync("one of many", || {});
        }
    });
    fail(handler);
    let ours = &kept.one("order-worker")["metadata"]["tracestitch"];
    assert_eq!(ours["subsegments_left_out"], 3);
}

/// Peak memory belongs to a whole process, so this test starts itself again in another one. It
/// prints the figure: `cargo test -p tracestitch --all-features --lib -- --nocapture peak_memory`.
#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "the figure is for the reader")]
#[test]
fn peak_memory_of_kept_documents_is_bounded() {
    const INSIDE: &str = "TRACESTITCH_TEST_PEAK";
    const MIB: usize = 1024 * 1024;
    if std::env::var_os(INSIDE).is_none() {
        let inside = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("trace::tail_sampled::tests::peak_memory_of_kept_documents_is_bounded")
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&inside.stdout);
        assert!(output.contains("1 passed"), "{output}");
        let figure = output.lines().find(|line| line.contains("peak memory"));
        return println!("{}", figure.unwrap());
    }
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    };
    let sink = Arc::new(crate::transport::sink::NullSink);
    let mut tracer = crate::trace::tracer::Tracer::new("f".to_owned(), false, sink);
    tracer.errors_always = true;
    let header = format!("Root={ROOT};Parent={PARENT};Sampled=0");
    let trace = Arc::new(Trace::new(Arc::new(tracer), header.parse().ok(), "r-1"));
    let handler = Subsegment::begin_handler(&trace).unwrap();
    let before = peak();
    under(&handler, || {
        for _ in 0..40 {
            crate::capture_sync("large", || {
                crate::metadata("texts", vec!["x".repeat(1024); 2 * 1024]);
            });
        }
    });
    let after = peak();
    println!(
        "peak memory of 40 documents with 2 MiB of metadata: {} MiB, {} MiB before them",
        after / MIB,
        before / MIB
    );
    assert!(after - before < 48 * MIB, "{} MiB", (after - before) / MIB);
    fail(handler);
}
