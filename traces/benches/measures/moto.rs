//! A comparison with moto: equal requests to both servers by one client.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::documents::{DOCUMENTS_OF_A_TRACE, START, document};
use crate::process::Served;

const TRACES: usize = 200;
const ROUNDS: usize = 20;

/// Prints how many requests a second each server answers.
pub(crate) fn compare(program: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let own = {
        let served = Served::start(&folder.path().join("traces.db"));
        rates(served.address)
    };
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut child = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", &port.port().to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(port).is_err() {
        assert!(Instant::now() < deadline, "moto_server does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    let moto = rates(port);
    let _ = child.kill();
    let _ = child.wait();
    for (index, name) in ["PutTraceSegments", "GetTraceSummaries", "BatchGetTraces"]
        .iter()
        .enumerate()
    {
        println!(
            "{name}: {:.0} a second, moto {:.1}: {:.0} times (bar: 20)",
            own[index],
            moto[index],
            own[index] / moto[index]
        );
    }
}

/// Returns the requests a second for each of three operations.
fn rates(address: SocketAddr) -> [f64; 3] {
    let mut client = Client::connect(address);
    let puts: Vec<_> = (0..TRACES)
        .map(|trace| {
            let first = trace * DOCUMENTS_OF_A_TRACE;
            let documents: Vec<_> = (first..first + DOCUMENTS_OF_A_TRACE)
                .map(document)
                .collect();
            json!({ "TraceSegmentDocuments": documents }).to_string()
        })
        .collect();
    let summaries = json!({ "StartTime": START, "EndTime": START + TRACES as f64 }).to_string();
    let ids: Vec<_> = (0..5)
        .map(|trace| format!("1-581cf771-{trace:024x}"))
        .collect();
    let batch = json!({ "TraceIds": ids }).to_string();
    [
        rate(
            &mut client,
            "/TraceSegments",
            puts.iter().map(String::as_str),
        ),
        rate(
            &mut client,
            "/TraceSummaries",
            std::iter::repeat_n(summaries.as_str(), ROUNDS),
        ),
        rate(
            &mut client,
            "/Traces",
            std::iter::repeat_n(batch.as_str(), ROUNDS),
        ),
    ]
}

fn rate<'a>(client: &mut Client, path: &str, bodies: impl Iterator<Item = &'a str>) -> f64 {
    let started = Instant::now();
    let mut count = 0;
    for body in bodies {
        client.post(path, body);
        count += 1;
    }
    f64::from(count) / started.elapsed().as_secs_f64()
}
