use std::io;
use std::sync::Mutex;

use super::*;
use crate::client;

const HEADER: &str = "Root=1-581cf771-a006649127e371903a2de979;Parent=70de5b6f19ff9a0a;Sampled=1";

/// Programs of the emulator's tests, which need python3.
fn program(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs")).join(name)
}

#[tokio::test]
async fn answers_and_traces_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let event = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let good = event("good.json", r#"{"do":"echo","n":7}"#);
    let bad = event("bad.json", r#"{"do":"exit","status":3}"#);
    let own = Own {
        program: program("bootstrap"),
        events: vec![good.clone()],
        variables: Vec::new(),
        timeout: Duration::from_secs(30),
        trace_header: None,
        extension: Some(program("extension")),
    };
    let mut out = Vec::new();
    assert!(own.run(&mut out).await.unwrap(), "all were answered");
    let out = String::from_utf8(out).unwrap();
    for said in [
        "good.json: {\"do\": \"echo\", \"n\": 7}",
        "\ntrace 1-",
        "programs  [AWS::Lambda::Function]",
        "The function itself recorded nothing",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }

    let own = Own {
        events: vec![bad, good],
        ..own
    };
    let own = Own {
        trace_header: Some(HEADER.to_owned()),
        ..own
    };
    let mut out = Vec::new();
    assert!(!own.run(&mut out).await.unwrap(), "one was not");
    let out = String::from_utf8(out).unwrap();
    for said in [
        "bad.json: FAILED {",
        "exit status: 3",
        "good.json: {",
        "FAULT",
        "\ntrace 1-581cf771-a006649127e371903a2de979",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
}

/// What was printed so far.
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
    /// The URL behind `what`, as soon as all has been printed.
    async fn url(&self, what: &str) -> String {
        loop {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            if text.contains("Ctrl-C") {
                let rest = text.split_once(what).unwrap().1;
                return rest.split_whitespace().next().unwrap().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn without_events_it_stays_up_behind_http() {
    let own = Own {
        program: program("bootstrap"),
        events: Vec::new(),
        variables: Vec::new(),
        timeout: Duration::from_secs(30),
        trace_header: None,
        extension: Some(program("extension")),
    };
    let printed = Printed::default();
    let mut out = printed.clone();
    let ask = async {
        // The function finds no `do` in an event of API Gateway, and ends.
        let answer = client::get(&printed.url("function: ").await).await.unwrap();
        assert_eq!(answer.status, 500);
        let page = format!("{}/traces", printed.url("viewer: ").await);
        let traces = client::get(&page).await.unwrap();
        assert_eq!(traces.body["refused"], serde_json::json!([]));
    };
    tokio::select! {
        ended = own.run(&mut out) => panic!("it ended: {ended:?}"),
        asked = tokio::time::timeout(Duration::from_secs(60), ask) => asked.unwrap(),
    }
}

#[tokio::test]
async fn programs_that_are_not_there_are_named() {
    let own = |program: PathBuf, extension: PathBuf| Own {
        program,
        extension: Some(extension),
        events: Vec::new(),
        variables: Vec::new(),
        timeout: Duration::from_secs(10),
        trace_header: None,
    };
    let (function, extension) = (program("bootstrap"), program("extension"));
    for (own, said) in [
        (
            own("/nowhere/mine".into(), extension),
            "run /nowhere/mine as function: No such",
        ),
        (
            own(function, "/nowhere/ext".into()),
            "run /nowhere/ext as extension: No such",
        ),
    ] {
        let error = own.run(&mut Vec::new()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_function_is_called_by_its_program_or_folder() {
    for (program, expected) in [
        ("target/debug/orders", "orders"),
        ("target/lambda/orders/bootstrap", "orders"),
        ("bootstrap", "bootstrap"),
    ] {
        assert_eq!(name(Path::new(program)), expected);
    }
}

#[test]
fn events_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("event.json");
    let missing = read(&path).unwrap_err();
    fs::write(&path, "{").unwrap();
    let broken = read(&path).unwrap_err();
    for (error, said) in [(missing, "No such file"), (broken, "is no JSON: EOF")] {
        assert!(
            error.contains("event.json") && error.contains(said),
            "{error}"
        );
    }
}
