//! The store under the death of a process, and on a full disk.
//!
//! Without arguments this program runs the checks. They start it again with arguments: `write
//! PATH` stores documents until it is killed, `fill PATH` until the disk is full.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]
#![allow(clippy::print_stdout, reason = "a test program reports to its caller")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use serde_json::json;
use tracestitch_traces::store::{Clock, Limits, Query, Store, StoreError};

const IN_ONE_CALL: u64 = 20;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["write", path, first] => write(Path::new(path), first.parse().unwrap()),
        ["fill", path] => fill(Path::new(path)),
        // Arguments of cargo test, such as a filter.
        _ => {
            killed_process_leaves_an_intact_store_with_every_confirmed_document();
            full_disk_gives_an_error_and_leaves_the_store_readable();
        }
    }
}

fn document(number: u64) -> String {
    json!({
        "trace_id": format!("1-581cf771-{:024x}", number / 7), "id": format!("{number:016x}"),
        "name": "shop", "start_time": 1.0 + number as f64, "end_time": 2.0 + number as f64,
        "annotations": { "number": number }, "metadata": { "default": { "text": "x".repeat(300) } },
    })
    .to_string()
}

/// Stores documents without end and prints how many are stored.
fn write(path: &Path, first: u64) {
    let store = Store::open(path, Limits::default()).unwrap();
    let mut next = first;
    loop {
        let texts = (next..next + IN_ONE_CALL).map(document).collect();
        assert!(store.put(texts).unwrap().iter().all(Option::is_none));
        next += IN_ONE_CALL;
        // The caller has closed the pipe when it kills this process.
        if writeln!(std::io::stdout(), "{next}").is_err() {
            return;
        }
    }
}

fn start(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills two writers of one file at many moments; the second one begins where the first one ended.
fn killed_process_leaves_an_intact_store_with_every_confirmed_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.db");
    let path_text = path.to_str().unwrap();
    let mut first = 0;
    for round in 1..=12 {
        let starts = [first, first + 1_000_000];
        let mut children = starts.map(|first| start(&["write", path_text, &first.to_string()]));
        let mut confirmed = [0; 2];
        for (child, confirmed) in children.iter_mut().zip(&mut confirmed) {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            for _ in 0..round * 2 {
                *confirmed = lines.next().unwrap().unwrap().parse().unwrap();
            }
            // The pipe's other end is closed here, so the writer may also end by that.
            child.kill().unwrap();
        }
        for mut child in children {
            child.wait().unwrap();
        }
        check(&path, confirmed);
        first = confirmed[0] + 10_000;
    }
    println!("test killed_process_leaves_an_intact_store_with_every_confirmed_document ... ok");
}

fn check(path: &Path, confirmed: [u64; 2]) {
    let store = Store::open(path, Limits::default()).unwrap();
    for next in confirmed {
        let last: serde_json::Value = serde_json::from_str(&document(next - 1)).unwrap();
        let (_, documents) = store
            .trace(last["trace_id"].as_str().unwrap())
            .unwrap()
            .unwrap();
        assert!(
            documents.iter().any(|document| document.body == last),
            "lost {}",
            next - 1
        );
    }
    let connection = Connection::open(path).unwrap();
    let one = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let integrity: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(integrity, "ok");
    let totals = store.totals().unwrap();
    for (total, counted) in [
        (totals.traces, "SELECT count(*) FROM traces"),
        (totals.documents, "SELECT count(*) FROM documents"),
        (totals.documents, "SELECT sum(documents) FROM traces"),
        (
            totals.bytes,
            "SELECT sum(octet_length(body)) FROM documents",
        ),
        (totals.bytes, "SELECT sum(bytes) FROM traces"),
    ] {
        assert_eq!(i64::try_from(total).unwrap(), one(counted), "{counted}");
    }
    assert_eq!(
        one("SELECT count(*) FROM annotations WHERE trace NOT IN (SELECT key FROM traces)"),
        0
    );
}

/// Stores documents until the disk is full, and prints the result.
fn fill(path: &Path) {
    let store = Store::open(path, Limits::default()).unwrap();
    for number in 0.. {
        if let Err(error) = store.put(vec![document(number)]) {
            assert!(matches!(error, StoreError::Full(_)), "{error}");
            assert!(error.to_string().contains("Free space"), "{error}");
            assert_eq!((store.counts().stored, store.counts().lost), (number, 1));
            let query = Query {
                clock: Clock::Start,
                from: 0.0,
                to: 1e12,
                conditions: Vec::new(),
                after: None,
                limit: 100_000,
            };
            let readable = store.find(&query).unwrap().len() as u64;
            assert_eq!(readable, number.div_ceil(7));
            println!("full after {number}");
            return;
        }
    }
}

/// Fills a file system of 2 MiB in a mount namespace, which needs no privileges.
fn full_disk_gives_an_error_and_leaves_the_store_readable() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=2m tmpfs \"$1\" && exec \"$2\" fill \"$1/traces.db\"";
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("full after"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    println!("test full_disk_gives_an_error_and_leaves_the_store_readable ... ok");
}
