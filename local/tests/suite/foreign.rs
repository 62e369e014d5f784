//! Requests that a web page of another origin causes.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use tracestitch_local::api_gateway::ApiGateway;
use tracestitch_local::client;
use tracestitch_local::daemon::Daemon;
use tracestitch_local::emulator::{Function, Invoke};
use tracestitch_local::sns::Topic;
use tracestitch_local::sqs::Sqs;
use tracestitch_local::target::Target;
use tracestitch_local::view::Viewer;

use crate::support::{PATIENCE, program};

/// A function that must not be invoked by a foreign request.
#[derive(Debug)]
struct Answering;

impl Target for Answering {
    async fn invoke(&self, event: Bytes, _: Option<String>) -> Result<Bytes, Bytes> {
        Ok(event)
    }
}

async fn status(method: Method, url: &str, headers: &[(&str, &str)]) -> StatusCode {
    let answer = client::send(method, url, headers, "").await.unwrap();
    if answer.status == StatusCode::FORBIDDEN {
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.starts_with("Forbidden: "), "{message}");
    }
    answer.status
}

#[tokio::test]
async fn only_requests_of_this_machine_are_served() {
    let daemon = Arc::new(Daemon::start().unwrap());
    let viewer = Viewer::start(daemon).await.unwrap();
    let gateway = ApiGateway::start(Arc::new(Answering)).await.unwrap();
    for url in [format!("{}/traces", viewer.url()), gateway.url()] {
        let port = url.rsplit(':').next().unwrap().replace("/traces", "");
        let named = |name: &str| format!("{name}:{port}");
        let origin = |name: &str| format!("http://{name}:{port}");
        let (localhost, address) = (named("localhost"), named("127.0.0.1"));
        let (own, own_address) = (origin("localhost"), origin("127.0.0.1"));
        let (evil, other_port) = (origin("evil.example"), "http://localhost:1".to_owned());
        let https = own.replace("http", "https");
        for (headers, is_served, reason) in [
            (&[("host", &*address)][..], true, "a program"),
            (&[("host", &*localhost)], true, "a program, by name"),
            (&[("host", "LocalHost")], true, "capitals, no port"),
            (&[("host", "[::1]:80")], true, "version 6 of the address"),
            (&[("host", "127.9.9.9")], true, "all of 127.0.0.0/8"),
            (&[("host", "evil.example")], false, "DNS rebinding"),
            (&[("host", &*named("evil.example"))], false, "with the port"),
            (&[("host", "localhost.evil.example")], false, "a beginning"),
            (&[("host", "evil-localhost")], false, "an end"),
            (
                &[("host", "127.0.0.1.evil.example")],
                false,
                "not an address",
            ),
            (&[("host", "192.168.1.1")], false, "another machine"),
            (&[("host", "0.0.0.0")], false, "any address"),
            (&[("host", "localhost@evil.example")], false, "a user"),
            (&[("host", "evil@localhost")], false, "any user"),
            (&[("host", "")], false, "empty"),
            (
                &[("host", "localhost"), ("host", "evil.example")],
                false,
                "twice",
            ),
            (
                &[("host", &*localhost), ("origin", &*own)],
                true,
                "the own page",
            ),
            (
                &[("host", &*address), ("origin", &*own_address)],
                true,
                "the own page by address",
            ),
            (
                &[("host", &*address), ("origin", &*own)],
                false,
                "another name is another origin",
            ),
            (
                &[("host", &*localhost), ("origin", &*other_port)],
                false,
                "another port is another origin",
            ),
            (
                &[("host", &*localhost), ("origin", &*https)],
                false,
                "another scheme is another origin",
            ),
            (
                &[("host", &*address), ("origin", &*evil)],
                false,
                "a foreign page",
            ),
            (
                &[("host", &*address), ("origin", "null")],
                false,
                "a page without an origin",
            ),
            (
                &[("host", &*address), ("sec-fetch-site", "none")],
                true,
                "the address bar",
            ),
            (
                &[("host", &*address), ("sec-fetch-site", "same-origin")],
                true,
                "the own page's GET",
            ),
            (
                &[("host", &*address), ("sec-fetch-site", "cross-site")],
                false,
                "a foreign page's image",
            ),
            (
                &[("host", &*address), ("sec-fetch-site", "same-site")],
                false,
                "another port's image",
            ),
        ] {
            let expected = if is_served { 200 } else { 403 };
            let found = status(Method::GET, &url, headers).await;
            assert_eq!(found, expected, "{url}: {reason}");
        }
    }
}

#[tokio::test]
async fn foreign_form_does_not_invoke_the_function() {
    let gateway = ApiGateway::start(Arc::new(Answering)).await.unwrap();
    // A browser sends these without asking the server first.
    for content_type in ["text/plain", "application/x-www-form-urlencoded"] {
        let headers = [
            ("origin", "https://evil.example"),
            ("content-type", content_type),
        ];
        let found = status(Method::POST, &gateway.url(), &headers).await;
        assert_eq!(found, StatusCode::FORBIDDEN, "{content_type}");
    }
}

#[tokio::test]
async fn every_server_refuses_foreign_requests() {
    let sqs = Sqs::start().await.unwrap();
    let topic = Topic::start("orders", sqs.clone(), Vec::new())
        .await
        .unwrap();
    let function = Function::new("sample", program("bootstrap")).timeout(PATIENCE);
    let environment = function.init_limit(PATIENCE).start().await.unwrap();
    let outcome = environment
        .invoke(Invoke::new(r#"{"do":"describe"}"#))
        .await;
    let described: serde_json::Value = serde_json::from_slice(&outcome.payload()).unwrap();
    let api = described["variables"]["AWS_LAMBDA_RUNTIME_API"].as_str();
    for (name, url) in [
        ("SQS", sqs.endpoint()),
        ("SNS", topic.endpoint()),
        (
            "Runtime API",
            format!("http://{}/2018-06-01/runtime/invocation/next", api.unwrap()),
        ),
    ] {
        for foreign in [("host", "evil.example"), ("origin", "http://evil.example")] {
            let found = status(Method::POST, &url, &[foreign]).await;
            assert_eq!(found, StatusCode::FORBIDDEN, "{name}: {foreign:?}");
        }
    }
}
