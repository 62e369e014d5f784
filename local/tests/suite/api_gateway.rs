//! Payload format 2.0 in both directions.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, header};
use serde_json::{Value, json};
use tracestitch_local::api_gateway::ApiGateway;
use tracestitch_local::client::{self, Answer};
use tracestitch_local::target::Target;
use tracestitch_wire::header::{NAME, Sampling, TraceHeader};

/// A function that answers every event in the same way and records the events.
#[derive(Debug)]
struct Recorder {
    answer: Result<&'static str, &'static str>,
    received: Mutex<Vec<(Value, String)>>,
}

impl Target for Recorder {
    async fn invoke(&self, event: Bytes, trace: Option<String>) -> Result<Bytes, Bytes> {
        let event = serde_json::from_slice(&event).unwrap();
        let received = (event, trace.unwrap_or_default());
        self.received.lock().unwrap().push(received);
        self.answer.map(Bytes::from).map_err(Bytes::from)
    }
}

/// A gateway in front of a [`Recorder`].
struct Setting {
    gateway: ApiGateway,
    target: Arc<Recorder>,
    reports: Arc<Mutex<Vec<String>>>,
}

impl Setting {
    async fn new(answer: Result<&'static str, &'static str>) -> Self {
        let target = Arc::new(Recorder {
            answer,
            received: Mutex::default(),
        });
        let reports = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&reports);
        let report = move |line: &str| lines.lock().unwrap().push(line.to_owned());
        let gateway = ApiGateway::start_with(Arc::clone(&target), report);
        Self {
            gateway: gateway.await.unwrap(),
            target,
            reports,
        }
    }

    /// Sends a request; returns the event and the trace header that the function got.
    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> (Answer, Value, String) {
        let url = format!("{}{path}", self.gateway.url());
        let answer = client::send(method, &url, headers, body).await.unwrap();
        let (event, trace) = self.target.received.lock().unwrap().remove(0);
        (answer, event, trace)
    }

    fn reports(&self) -> Vec<String> {
        self.reports.lock().unwrap().clone()
    }
}

/// Returns the response to a request for `/`, and the gateway's reports.
async fn response(answer: Result<&'static str, &'static str>) -> (Answer, Vec<String>) {
    let setting = Setting::new(answer).await;
    let (response, ..) = setting.send(Method::GET, "/", &[], "").await;
    (response, setting.reports())
}

#[tokio::test]
async fn request_becomes_an_event_of_format_2() {
    let setting = Setting::new(Ok("{}")).await;
    let before = SystemTime::now();
    let headers = [
        ("user-agent", "test/1"),
        ("X-Many", "a"),
        ("x-many", "b"),
        ("cookie", "a=1; b=2"),
        ("cookie", "c=3"),
    ];
    let path = "/orders/A%201?page=2&tag=x&tag=a%20b&tag=c+d&flag";
    let (_, event, trace) = setting
        .send(Method::POST, path, &headers, r#"{"a":1}"#)
        .await;
    let request = &event["requestContext"];
    let milliseconds = request["timeEpoch"].as_u64().unwrap();
    let earliest = before.duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert!(u128::from(milliseconds) >= earliest, "{event}");
    let host = setting.gateway.url().replace("http://", "");
    let expected = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/orders/A%201",
        "rawQueryString": "page=2&tag=x&tag=a%20b&tag=c+d&flag",
        "cookies": ["a=1", "b=2", "c=3"],
        "headers": {
            "content-length": "7",
            "host": host,
            "user-agent": "test/1",
            "x-amzn-trace-id": trace,
            "x-many": "a,b",
        },
        "queryStringParameters": {"page": "2", "tag": "x,a b,c d", "flag": ""},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": "local",
            "http": {
                "method": "POST",
                "path": "/orders/A%201",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test/1",
            },
            "requestId": request["requestId"],
            "routeKey": "$default",
            "stage": "$default",
            "time": request["time"],
            "timeEpoch": milliseconds,
        },
        "body": r#"{"a":1}"#,
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
    let time = request["time"].as_str().unwrap();
    let pattern = regex::Regex::new(r"^\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000$").unwrap();
    assert!(pattern.is_match(time), "{time}");
}

#[tokio::test]
async fn members_without_content_are_absent() {
    let setting = Setting::new(Ok("{}")).await;
    let (_, event, _) = setting.send(Method::GET, "/", &[], "").await;
    for member in ["body", "cookies", "queryStringParameters"] {
        assert!(event.get(member).is_none(), "{member}: {event}");
    }
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["isBase64Encoded"], false);
}

#[tokio::test]
async fn binary_body_is_base64() {
    let setting = Setting::new(Ok("{}")).await;
    let (_, event, _) = setting.send(Method::POST, "/", &[], &b"\xff\x00"[..]).await;
    assert_eq!(event["body"], "/wA=");
    assert_eq!(event["isBase64Encoded"], true);
}

#[tokio::test]
async fn request_without_a_trace_begins_a_sampled_one() {
    let setting = Setting::new(Ok("{}")).await;
    let (answer, event, trace) = setting.send(Method::GET, "/", &[], "").await;
    let header: TraceHeader = trace.parse().unwrap();
    assert_eq!(header.sampling, Sampling::Sampled);
    assert_eq!(event["headers"]["x-amzn-trace-id"], trace);
    assert_eq!(answer.headers[NAME], trace);
}

#[tokio::test]
async fn valid_trace_header_of_the_client_is_kept() {
    const UNSAMPLED: &str = "Root=1-581cf771-a006649127e371903a2de979;Sampled=0";
    let setting = Setting::new(Ok("{}")).await;
    for (reason, sent, is_kept) in [
        ("valid", UNSAMPLED, true),
        ("invalid", "Root=1-x;Sampled=1", false),
    ] {
        let headers = [("X-Amzn-Trace-Id", sent)];
        let (_, _, trace) = setting.send(Method::GET, "/", &headers, "").await;
        assert_eq!(trace == sent, is_kept, "{reason}: {trace}");
    }
}

#[tokio::test]
async fn answer_becomes_the_response() {
    let json = Some("application/json");
    for (reason, answer, status, body, content_type) in [
        (
            "object without statusCode",
            r#"{"a":1}"#,
            200,
            json!({"a": 1}),
            json,
        ),
        (
            "text without statusCode",
            r#""Hello""#,
            200,
            json!("Hello"),
            json,
        ),
        ("null", "null", 200, Value::Null, json),
        ("list", "[1]", 200, json!([1]), json),
        (
            "headers without statusCode",
            r#"{"headers":{"x":"y"}}"#,
            200,
            json!({"headers": {"x": "y"}}),
            json,
        ),
        (
            "text body",
            r#"{"statusCode":404,"body":"none"}"#,
            404,
            json!("none"),
            None,
        ),
        (
            "statusCode as text",
            r#"{"statusCode":"201","body":"made"}"#,
            201,
            json!("made"),
            None,
        ),
        (
            "base64",
            r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#,
            200,
            json!("hi"),
            None,
        ),
        (
            "null members",
            r#"{"statusCode":200,"body":null,"headers":null,"cookies":null,"isBase64Encoded":null}"#,
            200,
            json!(""),
            None,
        ),
        (
            "content type of the function",
            r#"{"statusCode":200,"headers":{"Content-Type":"text/html"},"body":"<p>"}"#,
            200,
            json!("<p>"),
            Some("text/html"),
        ),
    ] {
        let (found, reports) = response(Ok(answer)).await;
        assert_eq!(found.status, status, "{reason}");
        assert_eq!(found.body, body, "{reason}");
        let found = found.headers.get(header::CONTENT_TYPE);
        assert_eq!(found.map(|v| v.to_str().unwrap()), content_type, "{reason}");
        assert_eq!(reports, [""; 0], "{reason}");
    }
}

#[tokio::test]
async fn text_without_a_status_code_keeps_its_quotes() {
    let (answer, _) = response(Ok(r#""Hello, world!""#)).await;
    assert_eq!(answer.headers[header::CONTENT_LENGTH], "15");
}

#[tokio::test]
async fn each_cookie_becomes_a_header() {
    let answer = r#"{"statusCode":200,"cookies":["a=1; Secure","b=2"],
        "headers":{"set-cookie":"c=3","x-number":7}}"#;
    let (answer, _) = response(Ok(answer)).await;
    let cookies: Vec<_> = answer.headers.get_all(header::SET_COOKIE).iter().collect();
    assert_eq!(cookies, ["c=3", "a=1; Secure", "b=2"]);
    assert_eq!(answer.headers["x-number"], "7");
}

#[tokio::test]
async fn headers_of_the_connection_are_the_servers() {
    let answer = r#"{"statusCode":200,"body":"hello",
        "headers":{"Content-Length":"1","Transfer-Encoding":"gzip","Connection":"upgrade"}}"#;
    let (answer, _) = response(Ok(answer)).await;
    assert_eq!(answer.body, "hello");
    assert_eq!(answer.headers[header::CONTENT_LENGTH], "5");
    assert!(!answer.headers.contains_key(header::CONNECTION));
}

#[tokio::test]
async fn unreadable_answer_is_reported() {
    for (answer, expected) in [
        ("Hello", "it is not JSON"),
        (r#"{"statusCode":"x"}"#, r#"statusCode is "x", expected"#),
        (r#"{"statusCode":99}"#, "statusCode is 99, expected"),
        (r#"{"statusCode":101}"#, "statusCode is 101, expected"),
        (r#"{"statusCode":true}"#, "statusCode is true, expected"),
        (r#"{"statusCode":200,"body":{}}"#, "body is {}, expected"),
        (
            r#"{"statusCode":200,"body":"*","isBase64Encoded":true}"#,
            "body is not base64",
        ),
        (
            r#"{"statusCode":200,"isBase64Encoded":"true"}"#,
            r#"isBase64Encoded is "true", expected"#,
        ),
        (
            r#"{"statusCode":200,"headers":[]}"#,
            "headers is [], expected",
        ),
        (
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
            r#""a b" in headers is not a header's name"#,
        ),
        (
            r#"{"statusCode":200,"headers":{"a":"b\n"}}"#,
            r#"a is "b\n", expected"#,
        ),
        (
            r#"{"statusCode":200,"headers":{"a":["b"]}}"#,
            r#"a is ["b"], expected"#,
        ),
        (r#"{"statusCode":200,"cookies":"a=1"}"#, "cookies is"),
        (r#"{"statusCode":200,"cookies":[1]}"#, "cookies is 1"),
    ] {
        let (found, reports) = response(Ok(answer)).await;
        assert_eq!(found.status, 500, "{answer}");
        assert_eq!(found.body, json!({"message": "Internal Server Error"}));
        assert_eq!(reports.len(), 1, "{answer}: {reports:?}");
        assert!(reports[0].contains(expected), "{answer}: {reports:?}");
    }
}

#[tokio::test]
async fn failure_is_reported() {
    let (answer, reports) = response(Err(r#"{"errorType":"Sad"}"#)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body, json!({"message": "Internal Server Error"}));
    assert_eq!(reports, [r#"FAILED {"errorType":"Sad"}"#]);
}
