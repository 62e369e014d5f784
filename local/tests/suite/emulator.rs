//! Environments with real processes, whose programs are in `tests/programs`.

mod ends;
mod freeze;
mod managed;
mod tracing;

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tracestitch_local::emulator::{Environment, Function, InvocationResult, Invoke, Outcome};

use crate::support::{PATIENCE, program};

/// Returns a function without extensions.
fn function() -> Function {
    Function::new("sample", program("bootstrap"))
        .timeout(PATIENCE)
        .init_limit(PATIENCE)
}

/// Makes extensions of these names, as links to one program in a directory.
fn extensions(names: &[&str]) -> (TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = names
        .iter()
        .map(|name| directory.path().join(name))
        .collect();
    for path in &paths {
        symlink(program("extension"), path).unwrap();
    }
    (directory, paths)
}

fn event(event: Value) -> Invoke {
    Invoke::new(event.to_string())
}

#[track_caller]
fn answer(outcome: &Outcome) -> Value {
    match &outcome.result {
        InvocationResult::Response(payload) => serde_json::from_slice(payload).unwrap(),
        other => panic!("expected a response, got {other:?}"),
    }
}

async fn eventually<T>(event: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "did not happen in {PATIENCE:?}: {event}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the rest of each line of a source that begins with `label`, as JSON or as text.
fn logged(environment: &Environment, source: &str, label: &str) -> Vec<Value> {
    let lines = environment
        .logs()
        .into_iter()
        .filter(|line| line.source == source);
    lines
        .filter_map(|line| {
            let rest = line.text.strip_prefix(label)?.trim().to_owned();
            Some(serde_json::from_str(&rest).unwrap_or(Value::String(rest)))
        })
        .collect()
}

/// Waits for the first such line.
async fn first_logged(environment: &Environment, source: &str, label: &str) -> Value {
    let found = || logged(environment, source, label).into_iter().next();
    eventually(&format!("{source} logs {label:?}"), found).await
}

/// Returns the kernel's state of a process: `T` is stopped; `None` after its end.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?
        .1
        .chars()
        .next()
        .filter(|state| *state != 'Z')
}

async fn is_gone(pid: u32) {
    eventually(&format!("process {pid} ends"), || {
        state(pid).is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn function_starts_once_and_answers() {
    let environment = function().start().await.unwrap();
    assert_eq!(
        environment.function_pid(),
        None,
        "started before the first invocation"
    );

    let first = environment
        .invoke(event(json!({ "do": "echo", "n": 1 })))
        .await;
    assert_eq!(answer(&first), json!({ "do": "echo", "n": 1 }));
    assert!(
        first.init.is_some(),
        "the first invocation starts the function"
    );
    let pid = environment.function_pid();

    let second = environment
        .invoke(event(json!({ "do": "echo", "n": 2 })))
        .await;
    assert_eq!(answer(&second)["n"], 2);
    assert_eq!(
        (second.init, environment.function_pid()),
        (None, pid),
        "the second one does not"
    );
}

#[tokio::test]
async fn runtime_gets_documented_headers() {
    let environment = function().timeout(PATIENCE).start().await.unwrap();
    let outcome = environment
        .invoke(event(json!({ "do": "describe" })).request_id("r-1"))
        .await;
    let headers = &answer(&outcome)["headers"];
    assert_eq!(headers["lambda-runtime-aws-request-id"], "r-1");
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:sample";
    assert_eq!(headers["lambda-runtime-invoked-function-arn"], arn);
    let deadline: u64 = headers["lambda-runtime-deadline-ms"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let expected = (outcome.started + PATIENCE).duration_since(UNIX_EPOCH);
    assert_eq!(u128::from(deadline), expected.unwrap().as_millis());
    assert!(
        headers.get("lambda-runtime-trace-id").is_none(),
        "no trace, no header"
    );
}

#[tokio::test]
async fn processes_inherit_only_the_path() {
    let (_directory, paths) = extensions(&["watch"]);
    let environment = function()
        .extension(&paths[0])
        .env("TABLE_NAME", "orders")
        .start()
        .await
        .unwrap();
    let outcome = environment.invoke(event(json!({ "do": "describe" }))).await;
    let runtime = answer(&outcome);
    let extension = first_logged(&environment, "watch", "variables").await;

    assert_eq!(
        runtime["directory"],
        program("").to_str().unwrap().trim_end_matches('/')
    );
    for (name, in_runtime, in_extension) in [
        ("TABLE_NAME", true, true),
        ("TRACESTITCH_SOCKET", true, true),
        ("AWS_REGION", true, true),
        ("PATH", true, true),
        ("_HANDLER", true, false),
        ("LAMBDA_TASK_ROOT", true, false),
        ("CARGO_MANIFEST_DIR", false, false),
        ("HOME", false, false),
    ] {
        assert_eq!(
            runtime["variables"].get(name).is_some(),
            in_runtime,
            "{name} in the runtime"
        );
        assert_eq!(
            extension.get(name).is_some(),
            in_extension,
            "{name} in the extension"
        );
    }
    let socket = environment.socket();
    assert_eq!(extension["TRACESTITCH_SOCKET"], socket.to_str().unwrap());
}

#[tokio::test]
async fn reported_error_leaves_the_function_alive() {
    let environment = function().start().await.unwrap();
    let outcome = environment.invoke(event(json!({ "do": "error" }))).await;
    let expected = InvocationResult::FunctionError {
        payload: r#"{"errorMessage": "sad"}"#.into(),
        error_type: Some("Function.Sad".into()),
    };
    assert_eq!(outcome.result, expected);
    let pid = environment.function_pid();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    assert_eq!(environment.function_pid(), pid);
}

#[tokio::test]
async fn broken_protocol_is_refused() {
    let environment = function().start().await.unwrap();
    let outcome = environment
        .invoke(event(json!({ "do": "answer an unknown request" })))
        .await;
    assert_eq!(answer(&outcome), "done");
    assert_eq!(
        first_logged(&environment, "function", "posted response").await,
        400
    );
    let outcome = environment
        .invoke(event(json!({ "do": "ask twice" })))
        .await;
    assert_eq!(answer(&outcome), 403);
}

#[tokio::test]
async fn answer_over_six_megabytes_is_an_error() {
    let environment = function().start().await.unwrap();
    let outcome = environment
        .invoke(event(json!({ "do": "large", "bytes": 6_291_600 })))
        .await;
    let InvocationResult::FunctionError { error_type, .. } = &outcome.result else {
        panic!("expected an error, got {} bytes", outcome.payload().len());
    };
    assert_eq!(error_type.as_deref(), Some("Function.ResponseSizeTooLarge"));
    assert_eq!(
        first_logged(&environment, "function", "posted response").await,
        413
    );
}

#[tokio::test]
async fn extensions_register_before_the_runtime_starts() {
    let (_directory, paths) = extensions(&["alpha", "beta"]);
    let environment = function()
        .extension(&paths[0])
        .extension(&paths[1])
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    let registered = first_logged(&environment, "beta", "registered").await;
    let expected = json!({
        "functionName": "sample", "functionVersion": "$LATEST", "handler": "bootstrap",
        "accountId": "123456789012",
    });
    assert_eq!(registered, json!({ "status": 200, "body": expected }));

    let logs = environment.logs();
    let when = |source, text| {
        let line = logs
            .iter()
            .find(|line| line.source == source && line.text.starts_with(text));
        line.unwrap_or_else(|| panic!("{source} did not log {text:?}"))
            .time
    };
    // Each process writes its line after the step before; only the readers of the pipes can differ.
    for extension in ["alpha", "beta"] {
        assert!(when(extension, "variables") <= when("function", "function starts"));
    }
}

#[tokio::test]
async fn extension_must_register_under_its_file_name() {
    let (_directory, paths) = extensions(&["alpha"]);
    let environment = function()
        .extension(&paths[0])
        .env("EXTENSION_NAME", "beta")
        .start()
        .await
        .unwrap();
    let outcome = environment.invoke(event(json!({ "do": "echo" }))).await;
    assert!(
        matches!(outcome.result, InvocationResult::Crashed { .. }),
        "{outcome:?}"
    );
    let registered = first_logged(&environment, "alpha", "registered").await;
    assert_eq!(
        registered["body"]["errorType"],
        "Extension.RegistrationClosed"
    );
}

#[tokio::test]
async fn internal_extension_cannot_register_for_shutdown() {
    let environment = function()
        .env("INIT", "internal extension")
        .start()
        .await
        .unwrap();
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    assert_eq!(
        logged(&environment, "function", "internal extension"),
        [403, 200]
    );
}

#[tokio::test]
async fn invocations_run_one_after_the_other() {
    let environment = function().start().await.unwrap();
    let (first, second) = tokio::join!(
        environment.invoke(event(json!({ "do": "sleep", "seconds": 0.2 }))),
        environment.invoke(event(json!({ "do": "echo" }))),
    );
    assert!(second.started >= first.ended);
}

#[tokio::test]
async fn invocation_goes_on_when_its_caller_leaves() {
    let environment = function().start().await.unwrap();
    tokio::select! {
        _ = environment.invoke(event(json!({ "do": "sleep", "seconds": 0.2 }))) => {}
        _ = first_logged(&environment, "function", "sleeping") => {}
    }
    answer(&environment.invoke(event(json!({ "do": "echo" }))).await);
    assert_eq!(
        first_logged(&environment, "function", "posted response").await,
        202
    );
}

#[tokio::test]
async fn invalid_function_is_refused_with_the_reason() {
    let (directory, paths) = extensions(&["alpha"]);
    let text = directory.path().join("text");
    fs::write(&text, "").unwrap();
    let many = (0..11).fold(function(), |function, _| function.extension(&paths[0]));
    for (function, expected) in [
        (
            Function::new("f", "/no/such/program"),
            "cannot run /no/such/program as function: No such",
        ),
        (
            function().extension(directory.path()),
            "not an executable file",
        ),
        (function().extension(&text), "not an executable file"),
        (
            function().extension(&paths[0]).extension(&paths[0]),
            "file name \"alpha\"",
        ),
        (many, "has 11 extensions; Lambda allows 10"),
    ] {
        let error = function.start().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
}
