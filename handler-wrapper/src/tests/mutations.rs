//! Properties of the fuzz targets, for a bounded number of inputs in every test run: recorded
//! events with and without a context, and hostile texts, each changed at random.
//! `handler-wrapper/fuzz/run` runs them for any time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use tracestitch_wire::{header::TraceHeader, w3c};

use super::{
    carrying::carrying,
    recorded::{self, RECORDED},
};
use crate::incoming::embed;

const ROUNDS: usize = 20_000;

/// Pieces that mutations insert: names, and the bytes of JSON's structure.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ":",
    ",",
    "\\u",
    "\\\"",
    "null",
    "\u{e9}",
    "\0",
    "\"_traceId\":",
    "\"traceparent\":",
    "\"tracestate\":",
    "\"headers\":{",
    "\"Records\":[",
    "\"Message\":\"",
    "\"data\":\"",
    "Root=",
    "Sampled=?",
    ";Parent=",
    "=",
];

fn seeds() -> Vec<Vec<u8>> {
    let files = recorded::files();
    let mut seeds: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (origin, name, kind, ..) in RECORDED {
        let with = carrying(kind, &recorded::event(origin, name));
        seeds.extend(with.iter().map(|(_, event)| event.to_string().into_bytes()));
    }
    let hostile = [
        "[".repeat(5_000),
        r#"{"headers":"#.repeat(1_000),
        r#"{"Message":"{\"Message\":\"{}\"}"#.repeat(100),
        "\\".repeat(5_000),
        format!("\"{}\"", "\\\"".repeat(2_000)),
        crate::tests::header::SAMPLED.to_owned(),
        "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01".to_owned(),
    ];
    seeds.extend(hostile.map(String::into_bytes));
    seeds
}

fn mutate(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut text = seeds[rng.usize(..seeds.len())].clone();
    for _ in 0..rng.usize(0..6) {
        let at = rng.usize(..=text.len());
        match rng.u8(0..5) {
            0 => text.truncate(at),
            1 => {
                if let Some(byte) = text.get_mut(at) {
                    *byte = rng.u8(..);
                }
            }
            2 => {
                let end = rng.usize(at..=text.len().min(at + 64));
                text.drain(at..end);
            }
            3 => {
                let end = rng.usize(at..=text.len().min(at + 64));
                let slice = text[at..end].to_vec();
                let to = rng.usize(..=text.len());
                text.splice(to..to, slice);
            }
            _ => {
                let piece = PIECES[rng.usize(..PIECES.len())];
                text.splice(at..at, piece.bytes());
            }
        }
    }
    text
}

/// Checks the properties of the fuzz targets.
fn hold(text: &[u8]) {
    for found in [embed::extract_event(text), embed::extract_body(text)] {
        goes_on(found);
    }
    if let Ok(text) = std::str::from_utf8(text) {
        goes_on(text.parse().ok());
        goes_on(w3c::parse(text).ok().map(|header| header.with_state(text)));
    }
}

fn goes_on(header: Option<TraceHeader>) {
    let Some(header) = header else { return };
    let printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    assert!(header.state().is_none_or(printable));
    let printed = header.to_string();
    assert!(printable(&printed));
    let read = printed
        .parse()
        .map(|header: TraceHeader| header.to_string());
    assert_eq!(read, Ok(printed));
}

#[test]
fn mutated_events_are_handled() {
    let mut rng = Rng::with_seed(20_261_121);
    let seeds = seeds();
    for round in 0..ROUNDS {
        let text = mutate(&mut rng, &seeds);
        let result = catch_unwind(AssertUnwindSafe(|| hold(&text)));
        assert!(
            result.is_ok(),
            "round {round}: {}",
            String::from_utf8_lossy(&text)
        );
    }
}
