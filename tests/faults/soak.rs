//! Many invocations in one environment, which is frozen between them: no process grows, and every
//! document arrives.
//!
//! `FAULTS=full cargo test -p e2e --test faults soak` has 100,000 invocations.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use e2e::binaries;
use e2e::fake_aws::FakeAws;
use e2e::oracle::{PARENT, root};
use e2e::world::extension_as_in_the_layer;
use serde_json::json;
use tracestitch_local::daemon;
use tracestitch_local::emulator::{Environment, Function, Invoke};
use tracestitch_traces::lint;

use crate::rounds::{report, times};

/// Number of traces, which are used in turn. `lambda_runtime` puts each trace header into the
/// environment, and glibc keeps every value that was ever there (setenv(3) in glibc does not free,
/// because a caller of getenv(3) may still hold the old value): some 140 bytes for each new header,
/// with tracing or without. This test measures the memory of the tracer only.
const TRACES: usize = 100;

/// Names of the documents of each invocation.
const NAMES: [&str; 4] = ["victim", "step-0", "inner-0", "DynamoDB"];

/// Each invocation whose number is a multiple of this calls DynamoDB.
const CALLS: usize = 10;

/// Most bytes by which the anonymous memory of a process may grow after a quarter of the
/// invocations. Allocators keep memory for later use, which shows as steps of some 4 to 132 KiB (the
/// unit in which glibc's heap grows). A leak of one document of 300 bytes in each invocation would
/// exceed the limit after the 2,250 invocations of the short version, and reach 22 MB after the
/// 75,000 of the long one.
const GROWTH: u64 = 264 * 1024;

/// A daemon that counts documents and keeps none.
#[derive(Debug)]
struct Tally {
    address: SocketAddr,
    counts: Arc<Mutex<Counts>>,
    receiver: std::thread::JoinHandle<()>,
}

#[derive(Debug)]
struct Counts {
    /// Documents of each name in each trace.
    of_handlers: [[usize; NAMES.len()]; TRACES],
    /// Documents of the init phase.
    of_init: usize,
    /// Ids of all documents, none of which may arrive twice.
    ids: HashSet<u64>,
    refused: Vec<String>,
}

impl Tally {
    fn start() -> Self {
        let socket = daemon::receiver().unwrap();
        let address = socket.local_addr().unwrap();
        let counts = Arc::new(Mutex::new(Counts {
            of_handlers: [[0; NAMES.len()]; TRACES],
            of_init: 0,
            ids: HashSet::new(),
            refused: Vec::new(),
        }));
        let shared = Arc::clone(&counts);
        let receiver = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                let length = socket.recv(&mut buffer).unwrap();
                if length == 0 {
                    return;
                }
                shared.lock().unwrap().take(&buffer[..length]);
            }
        });
        Self {
            address,
            counts,
            receiver,
        }
    }

    /// Returns the counts of everything sent before.
    fn end(self) -> Counts {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Loopback keeps the order: everything sent before the empty datagram arrives before it.
        socket.send_to(&[], self.address).unwrap();
        self.receiver.join().unwrap();
        Arc::into_inner(self.counts).unwrap().into_inner().unwrap()
    }
}

impl Counts {
    fn take(&mut self, datagram: &[u8]) {
        let body = match lint::datagram(datagram) {
            Ok(body) => body,
            Err(refusal) => return self.refused.push(format!("{refusal:?}")),
        };
        let name = NAMES.iter().position(|name| body["name"] == *name);
        let trace = body["trace_id"].as_str().unwrap_or_default();
        let digits = trace.rsplit('-').next().unwrap_or_default();
        let number = usize::from_str_radix(digits, 16).unwrap_or(usize::MAX);
        let id = body["id"].as_str().unwrap_or_default();
        let id = u64::from_str_radix(id, 16).unwrap_or_default();
        let failed = body["fault"] == true || body["in_progress"] == true;
        let new = self.ids.insert(id);
        match (name, self.of_handlers.get_mut(number)) {
            (Some(name), Some(counts)) if new && !failed => counts[name] += 1,
            (None, Some(_)) if body["name"] == "init" || body["name"] == "settings" => {
                self.of_init += 1;
            }
            _ => self.refused.push(body.to_string()),
        }
    }
}

/// Memory and descriptors of a process.
#[derive(Debug, Clone, Copy)]
struct Usage {
    /// Bytes of anonymous memory: heap and stacks, without pages of files.
    anonymous: u64,
    /// Bytes of resident memory.
    resident: u64,
    descriptors: usize,
}

impl Usage {
    fn of(pid: u32) -> Self {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let value = |name: &str| {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            let kib = line.split_whitespace().nth(1).unwrap();
            kib.parse::<u64>().unwrap() * 1024
        };
        Self {
            anonymous: value("Anonymous:"),
            resident: value("Rss:"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        }
    }

    /// Returns the usage of function and extension.
    fn of_both(environment: &Environment) -> [Self; 2] {
        let function = environment.function_pid().expect("the function runs");
        let extension = environment.extension_pids()[0];
        [function, extension].map(Self::of)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (anonymous, resident) = (self.anonymous / 1024, self.resident / 1024);
        let descriptors = self.descriptors;
        write!(
            f,
            "{anonymous} of {resident} KiB, {descriptors} descriptors"
        )
    }
}

#[tokio::test]
async fn processes_do_not_grow_and_no_document_is_lost() {
    let invocations = times(3_000, 100_000) as usize;
    let tally = Tally::start();
    let aws = FakeAws::start().await;
    let environment = Function::new("victim", binaries::victim())
        .extension(extension_as_in_the_layer())
        .timeout(e2e::wait::PATIENCE)
        .env("AWS_ENDPOINT_URL", aws.url())
        .xray_daemon(tally.address)
        .start()
        .await
        .expect("the programs are there");
    let began = Instant::now();
    let mut warm = None;
    for n in 0..invocations {
        let event = json!({ "n": n, "steps": 1, "call": n % CALLS == 0 }).to_string();
        let header = format!(
            "Root={};Parent={PARENT};Sampled=1",
            root((n % TRACES) as u64)
        );
        let outcome = environment
            .invoke(Invoke::new(event).trace_header(header))
            .await;
        assert!(outcome.is_response(), "invocation {n}: {outcome:?}");
        if n == invocations / 4 {
            environment.settled().await;
            warm = Some(Usage::of_both(&environment));
        }
    }
    environment.settled().await;
    let took = began.elapsed();
    let (warm, end) = (warm.unwrap(), Usage::of_both(&environment));
    environment.shutdown().await;
    let counts = tally.end();

    report(
        "soak",
        format_args!(
            "{invocations} invocations in {took:?}, {:.0} a second; {} documents; \
             after a quarter and at the end: function {}; {}, extension {}; {}",
            invocations as f64 / took.as_secs_f64(),
            counts.ids.len(),
            warm[0],
            end[0],
            warm[1],
            end[1],
        ),
    );
    assert!(counts.refused.is_empty(), "{:#?}", counts.refused);
    assert_eq!(counts.of_init, 2, "the init phase and its work");
    let each = invocations / TRACES;
    for (trace, counts) in counts.of_handlers.iter().enumerate() {
        let calls = if trace % CALLS == 0 { each } else { 0 };
        assert_eq!(
            *counts,
            [each, each, each, calls],
            "trace {trace}, {NAMES:?}"
        );
    }
    for (process, warm, end) in [
        ("function", warm[0], end[0]),
        ("extension", warm[1], end[1]),
    ] {
        assert!(
            end.anonymous <= warm.anonymous + GROWTH,
            "{process}: {warm}; {end}"
        );
        assert!(
            end.descriptors <= warm.descriptors,
            "{process}: {warm}; {end}"
        );
    }
}
