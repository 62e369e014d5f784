//! Tests of calls without a readable response.

use aws_sdk_dynamodb::config::{SharedHttpClient, StalledStreamProtectionConfig};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns, ResolveDnsError};

use super::{super::credentials::NoCredentials, *};

/// Outcome of a single attempt without a response.
fn unanswered<'a>(kind: &'a str, said: &'a str) -> End<'a> {
    End {
        flags: FAULT,
        answer: None,
        retries: Some(0),
        exception: Some((kind, said, false)),
    }
}

#[tokio::test]
async fn no_answer_is_a_fault() {
    for (answer, came, kind, said, reason) in [
        (
            Answer::Close,
            None,
            "ConnectionFailure",
            "connection closed before message completed",
            "the connection is closed",
        ),
        (
            Answer::ok("not json"),
            Some((200, 8, true)),
            "UnreadableResponse",
            "expected",
            "an answer that cannot be read",
        ),
        (
            Answer::Cut(200),
            Some((200, 10, false)),
            "UnreadableResponse",
            "end of file before message length reached",
            "an answer that ends early",
        ),
        (
            Answer::Cut(400),
            Some((400, 10, false)),
            "UnreadableResponse",
            "end of file before message length reached",
            "an error without code and message",
        ),
    ] {
        let end = End {
            flags: FAULT,
            answer: came,
            retries: Some(0),
            exception: Some((kind, said, false)),
        };
        let (kept, _) = call(SAMPLED, [answer], once).await;
        compare(&kept, &end, reason);
    }
}

#[tokio::test]
async fn an_answer_that_stalls_is_a_fault() {
    let protection =
        StalledStreamProtectionConfig::enabled().grace_period(Duration::from_millis(50));
    let (kept, _) = call(SAMPLED, [Answer::Stall], |config| {
        once(config).stalled_stream_protection(protection.build())
    })
    .await;
    let end = End {
        flags: FAULT,
        answer: Some((200, 10, false)),
        retries: Some(0),
        exception: Some((
            "UnreadableResponse",
            "throughput of 0 B/s was observed",
            false,
        )),
    };
    compare(&kept, &end, "stalled");
}

/// A resolver that finds no host.
#[derive(Debug, Clone)]
struct NoHosts;

impl ResolveDns for NoHosts {
    fn resolve_dns<'a>(&'a self, name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Err(ResolveDnsError::new(format!("no host {name}"))))
    }
}

#[tokio::test]
async fn unreachable_host_is_named() {
    // A port that was free a moment ago and has no listener.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (url, client, said) in [
        (refusing.as_str(), None, "refused"),
        (
            "http://dynamodb.invalid",
            Some(by_resolver(NoHosts)),
            "no host dynamodb.invalid",
        ),
    ] {
        let mut config = once(config(url));
        config.set_http_client(client);
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
        let kept = Kept::default();
        assert!(!kept.invoke(SAMPLED, get(&dynamodb)).await);
        let end = unanswered("ConnectionFailure", said);
        compare(&kept, &end, said);
    }
}

#[tokio::test]
async fn failures_before_the_request_are_faults() {
    let config = || {
        aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url("http://127.0.0.1:1")
            .region(Region::new("eu-west-1"))
            .retry_config(RetryConfig::disabled())
            .interceptor(TraceInterceptor::new())
    };
    for (config, said, reason) in [
        (config(), "identity", "no provider of credentials"),
        (
            config().credentials_provider(NoCredentials),
            "none in this test",
            "a provider that has none",
        ),
    ] {
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
        let kept = Kept::default();
        assert!(!kept.invoke(SAMPLED, get(&dynamodb)).await);
        let end = unanswered("CallFailure", said);
        compare(&kept, &end, reason);
    }
}

#[tokio::test]
async fn timeouts_are_faults() {
    let short = Duration::from_millis(60);
    let operation = TimeoutConfig::builder().operation_timeout(short);
    // Long enough for the head to arrive on a busy machine.
    let long = TimeoutConfig::builder().operation_timeout(Duration::from_secs(3));
    let attempt = TimeoutConfig::builder().operation_attempt_timeout(short);
    let read = TimeoutConfig::builder().read_timeout(short);
    let began = Some((200, 10, false));
    for (timeout, answers, came, retries, said, reason) in [
        (
            &operation,
            vec![Answer::Hang],
            None,
            0,
            "operation timeout",
            "operation",
        ),
        (
            &long,
            vec![Answer::Stall],
            began,
            0,
            "operation timeout",
            "operation, in the body",
        ),
        (
            &attempt,
            vec![Answer::Hang; 3],
            None,
            2,
            "operation attempt timeout",
            "each attempt",
        ),
        (
            &read,
            vec![Answer::Hang; 3],
            None,
            2,
            "HTTP read timeout",
            "reading",
        ),
    ] {
        let (kept, _) = call(SAMPLED, answers, |config| {
            config.timeout_config(timeout.clone().build())
        })
        .await;
        let end = End {
            flags: FAULT,
            answer: came,
            retries: Some(retries),
            exception: Some(("Timeout", said, false)),
        };
        compare(&kept, &end, reason);
    }
}

/// A resolver that never returns.
#[derive(Debug, Clone)]
struct SlowHosts;

impl ResolveDns for SlowHosts {
    fn resolve_dns<'a>(&'a self, _name: &'a str) -> DnsFuture<'a> {
        DnsFuture::new(std::future::pending())
    }
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_a_timeout() {
    let timeout = TimeoutConfig::builder().connect_timeout(Duration::from_millis(60));
    let mut config = once(config("http://dynamodb.invalid")).timeout_config(timeout.build());
    config.set_http_client(Some(by_resolver(SlowHosts)));
    let dynamodb = aws_sdk_dynamodb::Client::from_conf(config.build());
    let kept = Kept::default();
    assert!(!kept.invoke(SAMPLED, get(&dynamodb)).await);
    let end = unanswered("Timeout", "HTTP connect timeout");
    compare(&kept, &end, "connect");
}

/// The SDK's HTTP client with another resolver.
fn by_resolver(resolver: impl ResolveDns + Clone + 'static) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build_with_resolver(resolver)
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_as_cancelled() {
    for way in ["select", "timeout", "abort"] {
        let mut endpoint = Endpoint::new([Answer::Hang]).await;
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config(&endpoint.url).build());
        let kept = Kept::default();
        kept.invoke(SAMPLED, async {
            match way {
                "select" => tokio::select! {
                    _ = get(&dynamodb) => unreachable!("nobody answers"),
                    _ = endpoint.request() => {}
                },
                "timeout" => {
                    let call = tokio::time::timeout(Duration::from_millis(50), get(&dynamodb));
                    call.await.unwrap_err();
                }
                _ => {
                    let work = async move { get(&dynamodb).await };
                    let task = tokio::spawn(Context::current().scope(work));
                    endpoint.request().await;
                    task.abort();
                    assert!(task.await.unwrap_err().is_cancelled());
                }
            }
        })
        .await;
        let end = End {
            flags: FAULT,
            answer: None,
            retries: None,
            exception: Some(("Cancelled", "its future was cancelled", false)),
        };
        compare(&kept, &end, way);
    }
}
