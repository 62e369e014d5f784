//! Tests of the middleware for `reqwest-middleware`.

use serde_json::Value;

use super::*;

fn client(timeout: Duration) -> reqwest_middleware::ClientWithMiddleware {
    let client = ::reqwest::Client::builder().no_proxy().timeout(timeout);
    with(client, TraceRequests::new())
}

fn with(
    client: ::reqwest::ClientBuilder,
    settings: TraceRequests,
) -> reqwest_middleware::ClientWithMiddleware {
    reqwest_middleware::ClientBuilder::new(client.build().unwrap())
        .with(settings)
        .build()
}

async fn get(timeout: Duration, answer: Answer) -> (Value, String, Kept) {
    let (port, head) = endpoint(answer).await;
    let kept = Kept::default();
    let url = format!("http://me:secret@127.0.0.1:{port}/orders/1?token=secret#secret");
    // The handler fails with the client's own error, which holds the whole URL.
    let work = crate::try_capture("get", client(timeout).get(url).send());
    let _ = kept.invoke(SAMPLED, work).await;
    assert!(
        !format!("{:?}", kept.events()).contains("secret"),
        "{:?}",
        kept.events()
    );
    (kept.one("127.0.0.1"), head.await.unwrap(), kept)
}

#[tokio::test]
async fn a_request_is_one_subsegment() {
    let (call, head, kept) = get(Duration::from_secs(10), Answer::Status(201)).await;
    let url = call["http"]["request"]["url"].as_str().unwrap();
    assert!(
        url.starts_with("http://127.0.0.1:") && url.ends_with("/orders/1"),
        "{url}"
    );
    assert_eq!(call["http"]["request"]["method"], "GET");
    assert_eq!(
        call["http"]["response"],
        json!({ "status": 201, "content_length": 2 })
    );
    assert_eq!(call["parent_id"], kept.one("get")["id"]);
    assert!(call.get("metadata").is_none(), "it was not redirected");
    let id = call["id"].as_str().unwrap();
    let header = format!("x-amzn-trace-id: root={ROOT};parent={id};sampled=1\r\n");
    assert!(head.contains(&header), "{head}");
}

#[tokio::test]
async fn timeout_is_a_fault_named_timeout() {
    let (call, ..) = get(Duration::from_millis(50), Answer::Hang).await;
    assert_eq!(call["fault"], true);
    assert_eq!(call["cause"]["exceptions"][0]["type"], "Timeout");
}

/// A resolver that finds no host.
struct NoHosts;

impl ::reqwest::dns::Resolve for NoHosts {
    fn resolve(&self, name: ::reqwest::dns::Name) -> ::reqwest::dns::Resolving {
        let name = name.as_str().to_owned();
        Box::pin(async move { Err(format!("no host {name}").into()) })
    }
}

#[tokio::test]
async fn refused_connection_is_a_fault_named_no_connection() {
    let refused = format!("http://127.0.0.1:{}/?a=secret", refusing().await);
    for (url, name, said) in [
        (refused.as_str(), "127.0.0.1", "refused"),
        ("http://shop.example/?a=secret", "shop.example", "no host"),
    ] {
        let client = ::reqwest::Client::builder().no_proxy();
        let client = client.dns_resolver(Arc::new(NoHosts));
        let client = with(client, TraceRequests::new());
        let kept = Kept::default();
        let sent = kept.invoke(SAMPLED, client.get(url).send()).await;
        assert!(sent.is_err());
        let call = kept.one(name);
        assert_eq!(call["fault"], true, "{name}");
        assert_eq!(call["cause"]["exceptions"][0]["type"], "NoConnection");
        assert!(call["cause"].to_string().contains(said), "{call}");
        assert!(!call.to_string().contains("secret"), "{call}");
    }
}

#[tokio::test]
async fn a_request_that_is_redirected_is_one() {
    let (last, arrives) = endpoint(Answer::Status(200)).await;
    let (first, leaves) = endpoint(Answer::Redirect(last)).await;
    let kept = Kept::default();
    let client = client(Duration::from_secs(10));
    let sent = client.get(format!("http://127.0.0.1:{first}/orders/1"));
    let response = kept.invoke(SAMPLED, sent.send()).await.unwrap();
    assert_eq!(response.status(), 200);
    let call = kept.one("127.0.0.1");
    assert_eq!(
        call["http"],
        json!({
            "request": { "method": "GET", "url": format!("http://127.0.0.1:{first}/orders/1") },
            "response": { "status": 200, "content_length": 2 },
        })
    );
    let answered_by = format!("http://127.0.0.1:{last}/moved");
    assert_eq!(
        call["metadata"],
        json!({ "tracestitch": { "answered_by": answered_by } })
    );
    let id = call["id"].as_str().unwrap();
    let header = format!("x-amzn-trace-id: root={ROOT};parent={id};sampled=1\r\n");
    for head in [leaves, arrives] {
        let head = head.await.unwrap();
        assert!(head.contains(&header), "{head}");
    }
}

#[tokio::test]
async fn redirect_is_followed_only_to_trusted_hosts() {
    for (settings, followed, reason) in [
        (TraceRequests::new(), true, "all hosts"),
        (
            TraceRequests::new().propagate_to(["shop.example", "127.0.0.1"]),
            true,
            "both",
        ),
        (
            TraceRequests::new().propagate_to(["shop.example"]),
            false,
            "the first alone",
        ),
        (
            TraceRequests::new().ignore(["127.0.0.1"]),
            false,
            "the second is ignored",
        ),
    ] {
        let (last, arrives) = endpoint(Answer::Status(200)).await;
        let (first, leaves) = endpoint(Answer::Redirect(last)).await;
        let client = ::reqwest::Client::builder().no_proxy();
        let client = client.resolve("shop.example", ([127, 0, 0, 1], first).into());
        let client = with(client.redirect(settings.redirects()), settings);
        let kept = Kept::default();
        let sent = client.get(format!("http://shop.example:{first}/"));
        let response = kept.invoke(SAMPLED, sent.send()).await.unwrap();
        assert_eq!(
            response.status(),
            if followed { 200 } else { 302 },
            "{reason}"
        );
        assert!(
            leaves.await.unwrap().contains("x-amzn-trace-id"),
            "{reason}"
        );
        if followed {
            assert!(
                arrives.await.unwrap().contains("x-amzn-trace-id"),
                "{reason}"
            );
        } else {
            arrives.abort();
            assert!(arrives.await.unwrap_err().is_cancelled(), "{reason}: asked");
        }
    }
}

#[test]
fn redirect_from_trusted_to_untrusted_host_is_noticed() {
    let trace = TraceRequests::new().propagate_to(["a.example", "b.example"]);
    for (from, to, expected) in [
        ("a.example", "b.example", false),
        ("a.example", "c.example", true),
        ("c.example", "a.example", false),
        ("c.example", "d.example", false),
    ] {
        assert_eq!(
            trace.leaves_trusted_hosts(from, to),
            expected,
            "{from} {to}"
        );
    }
}

#[tokio::test]
async fn settings_apply_to_middleware() {
    for (settings, own, recorded, expected, absent, reason) in [
        (
            TraceRequests::new().ignore(["127.0.0.1"]),
            None,
            false,
            "",
            "x-amzn-trace-id",
            "ignored",
        ),
        (
            TraceRequests::new().propagate_to(["shop.example"]),
            None,
            true,
            "",
            "x-amzn-trace-id",
            "not trusted",
        ),
        (
            TraceRequests::new(),
            Some("mine"),
            true,
            "x-amzn-trace-id: mine\r\n",
            "traceparent",
            "the user's header",
        ),
        (
            TraceRequests::new().with_traceparent(),
            None,
            true,
            "traceparent: 00-5759e988bd862e3fe1be46a994272793-",
            "secret",
            "W3C, too",
        ),
    ] {
        let (port, head) = endpoint(Answer::Status(200)).await;
        let client = with(::reqwest::Client::builder().no_proxy(), settings);
        let mut sent = client.get(format!("http://127.0.0.1:{port}/"));
        if let Some(own) = own {
            sent = sent.header(header::NAME, own);
        }
        let kept = Kept::default();
        kept.invoke(SAMPLED, sent.send()).await.unwrap();
        let closed = kept.closed();
        let found = closed.iter().any(|call| call["name"] == "127.0.0.1");
        assert_eq!(found, recorded, "{reason}");
        let head = head.await.unwrap();
        assert!(head.contains(expected), "{reason}: {head}");
        assert!(!head.contains(absent), "{reason}: {head}");
    }
}
