//! Measures of the server: ingest, searches, memory, growth and start, and a comparison with moto.
//!
//! ```text
//! cargo bench -p tracestitch-traces --bench measures
//! cargo bench -p tracestitch-traces --bench measures -- --moto PATH/bin/moto_server
//! ```
//!
//! The program starts itself again as the server, so that its memory and processor time are the
//! server's alone. Rates are documents for each second of the server's processor time, which is the
//! rate that one core sustains. `pip install moto[server]` installs the program for the comparison.

#![allow(
    clippy::unwrap_used,
    reason = "a measure that fails must end the program"
)]
#![allow(clippy::print_stdout, reason = "the measures are the program's output")]

mod client;
mod documents;
mod moto;
mod process;

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use client::Client;
use documents::{DOCUMENTS_OF_A_TRACE, START, document};
use process::{Served, serve};

/// Documents in one request of the API, as many as the X-Ray daemon sends.
const BATCH: usize = 50;

fn main() {
    let arguments: Vec<_> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", store] => serve(Path::new(store)),
        ["--moto", program] => moto::compare(Path::new(program)),
        [] => measure(),
        _ => println!("arguments: none, or --moto PATH/bin/moto_server"),
    }
}

fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let served = Served::start(&folder.path().join("start.db"));
    Client::connect(served.address).post("/GetSamplingRules", "{}");
    println!(
        "start to first answer: {:.0} ms (bar: 100)",
        milliseconds(started.elapsed())
    );
    drop(served);

    burst(&folder.path().join("burst.db"));
    by_datagram(&folder.path().join("udp.db"));
    let small = searches(&folder.path().join("small.db"), 10_000);
    let large = searches(&folder.path().join("large.db"), 100_000);
    println!(
        "10 times the traces: ingest costs {:.1} times as much (bar: 12)",
        large.0 / small.0
    );
    println!(
        "10 times the traces: a page costs {:.1} times as much (bar: 3)",
        large.1 / small.1
    );
}

fn burst(store: &Path) {
    let served = Served::start(store);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    send(&socket, served.daemon, 0..10_000);
    let stored = served.wait_for_documents(10_000);
    println!("burst of 10,000 datagrams: {stored} stored (bar: all)");
}

/// Sends in bursts of 5,000, each after the former one was stored.
fn by_datagram(store: &Path) {
    let served = Served::start(store);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let before = served.processor_time();
    let total = 200_000;
    for first in (0..total).step_by(5_000) {
        send(&socket, served.daemon, first..first + 5_000);
        served.wait_for_documents(first + 5_000);
    }
    let rate = total as f64 / (served.processor_time() - before);
    println!("documents by UDP: {rate:.0} a second of one core (bar: 20000)");
}

fn send(socket: &UdpSocket, to: SocketAddr, numbers: std::ops::Range<usize>) {
    let datagrams: Vec<_> = numbers
        .map(|number| {
            format!(
                "{{\"format\":\"json\",\"version\":1}}\n{}",
                document(number)
            )
        })
        .collect();
    for datagram in datagrams {
        socket.send_to(datagram.as_bytes(), to).unwrap();
    }
}

/// Fills a store with traces by the API and searches them. Returns the seconds of processor time of
/// the ingest, and the median seconds of a page.
fn searches(store: &Path, traces: usize) -> (f64, f64) {
    let served = Served::start(store);
    let mut client = Client::connect(served.address);
    let before = served.processor_time();
    let total = traces * DOCUMENTS_OF_A_TRACE;
    for first in (0..total).step_by(BATCH) {
        let documents: Vec<_> = (first..first + BATCH).map(document).collect();
        let body = json!({ "TraceSegmentDocuments": documents }).to_string();
        let answer = client.post("/TraceSegments", &body);
        assert_eq!(answer, r#"{"UnprocessedTraceSegments":[]}"#);
    }
    let ingest = served.processor_time() - before;
    let rate = total as f64 / ingest;
    println!("{traces} traces: {rate:.0} documents by the API a second of one core (bar: 20000)");

    let mut times = Vec::new();
    let mut pages = 0;
    for number in 0..200 {
        // One search in four is for one trace, the others are for one in 20.
        let filter = if number % 4 == 0 {
            let order = number * 31 % traces;
            format!("annotation.order_id = \"A-{order}\" AND duration > 0.1")
        } else {
            format!(
                "annotation.tier = \"tier-{}\" AND duration > 0.5",
                number % 10
            )
        };
        let body = json!({
            "StartTime": START, "EndTime": START + traces as f64, "FilterExpression": filter,
        });
        let started = Instant::now();
        let answer = client.post("/TraceSummaries", &body.to_string());
        times.push(started.elapsed());
        pages += usize::from(answer.contains("\"Id\""));
    }
    times.sort_unstable();
    let (median, p95) = (times[100], times[190]);
    println!(
        "{traces} traces: filtered page {:.1} ms median, {:.1} ms p95 (bar: 100), {pages} of 200 \
         with results",
        milliseconds(median),
        milliseconds(p95)
    );
    println!(
        "{traces} traces: {} MB resident (bar: 150)",
        served.resident_megabytes()
    );
    (ingest, median.as_secs_f64())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
