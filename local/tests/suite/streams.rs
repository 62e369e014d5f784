//! Responses that a function streams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tracestitch_local::api_gateway::ApiGateway;
use tracestitch_local::client;
use tracestitch_local::emulator::{Environment, Function, InvocationResult, Invoke};

use crate::support::{PATIENCE, program};

const PRELUDE: &str =
    r#"{"statusCode":201,"headers":{"content-type":"text/plain","x-own":"1"},"cookies":["a=1"]}"#;

async fn environment(timeout: Duration) -> Arc<Environment> {
    let function = Function::new("streams", program("bootstrap"))
        .timeout(timeout)
        .init_limit(PATIENCE);
    Arc::new(function.start().await.unwrap())
}

/// Returns an event for which the function streams `parts`. It waits for the file `go` of `extra`
/// before the last part.
fn event(parts: &[&str], extra: &Value) -> String {
    let mut event = json!({"do": "stream", "parts": parts});
    let extra = extra.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(extra);
    event.to_string()
}

/// A gateway in front of a function; a request's body is the event.
struct Setting {
    gateway: ApiGateway,
    reports: Arc<Mutex<Vec<String>>>,
    _environment: Arc<Environment>,
}

impl Setting {
    async fn new(timeout: Duration) -> Self {
        let environment = environment(timeout).await;
        let reports = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&reports);
        let report = move |line: &str| lines.lock().unwrap().push(line.to_owned());
        let gateway = ApiGateway::start_with(Arc::clone(&environment), report);
        Self {
            gateway: gateway.await.unwrap(),
            reports,
            _environment: environment,
        }
    }

    async fn send(&self, event: &str) -> Response<Incoming> {
        let url = self.gateway.url();
        let response = client::open(Method::POST, &url, &[], event.to_owned());
        tokio::time::timeout(PATIENCE, response)
            .await
            .expect("the response begins")
            .unwrap()
    }

    fn reports(&self) -> Vec<String> {
        self.reports.lock().unwrap().clone()
    }
}

/// Reads one part of a body; `None` at its end.
async fn part(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    let frame = tokio::time::timeout(PATIENCE, body.frame());
    let frame = frame.await.expect("a part arrives")?;
    Some(frame.map(|frame| frame.into_data().unwrap()))
}

#[tokio::test]
async fn parts_arrive_while_the_function_writes() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let setting = Setting::new(PATIENCE).await;
    let event = event(&[PRELUDE, "NUL", "one", "two"], &json!({ "go": go }));
    let response = setting.send(&event).await;
    assert_eq!(response.status(), 201);
    let headers = response.headers();
    assert_eq!(headers["x-own"], "1");
    assert_eq!(headers[header::CONTENT_TYPE], "text/plain");
    assert_eq!(headers[header::SET_COOKIE], "a=1");
    let mut body = response.into_body();
    assert_eq!(part(&mut body).await.unwrap().unwrap(), "one");
    std::fs::write(&go, "").unwrap();
    assert_eq!(part(&mut body).await.unwrap().unwrap(), "two");
    assert!(part(&mut body).await.is_none(), "the body ends");
    assert_eq!(setting.reports(), [""; 0]);
}

#[tokio::test]
async fn prelude_may_be_split_anywhere() {
    let setting = Setting::new(PATIENCE).await;
    let (first, second) = PRELUDE.split_at(20);
    for parts in [
        &[first, second, "NUL", "body"][..],
        &[PRELUDE, "NUL:3", "NUL:5", "body"],
        &[PRELUDE, "NUL", "bo", "dy"],
    ] {
        let response = setting.send(&event(parts, &json!({}))).await;
        assert_eq!(response.status(), 201, "{parts:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "body", "{parts:?}");
    }
}

#[tokio::test]
async fn stream_of_another_type_is_the_body() {
    let setting = Setting::new(PATIENCE).await;
    let event = event(&["a", "b"], &json!({"type": "text/event-stream"}));
    let response = setting.send(&event).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "ab");
}

#[tokio::test]
async fn stream_without_a_head_is_reported() {
    let setting = Setting::new(PATIENCE).await;
    for (parts, expected) in [
        (&["{}"][..], "the stream ends before eight NUL bytes"),
        (&["{", "NUL", "x"], "the stream begins without JSON"),
        (
            &[r#"{"statusCode":"x"}"#, "NUL"],
            r#"statusCode is "x", expected"#,
        ),
    ] {
        let response = setting.send(&event(parts, &json!({}))).await;
        assert_eq!(response.status(), 500, "{parts:?}");
        let last = setting.reports().pop().unwrap();
        assert!(last.contains(expected), "{parts:?}: {last}");
    }
}

#[tokio::test]
async fn failure_in_the_middle_breaks_the_response() {
    let short = Duration::from_secs(3);
    for (timeout, extra, expected) in [
        (PATIENCE, json!({"end": "exit"}), "Runtime.ExitError"),
        (PATIENCE, json!({"end": "trailer"}), "gone wrong"),
        (short, json!({"end": "sleep"}), "Task timed out"),
    ] {
        let setting = Setting::new(timeout).await;
        let response = setting.send(&event(&[PRELUDE, "NUL", "one"], &extra)).await;
        assert_eq!(response.status(), 201, "{extra}");
        let body = response.into_body().collect().await;
        assert!(body.is_err(), "{extra}: {body:?}");
        let last = setting.reports().pop().unwrap();
        assert!(last.contains(expected), "{extra}: {last}");
    }
}

#[tokio::test]
async fn invocation_goes_on_when_the_client_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let go = folder.path().join("go");
    let setting = Setting::new(PATIENCE).await;
    let waiting = event(&[PRELUDE, "NUL", "one", "two"], &json!({ "go": go }));
    let response = setting.send(&waiting).await;
    drop(response);
    std::fs::write(&go, "").unwrap();
    // One environment runs one invocation after the other.
    let response = setting
        .send(&event(&[PRELUDE, "NUL", "next"], &json!({})))
        .await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "next");
    assert_eq!(setting.reports(), [""; 0]);
}

#[tokio::test]
async fn outcome_holds_the_whole_response() {
    let environment = environment(PATIENCE).await;
    let outcome = environment
        .invoke(Invoke::new(event(&["a", "b"], &json!({}))))
        .await;
    assert_eq!(outcome.result, InvocationResult::Response("ab".into()));
}

#[tokio::test]
async fn reported_error_of_a_stream_is_the_outcome() {
    let environment = environment(PATIENCE).await;
    let outcome = environment
        .invoke(Invoke::new(event(&["a"], &json!({"end": "trailer"}))))
        .await;
    let expected = InvocationResult::FunctionError {
        payload: r#"{"errorMessage": "gone wrong"}"#.into(),
        error_type: Some("Function.Sad".into()),
    };
    assert_eq!(outcome.result, expected);
}
