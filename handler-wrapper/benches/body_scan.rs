//! What it costs to look for a trace header in a body of 1 MB, against parsing the body with
//! `serde_json`: `cargo bench -p tracestitch --bench body_scan`.
//!
//! Fails when a scan takes a tenth of the parsing or more. One long text is shown and not judged:
//! parsing it is a single pass over the bytes, as is searching it.

use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const ROUNDS: usize = 41;
const TEXT: &str = "one long text";
/// Just under the 1 MiB up to which bodies are looked into.
const BYTES: usize = 1_000_000;

fn main() -> ExitCode {
    let mut failed = false;
    for (name, body, found) in [
        ("orders, without a header", orders(None), false),
        (
            "orders, header at the end",
            orders(Some("zz_traceId")),
            false,
        ),
        ("orders, header found last", orders(Some("_traceId")), true),
        ("numbers, header found last", numbers(), true),
        (TEXT, text(), true),
    ] {
        assert_eq!(
            tracestitch::embed::from_json(body.as_bytes()).is_some(),
            found,
            "{name}"
        );
        let (mut scan, mut parse) = (Vec::new(), Vec::new());
        // Taken in turns, so that what disturbs one disturbs both.
        for _ in 0..ROUNDS {
            scan.push(time(|| tracestitch::embed::from_json(body.as_bytes())));
            parse.push(time(|| serde_json::from_str::<Value>(&body)));
        }
        let (scan, parse) = (median(scan), median(parse));
        let ratio = scan.as_secs_f64() / parse.as_secs_f64();
        failed |= ratio >= 0.1 && name != TEXT;
        let _ = writeln!(
            std::io::stdout(),
            "{name}: {} bytes, scan {scan:?}, parse {parse:?}, ratio {ratio:.4}",
            body.len()
        );
    }
    ExitCode::from(u8::from(failed))
}

/// Orders as a producer would list them.
fn orders(field: Option<&str>) -> String {
    let order = |n: usize| {
        json!({
            "orderId": format!("o-{n:08}"), "customer": {"id": n, "name": "Ada Example"},
            "items": [{"sku": "lamp-3", "quantity": 2, "price": 19.95}, {"sku": "pen", "quantity": 12}],
            "note": "leave it at the door, \"please\"", "paid": n.is_multiple_of(2),
        })
    };
    let mut body = String::from(r#"{"orders":["#);
    for n in 0.. {
        body.push_str(&order(n).to_string());
        if body.len() > BYTES - 300 {
            break;
        }
        body.push(',');
    }
    body.push(']');
    if let Some(field) = field {
        body.push_str(&format!(r#","{field}":"{HEADER}""#));
    }
    body.push('}');
    body
}

fn numbers() -> String {
    let list: Vec<String> = (0..BYTES / 6).map(|n| format!("{}", 100_000 + n)).collect();
    let list = &list.join(",")[..BYTES - 200];
    let list = list.trim_end_matches(',');
    format!(r#"{{"series":[{list}],"_traceId":"{HEADER}"}}"#)
}

fn text() -> String {
    let text = "a trace of nothing, ".repeat((BYTES - 200) / 20);
    format!(r#"{{"text":"{text}","_traceId":"{HEADER}"}}"#)
}

fn time<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
