//! Measured work. Each runs in a separate process, for a given number of repetitions.

use std::env;
use std::time::Duration;

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
use xray_lite::{Context as _, CustomNamespace, DaemonClient, SubsegmentContext};
use xray_lite_aws_sdk::ContextExt as _;

/// Runs the work of this name.
pub(crate) fn run(work: &str) {
    let repeat: u32 = env::var("BENCH_REPEAT")
        .expect("set above")
        .parse()
        .expect("a number");
    let header = env::var("BENCH_HEADER").expect("set above");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let started = cpu_time();
        match work {
            "subsegment" => {
                for count in chunks(repeat) {
                    in_invocation(&header, subsegments(count)).await;
                }
            }
            "invocation" => {
                for _ in 0..repeat {
                    in_invocation(&header, subsegments(5)).await;
                }
            }
            "invocation-bare" => {
                for _ in 0..repeat {
                    bare_invocation(&header).await;
                }
            }
            "search" => {
                let body = body();
                for _ in 0..repeat {
                    assert!(tracestitch::embed::extract_body(body.as_bytes()).is_some());
                }
            }
            "subsegment-xray-lite" => subsegments_of_xray_lite(repeat),
            "call" | "call-bare" => {
                let dynamodb = client(work == "call");
                for count in chunks(repeat) {
                    in_invocation(&header, calls(&dynamodb, count)).await;
                }
            }
            "call-with-layers" | "call-bare-with-layers" => {
                tracing_subscriber::registry()
                    .with(SpanLayer::new().filtered())
                    .with(LogLayer::from_env().filtered())
                    .init();
                let dynamodb = client(work == "call-with-layers");
                for count in chunks(repeat) {
                    in_invocation(&header, calls(&dynamodb, count)).await;
                }
            }
            "call-xray-lite" => {
                let dynamodb = client(false);
                for count in chunks(repeat) {
                    in_invocation(&header, calls_of_xray_lite(&dynamodb, count)).await;
                }
            }
            unknown => panic!("no such work: {unknown}"),
        }
        println!("{}", (cpu_time() - started).as_nanos());
    });
}

/// Splits repetitions into invocations. One invocation records at most 1000 subsegments, or 200 if
/// they are kept until it fails.
fn chunks(repeat: u32) -> impl Iterator<Item = u32> {
    let kept_back = env::var_os("TRACESTITCH_ERRORS").is_some();
    let most = if kept_back { 200 } else { 500 };
    (0..repeat)
        .step_by(most as usize)
        .map(move |done| most.min(repeat - done))
}

/// Returns a message of 100 KB with a header at its end.
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

fn client(traced: bool) -> aws_sdk_dynamodb::Client {
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

/// Makes the subsegments of `subsegments` with xray-lite, without annotations.
fn subsegments_of_xray_lite(repeat: u32) {
    let context = xray_lite_context();
    for _ in 0..repeat {
        drop(context.enter_subsegment(CustomNamespace::new("price the order")));
    }
}

fn xray_lite_context() -> SubsegmentContext<DaemonClient> {
    let client = DaemonClient::from_lambda_env().expect("a daemon's address");
    SubsegmentContext::from_lambda_env(client).expect("a trace header")
}

async fn calls(dynamodb: &aws_sdk_dynamodb::Client, repeat: u32) {
    for _ in 0..repeat {
        get_item(dynamodb).send().await.expect("an answer");
    }
}

async fn calls_of_xray_lite(dynamodb: &aws_sdk_dynamodb::Client, repeat: u32) {
    let context = xray_lite_context();
    for _ in 0..repeat {
        let interceptor = context.intercept_operation("DynamoDB", "GetItem");
        let call = get_item(dynamodb).customize().interceptor(interceptor);
        call.send().await.expect("an answer");
    }
}

fn get_item(dynamodb: &aws_sdk_dynamodb::Client) -> GetItemFluentBuilder {
    let key = AttributeValue::S("o-1234".to_owned());
    dynamodb.get_item().table_name("orders").key("orderId", key)
}

/// An HTTP client that answers at once.
#[derive(Debug, Clone)]
struct Instantly;

impl HttpConnector for Instantly {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        let status = 200.try_into().expect("a status");
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

/// Returns the CPU time of this process so far (proc(5), `schedstat`: nanoseconds on a processor).
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("a kernel with schedstat");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds come first"))
}
