//! Cost that grows faster than the input would let one value of a user delay a function.
//!
//! Each input has 128 KiB or 80,000 parts. Work in proportion to that takes a fraction of a second,
//! work in proportion to its square many minutes: even a busy machine cannot confuse the two.

use std::hint::black_box;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tracestitch_wire::{
    daemon::DaemonAddress,
    datagram::{decode, fit},
    document::{
        AnnotationKey, AnnotationText, Document, Facts, Name, Text, Url, clean_message, clean_url,
        clean_urls, first_clause, to_value,
    },
    handoff::Decoder,
    header::TraceHeader,
    id::{SegmentId, TraceId},
    time::Timestamp,
    w3c,
};

const LENGTH: usize = 128 * 1024;

const DEADLINE: Duration = Duration::from_secs(120);

/// Runs `work` and fails if it does not end before the deadline.
fn ends(name: &str, work: impl FnOnce() + Send + 'static) {
    let (done, waiting) = channel();
    thread::spawn(move || {
        work();
        // Fails after the deadline.
        let _ = done.send(());
    });
    waiting
        .recv_timeout(DEADLINE)
        .unwrap_or_else(|error| panic!("{name}: {error} after {DEADLINE:?}"));
}

fn document() -> Document {
    let started = Timestamp::from_micros(1_478_293_361_271_000);
    Document::subsegment("n".into(), TraceId::new(started), SegmentId::new(), started)
}

/// Each pattern repeated, alone and behind a URL in an open bracket.
fn texts() -> impl Iterator<Item = (String, String)> {
    let patterns = [
        "é",
        ":",
        "a://",
        "a://b:c ",
        "(a://b:c) ",
        "'",
        ":\\",
        "a://b@",
        "=,",
        ": ",
        ",Root=",
        "{\"a\":",
        "\nDETAIL",
    ];
    patterns.into_iter().flat_map(|pattern| {
        ["", "(a://b:c"].map(|before| {
            let name = format!("{before:?} and then {pattern:?}");
            (
                name,
                before.to_owned() + &pattern.repeat(LENGTH / pattern.len()),
            )
        })
    })
}

#[test]
fn long_texts_are_read_in_linear_time() {
    for (name, text) in texts() {
        ends(&name, move || {
            black_box((clean_urls(&text), clean_url(&text), clean_message(&text)));
            black_box(first_clause(&text));
            black_box((
                text.parse::<TraceHeader>().is_ok(),
                w3c::parse(&text).is_ok(),
            ));
            black_box((
                text.parse::<TraceId>().is_ok(),
                text.parse::<SegmentId>().is_ok(),
            ));
            black_box((w3c::state(&text), text.parse::<DaemonAddress>().is_ok()));
            black_box((decode(text.as_bytes()).is_ok(), fit(text.clone().into())));
            black_box((Name::from(text.clone()), Text::from(text.clone())));
            black_box((Url::from(text.clone()), AnnotationKey::from(text.clone())));
            black_box(AnnotationText::from(text.clone()));
            let mut facts = Facts::new();
            facts.insert("text", text.as_str());
            facts.insert("value", json!([text]));
            let mut document = document();
            document.aws = facts;
            document.put_metadata("default".into(), "text".into(), text.into());
            black_box(fit(document.to_json()));
        });
    }
}

#[test]
fn documents_of_many_parts_are_made_and_fitted_in_linear_time() {
    const COUNT: usize = 80_000;
    ends("metadata keys", || {
        let mut document = document();
        for n in 0..COUNT {
            document.put_metadata("default".into(), format!("key {n}").into(), n.into());
            document.annotate(format!("key {n}").into(), n.into());
        }
        document.edit_texts(&mut |_, text| (text.len() % 2 == 0).then(|| text.to_owned()));
        black_box(fit(document.to_json()));
    });
    ends("metadata namespaces", || {
        let mut document = document();
        for n in 0..COUNT {
            document.put_metadata(format!("namespace {n}").into(), "key".into(), n.into());
        }
        black_box(fit(document.to_json()));
    });
    ends("values in each other", || {
        let nested = (0..60).fold(Value::from(vec![1; COUNT]), |inner, _| json!([inner]));
        let value = to_value(&nested).unwrap();
        let mut document = document();
        document.put_metadata("default".into(), "value".into(), value.clone());
        document.aws.insert("value", value);
        document.edit_texts(&mut |_, _| None);
        black_box(fit(document.to_json()));
    });
    ends("subsegments", || {
        let child = json!({ "name": "n", "id": "1", "subsegments": [{ "name": "m" }] });
        let tree = json!({ "name": "n", "subsegments": vec![child; COUNT] });
        black_box(fit(tree.to_string().into_bytes()));
    });
    ends("levels of subsegments", || {
        let tree = (0..60).fold(json!({ "name": "x".repeat(LENGTH / 60) }), |tree, n| {
            json!({ "name": n.to_string(), "k": "x".repeat(LENGTH / 60), "subsegments": [tree] })
        });
        black_box(fit(tree.to_string().into_bytes()));
    });
    ends("stack frames", || {
        let exception = json!({ "stack": vec![1; COUNT] });
        let cause = json!({ "cause": { "exceptions": vec![exception; 20] } });
        black_box(fit(cause.to_string().into_bytes()));
    });
}

/// At worst, bytes arrive one by one.
#[test]
fn frames_are_decoded_in_linear_time() {
    ends("bytes", || {
        let mut decoder = Decoder::default();
        let frame = [0, 0, 0, 1, 6];
        for byte in frame.into_iter().cycle().take(LENGTH) {
            decoder.push(&[byte]);
            black_box(decoder.next().is_ok());
        }
    });
    ends("a long frame", || {
        let mut decoder = Decoder::default();
        decoder.push(&131_072_u32.to_be_bytes());
        for _ in 0..131_071 {
            decoder.push(&[6]);
            black_box(decoder.next().is_ok());
        }
    });
    ends("frames at once", || {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0, 0, 1, 6].repeat(LENGTH / 5));
        while let Ok(Some(message)) = decoder.next() {
            black_box(message);
        }
    });
}
