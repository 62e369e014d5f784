//! The user's own function.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tracestitch_local::client;
use tracestitch_local::run::RunOptions;

use crate::support::{HEADER, PATIENCE, program};

fn options() -> RunOptions {
    let mut options = RunOptions::new(program("bootstrap"));
    options.extension = Some(program("extension"));
    options.timeout = PATIENCE;
    options
}

#[tokio::test]
async fn answers_and_traces_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let event = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let good = event("good.json", "\u{feff}{\"do\":\"echo\",\"n\":7}");
    let bad = event("bad.json", r#"{"do":"exit","status":3}"#);
    let mut options = options();
    options.events = vec![good.clone()];
    let mut out = Vec::new();
    assert!(options.run(&mut out).await.unwrap(), "all were answered");
    let out = String::from_utf8(out).unwrap();
    for expected in [
        "good.json: {\"do\": \"echo\", \"n\": 7}",
        "\ntrace 1-",
        "programs  [AWS::Lambda::Function]",
        "The function itself recorded nothing",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }

    options.events = vec![bad, good];
    options.trace_header = Some(HEADER.to_owned());
    let mut out = Vec::new();
    assert!(!options.run(&mut out).await.unwrap(), "one was not");
    let out = String::from_utf8(out).unwrap();
    for expected in [
        "bad.json: FAILED {",
        "exit status: 3",
        "good.json: {",
        "FAULT",
        "\ntrace 1-581cf771-a006649127e371903a2de979",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
}

/// An output that a test reads while it is written.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printed {
    /// Waits for the whole output; returns the URL behind `label`.
    async fn url(&self, label: &str) -> String {
        loop {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            if text.contains("Ctrl-C") {
                let rest = text.split_once(label).unwrap().1;
                return rest.split_whitespace().next().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn function_without_events_is_kept_up_behind_http() {
    let options = options();
    let printed = Printed::default();
    let mut out = printed.clone();
    let ask = async {
        let url = printed.url("function: ").await;
        let event = json!({"do": "echo", "n": 7});
        let answer = client::post_json(&url, &[], &event).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body), (200, event));
        let page = format!("{}/traces", printed.url("viewer: ").await);
        let traces = client::get(&page).await.unwrap();
        assert_eq!(traces.body["refused"], json!([]));
    };
    tokio::select! {
        ended = options.run(&mut out) => panic!("it ended: {ended:?}"),
        asked = tokio::time::timeout(PATIENCE * 2, ask) => asked.unwrap(),
    }
}

#[tokio::test]
async fn missing_program_is_named() {
    let mut function = options();
    function.program = "/nowhere/mine".into();
    let mut extension = options();
    extension.extension = Some("/nowhere/ext".into());
    for (options, expected) in [
        (function, "run /nowhere/mine as function: No such"),
        (extension, "run /nowhere/ext as extension: No such"),
    ] {
        let error = options.run(&mut Vec::new()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
