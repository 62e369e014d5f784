//! Comparison of the search with one that applies the same rules to the parsed text.

use serde_json::{Map, Value};

use super::*;

/// The header of each hop, and the W3C context.
#[derive(Default)]
struct Found {
    hops: [Option<TraceHeader>; HOPS],
    traceparent: Option<TraceHeader>,
}

impl Found {
    fn keep(&mut self, hop: Hop, header: Option<TraceHeader>) {
        let kept = &mut self.hops[hop as usize];
        *kept = kept.take().or(header);
    }

    fn fields(&mut self, object: &Map<String, Value>, hop: Hop) {
        for (key, value) in object {
            let text = value.as_str().unwrap_or_default();
            match &*key.to_ascii_lowercase() {
                "_traceid" if hop == Hop::Field => self.keep(Hop::Own, carried(text)),
                "x-amzn-trace-id" | "awstraceheader" | "traceheader" | "_traceid" => {
                    self.keep(hop, carried(text));
                }
                "traceparent" if self.traceparent.is_none() => {
                    self.traceparent = w3c::parse(text).ok();
                }
                _ => {}
            }
        }
    }

    fn body(&mut self, object: &Map<String, Value>, texts: u8) {
        for (key, value) in object {
            match (&*key.to_ascii_lowercase(), value) {
                ("headers" | "multivalueheaders", Value::Object(inner)) => {
                    self.fields(inner, Hop::Headers);
                }
                ("detail" | "messageattributes", Value::Object(inner)) => {
                    self.fields(inner, Hop::Envelope);
                }
                ("request", Value::Object(inner)) => {
                    if let Some(Value::Object(headers)) = inner.get("headers") {
                        self.fields(headers, Hop::Headers);
                    }
                }
                _ if key == "Message" && texts < MAX_TEXTS => {
                    let inner = serde_json::from_str(value.as_str().unwrap_or_default());
                    if let Ok(Value::Object(inner)) = inner {
                        let mut found = Self::default();
                        found.body(&inner, texts + 1);
                        let inner = found.traceparent.take();
                        self.traceparent = self.traceparent.take().or(inner);
                        self.keep(Hop::Text, found.best());
                    }
                }
                _ => {}
            }
        }
        self.fields(object, Hop::Field);
    }

    fn best(self) -> Option<TraceHeader> {
        let mut hops = self.hops.into_iter().flatten();
        hops.next().or(self.traceparent)
    }
}

const ROUNDS: usize = 2_000;

const KEYS: [&str; 12] = [
    "_traceId",
    "traceHeader",
    "AWSTraceHeader",
    "x-amzn-trace-id",
    "traceparent",
    "headers",
    "multiValueHeaders",
    "detail",
    "MessageAttributes",
    "request",
    "Message",
    "note",
];

fn any_object(rng: &mut fastrand::Rng, depth: u8) -> Value {
    let any_value = |rng: &mut fastrand::Rng| match rng.u8(..10) {
        0..3 if depth > 0 => any_object(rng, depth - 1),
        3..5 if depth > 0 => any_object(rng, depth - 1).to_string().into(),
        5 => json!(["\\\"", {"_traceId": HEADER}, 7]),
        6 => "a \"trace\" of {[\\".into(),
        7 => W3C
            .replace("5759e988", &format!("{:08x}", rng.u32(1..)))
            .into(),
        _ => HEADER
            .replace("5759e988", &format!("{:08x}", rng.u32(1..)))
            .into(),
    };
    let object: Map<_, _> = (0..rng.usize(1..8))
        .map(|_| (KEYS[rng.usize(..KEYS.len())].to_owned(), any_value(rng)))
        .collect();
    object.into()
}

#[test]
fn search_finds_the_header_of_the_parsed_text() {
    let mut rng = fastrand::Rng::with_seed(20_261_125);
    let mut times_found = 0;
    for round in 0..ROUNDS {
        let body = any_object(&mut rng, 4);
        let mut expected = Found::default();
        expected.body(body.as_object().unwrap(), 0);
        let expected = expected.best();
        times_found += usize::from(expected.is_some());
        let text = body.to_string();
        for text in [
            text.replace("\"_traceId\":", "\"\\u005ftrace\\u0049d\":"),
            serde_json::to_string_pretty(&body).unwrap(),
            text,
        ] {
            let found = find_in_body(text.as_bytes(), &Carriers::default());
            assert_eq!(found, expected, "round {round}: {text}");
        }
    }
    assert!((ROUNDS / 4..ROUNDS).contains(&times_found), "{times_found}");
}
