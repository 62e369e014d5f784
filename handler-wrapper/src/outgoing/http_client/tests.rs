//! Real clients against real HTTP answers.

#[cfg(feature = "reqwest")]
mod by_reqwest;

use std::sync::Arc;
use std::time::Duration;

use ::tower::{Layer, ServiceExt};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header::HOST};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tracestitch_wire::header;

use super::*;
use crate::{
    tests::{
        header::{PARENT, ROOT, SAMPLED},
        kept::{Kept, invoke_in},
    },
    trace::trace::Trace,
};

/// Behaviour of an endpoint.
#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// Redirects to this port.
    Redirect(u16),
    /// The head of an answer, and then nothing.
    Stall,
    Hang,
    Close,
}

/// Starts an endpoint for one request. Returns its port and the head of the request.
async fn endpoint(answer: Answer) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let head = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await.unwrap();
        }
        match answer {
            Answer::Status(status) => {
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            Answer::Redirect(port) => {
                let answer = format!(
                    "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/moved?token=secret\r\n\
                     content-length: 0\r\nconnection: close\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            Answer::Stall => {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                drop(stream.read(&mut [0]).await);
            }
            // Until the client closes the connection.
            Answer::Hang => drop(stream.read(&mut [0]).await),
            Answer::Close => {}
        }
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    (port, head)
}

fn client(settings: &TraceRequests) -> TracedClient<Client<HttpConnector, Empty<Bytes>>> {
    settings.layer(Client::builder(TokioExecutor::new()).build_http())
}

fn request(port: u16) -> http::Request<Empty<Bytes>> {
    let uri = format!("http://127.0.0.1:{port}/orders/1?token=secret");
    let request = http::Request::get(uri).header("authorization", "Bearer secret");
    request.body(Empty::new()).unwrap()
}

async fn send(settings: &TraceRequests, port: u16) -> Result<StatusCode, Error> {
    let response = client(settings).oneshot(request(port)).await?;
    Ok(response.status())
}

/// Sends one request in an invocation with this header. Returns the recorded events and its head.
async fn exchange(header: &str, settings: &TraceRequests, answer: Answer) -> (Kept, String) {
    let (port, head) = endpoint(answer).await;
    let kept = Kept::default();
    let _ = kept.invoke(header, send(settings, port)).await;
    (kept, head.await.unwrap())
}

#[tokio::test]
async fn a_request_is_one_subsegment() {
    let (port, head) = endpoint(Answer::Status(200)).await;
    let kept = Kept::default();
    let status = kept
        .invoke(SAMPLED, send(&TraceRequests::new(), port))
        .await;
    assert_eq!(status.unwrap(), 200);
    let call = kept.one("127.0.0.1");
    assert_eq!(call["namespace"], "remote");
    assert_eq!(call["parent_id"], kept.one("order-worker")["id"]);
    assert_eq!(
        call["http"],
        json!({
            "request": { "method": "GET", "url": format!("http://127.0.0.1:{port}/orders/1") },
            "response": { "status": 200, "content_length": 2 },
        })
    );
    let id = call["id"].as_str().unwrap();
    let header = format!("x-amzn-trace-id: root={ROOT};parent={id};sampled=1\r\n");
    let head = head.await.unwrap();
    assert!(head.contains(&header), "{head}");
    assert!(!head.contains("traceparent"));
    assert!(!format!("{:?}", kept.events()).contains("secret"));
}

#[tokio::test]
async fn status_decides_error_throttle_and_fault() {
    for (status, flags, reason) in [
        (204, [false, false, false], "no failure"),
        (302, [false, false, false], "the client follows"),
        (404, [true, false, false], "the caller's"),
        (429, [true, true, false], "too many requests"),
        (503, [false, false, true], "the callee's"),
    ] {
        let (kept, _) = exchange(SAMPLED, &TraceRequests::new(), Answer::Status(status)).await;
        let call = kept.one("127.0.0.1");
        let seen = ["error", "throttle", "fault"].map(|flag| call.get(flag).is_some());
        assert_eq!(seen, flags, "{status}: {reason}");
        assert_eq!(call["http"]["response"]["status"], status);
        assert!(kept.one("order-worker").get("fault").is_none());
    }
}

#[tokio::test]
async fn no_answer_is_a_fault_with_its_cause() {
    let (kept, _) = exchange(SAMPLED, &TraceRequests::new(), Answer::Close).await;
    let call = kept.one("127.0.0.1");
    assert_eq!(call["fault"], true);
    assert!(
        call["cause"]["exceptions"].as_array().unwrap().len() > 1,
        "{call}"
    );
}

/// A port without a listener: it was free a moment ago.
async fn refusing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn unreachable_host_is_named() {
    let unknown = ::tower::service_fn(|name| async move {
        Err::<std::iter::Empty<std::net::SocketAddr>, _>(std::io::Error::other(format!(
            "no host {name:?}"
        )))
    });
    let by_name = TraceRequests::new().layer(
        Client::builder(TokioExecutor::new()).build(HttpConnector::new_with_resolver(unknown)),
    );
    let kept = Kept::default();
    let uri = "http://shop.example/orders?token=secret";
    let named = http::Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
    let (settings, port) = (TraceRequests::new(), refusing().await);
    kept.invoke(SAMPLED, async {
        by_name.oneshot(named).await.unwrap_err();
        send(&settings, port).await.unwrap_err();
    })
    .await;
    for (name, said) in [("shop.example", "no host"), ("127.0.0.1", "refused")] {
        let call = kept.one(name);
        assert_eq!(call["fault"], true, "{name}");
        assert!(call["cause"].to_string().contains(said), "{call}");
        assert!(call["http"].get("response").is_none(), "{call}");
        assert!(!call.to_string().contains("secret"), "{call}");
    }
}

#[tokio::test]
async fn a_body_that_is_dropped_changes_nothing() {
    let (port, head) = endpoint(Answer::Stall).await;
    let kept = Kept::default();
    let call = client(&TraceRequests::new()).oneshot(request(port));
    let response = kept.invoke(SAMPLED, call).await.unwrap();
    let before = kept.one("127.0.0.1");
    assert_eq!(
        before["http"]["response"],
        json!({ "status": 200, "content_length": 10 })
    );
    drop(response);
    head.await.unwrap();
    assert_eq!(kept.one("127.0.0.1"), before);
    assert!(before.get("fault").is_none());
}

#[tokio::test]
async fn dropped_request_is_a_fault() {
    let (port, head) = endpoint(Answer::Hang).await;
    let kept = Kept::default();
    let settings = TraceRequests::new();
    let work = kept.invoke(SAMPLED, async {
        let sent = send(&settings, port);
        assert!(
            tokio::time::timeout(Duration::from_millis(50), sent)
                .await
                .is_err()
        );
    });
    work.await;
    head.abort();
    let call = kept.one("127.0.0.1");
    assert_eq!(call["fault"], true);
    assert_eq!(call["cause"]["exceptions"][0]["type"], "Cancelled");
}

#[tokio::test]
async fn unsampled_requests_pass_the_header_on() {
    let unsampled = format!("Root={ROOT};Parent={PARENT};Sampled=0;Lineage=a:1");
    let settings = TraceRequests::new().with_traceparent();
    let (kept, head) = exchange(&unsampled, &settings, Answer::Status(200)).await;
    assert!(kept.events().is_empty());
    let header = format!("x-amzn-trace-id: {}\r\n", unsampled.to_ascii_lowercase());
    assert!(head.contains(&header), "{head}");
    let root = "5759e988bd862e3fe1be46a994272793";
    assert!(
        head.contains(&format!("traceparent: 00-{root}-{PARENT}-00\r\n")),
        "{head}"
    );
}

#[tokio::test]
async fn w3c_goes_out_when_it_is_switched_on() {
    let settings = TraceRequests::new().with_traceparent();
    let (kept, head) = exchange(SAMPLED, &settings, Answer::Status(200)).await;
    let call = kept.one("127.0.0.1");
    let id = call["id"].as_str().unwrap();
    let traceparent = format!("traceparent: 00-5759e988bd862e3fe1be46a994272793-{id}-01\r\n");
    assert!(head.contains(&traceparent), "{head}");
}

#[tokio::test]
async fn tracestate_goes_on_beside_traceparent_alone() {
    let state = "congo=t61rcWkgMzE,rojo=1";
    for (settings, expected) in [
        (TraceRequests::new().with_traceparent(), true),
        (TraceRequests::new(), false),
    ] {
        let header = SAMPLED
            .parse::<header::TraceHeader>()
            .unwrap()
            .with_state(state);
        let (port, head) = endpoint(Answer::Status(200)).await;
        let trace = Trace::new(Arc::new(Kept::default().tracer()), Some(header), "r-1");
        let work = client(&settings).oneshot(request(port));
        invoke_in(trace, work).await.unwrap();
        let head = head.await.unwrap();
        assert_eq!(
            head.contains(&format!("tracestate: {}\r\n", state.to_ascii_lowercase())),
            expected,
            "{head}"
        );
    }
}

#[tokio::test]
async fn ignored_host_is_not_recorded_and_gets_no_header() {
    let settings = TraceRequests::new().ignore(["127.0.0.1"]);
    let (kept, head) = exchange(SAMPLED, &settings, Answer::Status(200)).await;
    assert!(!head.contains("x-amzn-trace-id"), "{head}");
    assert_eq!(kept.closed().len(), 1, "the handler alone");
}

#[tokio::test]
async fn untrusted_host_is_recorded_and_gets_no_header() {
    let settings = TraceRequests::new()
        .propagate_to(["*.internal.example"])
        .with_traceparent();
    let (kept, head) = exchange(SAMPLED, &settings, Answer::Status(200)).await;
    assert!(
        !head.contains("x-amzn-trace-id") && !head.contains("traceparent"),
        "{head}"
    );
    kept.one("127.0.0.1");
}

#[tokio::test]
async fn header_of_the_user_stays() {
    let (port, head) = endpoint(Answer::Status(200)).await;
    let kept = Kept::default();
    let mut request = request(port);
    request
        .headers_mut()
        .insert(header::NAME, "mine".parse().unwrap());
    let client = client(&TraceRequests::new());
    kept.invoke(SAMPLED, client.oneshot(request)).await.unwrap();
    assert!(head.await.unwrap().contains("x-amzn-trace-id: mine\r\n"));
}

#[tokio::test]
async fn outside_an_invocation_nothing_is_changed() {
    let (port, head) = endpoint(Answer::Status(200)).await;
    send(&TraceRequests::new().with_traceparent(), port)
        .await
        .unwrap();
    let head = head.await.unwrap();
    assert!(
        !head.contains("x-amzn-trace-id") && !head.contains("traceparent"),
        "{head}"
    );
}

/// Sends a request to a service that returns `answer`. Returns the subsegment.
async fn answered(answer: http::Response<()>, inside: fn()) -> serde_json::Value {
    let client = TraceRequests::new().layer(::tower::service_fn(move |_| {
        inside();
        std::future::ready(Ok::<_, std::io::Error>(answer.clone()))
    }));
    let kept = Kept::default();
    let request = http::Request::post("http://shop.example/orders.Orders/Get");
    let sent = client.oneshot(request.body(()).unwrap());
    kept.invoke(SAMPLED, sent).await.unwrap();
    kept.one("shop.example")
}

#[tokio::test]
async fn grpc_status_counts() {
    for (code, flags, reason) in [
        ("0", [false, false, false], "no failure"),
        ("5", [true, false, false], "not found"),
        ("8", [true, true, false], "too much"),
        ("13", [false, false, true], "internal"),
        ("x", [false, false, false], "no code"),
    ] {
        let answer = http::Response::builder().header("grpc-status", code);
        let call = answered(answer.body(()).unwrap(), || {}).await;
        let seen = ["error", "throttle", "fault"].map(|flag| call.get(flag).is_some());
        assert_eq!(seen, flags, "{code}: {reason}");
    }
}

/// A client that is never ready.
struct Closed;

impl ::tower::Service<http::Request<()>> for Closed {
    type Response = http::Response<()>;
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(
        &mut self,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        Err(std::io::Error::other("closed")).into()
    }

    fn call(&mut self, _request: http::Request<()>) -> Self::Future {
        panic!("it was not ready")
    }
}

#[tokio::test]
async fn a_client_is_asked_only_when_it_is_ready() {
    let client = TraceRequests::new().layer(Closed);
    let kept = Kept::default();
    let request = http::Request::get("http://shop.example/").body(()).unwrap();
    let sent = kept.invoke(SAMPLED, client.oneshot(request)).await;
    assert_eq!(sent.unwrap_err().to_string(), "closed");
    assert_eq!(kept.closed().len(), 1, "the handler alone");
}

#[tokio::test]
async fn fault_recorded_inside_stays() {
    let call = answered(http::Response::new(()), || {
        crate::record_error(&std::fmt::Error);
    });
    let call = call.await;
    assert_eq!(call["fault"], true, "{call}");
    assert!(call["cause"].is_object(), "{call}");
}

/// Clients that connect to one host send a path as URI.
#[tokio::test]
async fn host_header_names_a_request_without_host_in_its_uri() {
    let client = TraceRequests::new().layer(::tower::service_fn(|_| {
        std::future::ready(Ok::<_, std::io::Error>(http::Response::new(())))
    }));
    let kept = Kept::default();
    kept.invoke(SAMPLED, async {
        for host in [
            Some("shop.example:8080"),
            Some("[::1]:80"),
            Some("no host"),
            None,
        ] {
            let mut request = http::Request::get("/orders?token=secret").body(()).unwrap();
            if let Some(host) = host {
                let host = HeaderValue::from_static(host);
                request.headers_mut().insert(HOST, host);
            }
            client.clone().oneshot(request).await.unwrap();
        }
    })
    .await;
    let closed = kept.closed();
    let calls = closed.iter().filter(|d| d["namespace"] == "remote");
    let names: Vec<_> = calls.map(|call| call["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop.example", "::1", "remote", "remote"]);
    assert!(!format!("{closed:?}").contains("secret"));
}
