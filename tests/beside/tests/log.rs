//! `LogLayer` and the subscriber of `lambda_runtime` with the same event.
#![allow(
    clippy::unwrap_used,
    reason = "a failure in a helper fails the test, too"
)]

use std::env;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracestitch::LogLayer;
use tracing_subscriber::layer::SubscriberExt;

/// A log that all its clones write to.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn event() {
    tracing::warn!(
        items = 3,
        share = 0.5,
        ok = true,
        state = "open",
        first = ?Some("o-1"),
        "priced {}",
        2
    );
}

/// Level and values are equal; ours are top-level members, as in Lambda's runtimes for Node and
/// Python. The runtime's subscriber is global and reads the environment, so it writes in another
/// process, which runs this same test.
#[test]
fn event_has_the_fields_of_the_runtimes_log() {
    const INSIDE: &str = "BESIDE_LOG";
    if env::var_os(INSIDE).is_some() {
        lambda_runtime::tracing::init_default_subscriber_with_writer(io::stderr);
        event();
        return;
    }
    let inside = beside::alone("event_has_the_fields_of_the_runtimes_log")
        .env(INSIDE, "1")
        .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
        .env_remove("AWS_LAMBDA_LOG_LEVEL")
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    assert!(inside.status.success(), "{inside:?}");
    let theirs: Value = serde_json::from_slice(&inside.stderr).unwrap();

    let log = Log::default();
    let layer = LogLayer::from_env().to(log.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), event);
    let ours: Value = serde_json::from_slice(&log.0.lock().unwrap()).unwrap();

    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    let keys: Vec<_> = theirs.keys().map(String::as_str).collect();
    assert_eq!(keys, ["fields", "level"]);
    let mut expected = theirs["fields"].as_object().unwrap().clone();
    for key in ["timestamp", "target"] {
        expected.insert(key.to_owned(), ours[key].clone());
    }
    expected.insert("level".to_owned(), theirs["level"].clone());
    assert_eq!(ours, &expected);
}
