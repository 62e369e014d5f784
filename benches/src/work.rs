//! The measured work, which runs in its own process.

use std::env;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, RuntimeComponents};
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use tower::{Layer, Service};
use tracestitch::{LogLayer, SpanLayer, TraceLayer, aws::TraceInterceptor};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// Does the work of this project that is called `work`, `repeat` times.
///
/// # Panics
///
/// If there is no such work.
pub(crate) async fn run(work: &str, header: &str, repeat: u32) {
    match work {
        "subsegment" => {
            for count in chunks(repeat) {
                in_invocation(header, subsegments(count)).await;
            }
        }
        "instrumented" => {
            tracing_subscriber::registry()
                .with(SpanLayer::new().filtered())
                .init();
            for count in chunks(repeat) {
                in_invocation(header, instrumented(count)).await;
            }
        }
        "invocation" | "long invocation" => {
            let count = if work == "invocation" { 5 } else { 50 };
            for _ in 0..repeat {
                in_invocation(header, subsegments(count)).await;
            }
        }
        "invocation, bare" => {
            for _ in 0..repeat {
                bare_invocation(header).await;
            }
        }
        "search" => {
            let body = body();
            for _ in 0..repeat {
                assert!(tracestitch::embed::extract_body(body.as_bytes()).is_some());
            }
        }
        "call" | "call, bare" => {
            let dynamodb = client(work == "call");
            for count in chunks(repeat) {
                in_invocation(header, calls(&dynamodb, count)).await;
            }
        }
        "call with layers" | "call with layers, bare" => {
            tracing_subscriber::registry()
                .with(SpanLayer::new().filtered())
                .with(LogLayer::from_env().filtered())
                .init();
            let dynamodb = client(work == "call with layers");
            for count in chunks(repeat) {
                in_invocation(header, calls(&dynamodb, count)).await;
            }
        }
        batch => match batch.strip_prefix("batch of ") {
            Some(batch) => batches(header, batch, repeat).await,
            None => panic!("unknown work: {work}"),
        },
    }
}

/// Divides repetitions into invocations: at most 1000 subsegments of an invocation are recorded,
/// and 200 of one that is held back until it fails.
fn chunks(repeat: u32) -> impl Iterator<Item = u32> {
    let held = env::var_os("TRACESTITCH_ERRORS").is_some();
    let most = if held { 200 } else { 500 };
    (0..repeat)
        .step_by(most as usize)
        .map(move |done| most.min(repeat - done))
}

/// Returns a message of 100 KB that has a header after everything else.
fn body() -> String {
    let order = r#"{"orderId":"o-1234","customer":{"id":7,"name":"Ada Example"},"items":[{"sku":"lamp-3","quantity":2,"price":19.95}],"note":"at the door, \"please\"","paid":true}"#;
    let orders = vec![order; 100_000 / order.len()].join(",");
    let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    format!(r#"{{"orders":[{orders}],"_traceId":"{header}"}}"#)
}

async fn subsegments(repeat: u32) {
    for _ in 0..repeat {
        tracestitch::capture("price the order", async {
            tracestitch::annotate("order_id", "o-1234");
            tracestitch::annotate("items", 3);
        })
        .await;
    }
}

pub(crate) async fn instrumented(repeat: u32) {
    for _ in 0..repeat {
        price_the_order("o-1234", 3).await;
    }
}

#[tracing::instrument]
async fn price_the_order(order_id: &str, items: u32) {
    std::hint::black_box(items);
}

/// Handles batches of the size that begins `batch`, each message in its producer's trace or, if it
/// ends with `bare`, without tracing.
async fn batches(header: &str, batch: &str, repeat: u32) {
    let (size, bare) = match batch.strip_suffix(", bare") {
        Some(size) => (size, true),
        None => (batch, false),
    };
    let event = messages(size.parse().expect("the size of a batch is a number"));
    for _ in 0..repeat {
        let event = event.clone();
        let handle = async |message: SqsMessage| {
            std::hint::black_box(message);
            Ok::<_, Error>(())
        };
        let work = async {
            if bare {
                for message in event.records {
                    handle(message).await.expect("a message that does not fail");
                }
            } else {
                tracestitch::sqs::each(event, handle).await;
            }
        };
        in_invocation(header, work).await;
    }
}

/// Returns a batch of this size, each message with another trace.
fn messages(size: usize) -> SqsEvent {
    let mut event = SqsEvent::default();
    event.records = (0..size)
        .map(|number| {
            let mut message = SqsMessage::default();
            message.message_id = Some(format!("message-{number}"));
            message.body = Some(r#"{"orderId":"o-1234","quantity":3}"#.to_owned());
            message.event_source = Some("aws:sqs".to_owned());
            message.event_source_arn = Some("arn:aws:sqs:eu-west-1:123456789012:orders".to_owned());
            let header = format!("Root=1-5759e988-{number:024x};Parent=53995c3f42cd8ad8;Sampled=1");
            let attributes = [
                ("AWSTraceHeader", header.as_str()),
                ("ApproximateReceiveCount", "1"),
                ("SentTimestamp", "1795176000000"),
            ];
            message.attributes = attributes
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
            message
        })
        .collect();
    event
}

fn event(header: &str) -> LambdaEvent<()> {
    let mut context = Context::default();
    context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned();
    context.xray_trace_id = Some(header.to_owned());
    LambdaEvent::new((), context)
}

async fn bare_invocation(header: &str) {
    let mut handler = service_fn(async |_: LambdaEvent<()>| Ok::<_, Error>(()));
    handler
        .call(event(header))
        .await
        .expect("a handler that does not fail");
}

async fn in_invocation(header: &str, work: impl Future<Output = ()>) {
    thread_local! {
        static TRACE: TraceLayer = TraceLayer::new();
    }
    let mut work = Some(work);
    let handler = service_fn(move |_: LambdaEvent<()>| {
        let work = work.take();
        async move {
            if let Some(work) = work {
                work.await;
            }
            Ok::<_, Error>(())
        }
    });
    let mut traced = TRACE.with(|trace| trace.layer(handler));
    traced
        .call(event(header))
        .await
        .expect("a handler that does not fail");
}

pub(crate) fn client(traced: bool) -> aws_sdk_dynamodb::Client {
    let mut config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::for_tests())
        .http_client(Instantly);
    if traced {
        config = config.interceptor(TraceInterceptor::new());
    }
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

async fn calls(dynamodb: &aws_sdk_dynamodb::Client, repeat: u32) {
    for _ in 0..repeat {
        get_item(dynamodb).send().await.expect("an answer");
    }
}

pub(crate) fn get_item(dynamodb: &aws_sdk_dynamodb::Client) -> GetItemFluentBuilder {
    let key = AttributeValue::S("o-1234".to_owned());
    dynamodb.get_item().table_name("orders").key("orderId", key)
}

/// An HTTP client that answers at once.
#[derive(Debug, Clone)]
struct Instantly;

impl HttpConnector for Instantly {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let status = 200.try_into().expect("200 is a status");
        let mut response = HttpResponse::new(status, SdkBody::from("{}"));
        response
            .headers_mut()
            .insert("x-amzn-requestid", "8476a536e9f411e8");
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Instantly {
    fn http_connector(
        &self,
        _settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}
