//! What it costs to look for a trace header in a body of 1 MB, against parsing the body with
//! `serde_json`: `cargo bench -p tracestitch --bench body_scan`.
//!
//! Fails when a scan takes a tenth of the parsing or more, for any of the shapes of [`judged`].
//!
//! Those of [`shown`] take more. Whose field a header is depends on each quote and bracket before
//! it: the scan has to tell them apart, which takes as long for one text as for another. The parser
//! is at its fastest with texts of some hundred bytes, which it copies as a whole, and with a key
//! that comes again. A tenth of that is no more than a look or two at each byte: `look` is what
//! `memchr` takes for a byte that is nowhere. So a search for names or ids before the scan, to spare
//! it where there are none, would by itself take more than a tenth where the text is one long one.
//!
//! JSON in the `Message` of SNS is a string. It is unescaped before it is scanned, which is most of
//! what the parser does with it, but only where the name of a header is in it.

use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
const ROUNDS: usize = 31;
/// Just under the 1 MiB up to which bodies are looked into.
const BYTES: usize = 1_000_000;

fn main() -> ExitCode {
    let mut failed = false;
    for (name, body, found) in judged() {
        failed |= ratio(name, &body, found) >= 0.1;
    }
    for (name, body, found) in shown() {
        ratio(&format!("not judged: {name}"), &body, found);
    }
    ExitCode::from(u8::from(failed))
}

/// Share of the parsing that the scan takes. `found` says whether there is a header to be found.
fn ratio(name: &str, body: &str, found: bool) -> f64 {
    assert_eq!(
        tracestitch::embed::extract_body(body.as_bytes()).is_some(),
        found,
        "{name}"
    );
    let (mut scan, mut parse, mut look) = (Vec::new(), Vec::new(), Vec::new());
    // Taken in turns, so that what disturbs one disturbs both.
    for _ in 0..ROUNDS {
        scan.push(time(|| tracestitch::embed::extract_body(body.as_bytes())));
        parse.push(time(|| serde_json::from_str::<Value>(body)));
        look.push(time(|| memchr::memchr(0, body.as_bytes())));
    }
    let (scan, parse, look) = (median(scan), median(parse), median(look));
    let ratio = scan.as_secs_f64() / parse.as_secs_f64();
    let _ = writeln!(
        std::io::stdout(),
        "{name}: {} bytes, scan {scan:?}, parse {parse:?}, ratio {ratio:.4}, look {look:?}",
        body.len()
    );
    ratio
}

/// Its name, the body, and whether a header is to be found in it.
type Shape = (&'static str, String, bool);

fn judged() -> Vec<Shape> {
    vec![
        ("orders, without a header", orders(None), false),
        (
            "orders, header at the end",
            orders(Some("zz_traceId")),
            false,
        ),
        ("orders, header found last", orders(Some("_traceId")), true),
        (
            "orders in an envelope of SNS, no header",
            envelope(&orders(None)),
            false,
        ),
        (
            "orders in an envelope of SNS that speak of traces, no header",
            envelope(&orders(None).replacen("leave it", "trace it", 400)),
            false,
        ),
        (
            "a long text in an envelope of SNS, no header",
            envelope(&"a trace of nothing, ".repeat(BYTES / 20)),
            false,
        ),
        ("numbers, header found last", numbers(), true),
        (
            "one long text, header last",
            text("a trace of nothing, ", true),
            true,
        ),
        (
            "one long text, no header",
            text("a letter of nothing, ", false),
            false,
        ),
        (
            "a text in lines, header last",
            text("a line in a long letter that has many lines\\n", true),
            true,
        ),
        (
            "a text of quotes, header last",
            text(r#"\"a\","#, true),
            true,
        ),
        (
            "a text of backslashes, header last",
            text(r"\\", true),
            true,
        ),
        (
            "a Cyrillic text, header last",
            text("строка длинного письма, ", true),
            true,
        ),
        ("base64, header last", text("q83vEjRWeJA+/7Z2", true), true),
        ("indented orders, header last", indented(), true),
        (
            "ten thousand fields, header last",
            fields(
                r#""field-N":{"name":"Ada Example","items":["lamp-3",{"price":19.95}],"note":"by noon"}"#,
            ),
            true,
        ),
        (
            "short fields, header last",
            fields(r#""field-N":"text""#),
            true,
        ),
        (
            "keys with escapes, header last",
            fields(r#""field\/N\n":"text""#),
            true,
        ),
        (
            "Cyrillic keys and texts by numbers, header last",
            fields(r#""\u0438\u043c\u044f-N":"\u0442\u0435\u043a\u0441\u0442""#),
            true,
        ),
        ("deep lists, header last", deep("[", "]"), true),
        ("deep objects, header last", deep(r#"{"k":"#, "}"), true),
        ("short texts, header last", list(r#""ab""#), true),
        ("empty lists, header last", list("[]"), true),
        ("small objects, header last", list(r#"{"k":1}"#), true),
    ]
}

fn shown() -> Vec<Shape> {
    let letters = |number: usize| format!("\"{}\"", "a letter s".repeat(number / 10));
    vec![
        (
            "a text with a quote in each line, header last",
            text(LINE, true),
            true,
        ),
        (
            "a text with a quote in each line, no header",
            text(LINE, false),
            false,
        ),
        ("texts of 60 letters, header last", list(&letters(60)), true),
        (
            "texts of 200 letters, header last",
            list(&letters(200)),
            true,
        ),
        (
            "texts of 2000 letters, header last",
            list(&letters(2000)),
            true,
        ),
        (
            "fields of 200 letters, header last",
            fields(&format!(r#""field-N":{}"#, letters(200))),
            true,
        ),
        (
            "one key by numbers again and again, header last",
            fields(r#""\u006e\u0061\u006d\u0065":"t""#),
            true,
        ),
        (
            "orders in an envelope of SNS, header last",
            envelope(&orders_of(Some("_traceId"), BYTES * 3 / 4)),
            true,
        ),
        (
            "words in an envelope of SNS that speak of traces, no header",
            envelope(&format!("{{{}", r#""trace","#.repeat(BYTES / 8))),
            false,
        ),
    ]
}

/// Orders as a producer would list them.
fn orders(field: Option<&str>) -> String {
    orders_of(field, BYTES)
}

/// The same in that many bytes.
fn orders_of(field: Option<&str>, bytes: usize) -> String {
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
        if body.len() > bytes - 300 {
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

/// As SNS delivers to a queue, when the producer was not traced.
fn envelope(message: &str) -> String {
    let message = &message[..message.len().min(BYTES * 3 / 4)];
    json!({
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:orders", "Message": message,
    })
    .to_string()
}

/// A line of a text, as it is in JSON.
const LINE: &str = r#"a line in a long letter that says \"so\" as all of its many lines do.\n"#;

fn numbers() -> String {
    let list: Vec<String> = (0..BYTES / 6).map(|n| format!("{}", 100_000 + n)).collect();
    let list = &list.join(",")[..BYTES - 200];
    let list = list.trim_end_matches(',');
    format!(r#"{{"series":[{list}],"_traceId":"{HEADER}"}}"#)
}

fn text(repeated: &str, header: bool) -> String {
    let text = repeated.repeat((BYTES - 200) / repeated.len());
    let field = if header {
        format!(r#","_traceId":"{HEADER}""#)
    } else {
        String::new()
    };
    format!(r#"{{"text":"{text}"{field}}}"#)
}

fn list(element: &str) -> String {
    let elements = vec![element; (BYTES - 200) / (element.len() + 1)].join(",");
    format!(r#"{{"list":[{elements}],"_traceId":"{HEADER}"}}"#)
}

/// As many fields as there is room for, each with a number of its own for `N`.
fn fields(field: &str) -> String {
    let mut body = String::from("{");
    for n in 0.. {
        body.push_str(&field.replace('N', &n.to_string()));
        body.push(',');
        if body.len() > BYTES - 300 {
            break;
        }
    }
    format!(r#"{body}"_traceId":"{HEADER}"}}"#)
}

/// As deep as the parser goes by default.
fn deep(open: &str, close: &str) -> String {
    let element = format!("{}1{}", open.repeat(100), close.repeat(100));
    list(&element)
}

fn indented() -> String {
    let orders: Value = serde_json::from_str(&orders(None)).expect("orders in JSON");
    let orders = orders["orders"].as_array().map_or(0, Vec::len) * 3 / 2;
    let order = json!({"orderId": "o-1", "items": [{"sku": "lamp-3", "quantity": 2}]});
    let body = json!({"orders": vec![order; orders], "zz": 1, "zzz_traceId": HEADER});
    let body = serde_json::to_string_pretty(&body).expect("a value is JSON");
    body.replace("zzz_traceId", "_traceId")
}

/// Of a second run: the first finds in the caches what the other work left there.
fn time<T>(work: impl Fn() -> T) -> Duration {
    black_box(work());
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
