//! Work that is recorded by other tracers, which send their documents to a daemon by UDP.

use std::net::SocketAddr;

use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_aws::trace::XrayIdGenerator;
use opentelemetry_aws::xray_exporter::daemon_client::XrayDaemonClient;
use opentelemetry_aws::xray_exporter::{SegmentTranslator, XrayExporter};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracestitch_wire::header::TraceHeader;
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};
use xray_lite::{Context as _, CustomNamespace, DaemonClient, SubsegmentContext};
use xray_lite_aws_sdk::ContextExt as _;

use crate::work;

/// Does the work of a peer. Returns false if `work` names none.
pub(crate) async fn run(work: &str, header: &str, repeat: u32) -> bool {
    match work {
        "subsegment of xray-lite" => subsegments(&xray_lite(&client_of_xray_lite()), repeat),
        "invocation of xray-lite" => {
            let client = client_of_xray_lite();
            for _ in 0..repeat {
                subsegments(&xray_lite(&client), 5);
            }
        }
        "call of xray-lite" => calls(&work::client(false), repeat).await,
        "span of opentelemetry" => spans(&opentelemetry(), &parent(header), repeat),
        "invocation of opentelemetry" => {
            let tracer = opentelemetry();
            for _ in 0..repeat {
                let handler = tracer.start_with_context("bench", &parent(header));
                let around = Context::new().with_span(handler);
                spans(&tracer, &around, 5);
            }
        }
        "instrumented for tracing-opentelemetry" => {
            let layer = tracing_opentelemetry::layer().with_tracer(opentelemetry());
            tracing_subscriber::registry().with(layer).init();
            let handler = tracing::info_span!("bench");
            handler
                .set_parent(parent(header))
                .expect("the span has not begun");
            work::instrumented(repeat).instrument(handler).await;
        }
        _ => return false,
    }
    true
}

fn client_of_xray_lite() -> DaemonClient {
    DaemonClient::from_lambda_env().expect("the daemon's address is set")
}

fn xray_lite(client: &DaemonClient) -> SubsegmentContext<DaemonClient> {
    SubsegmentContext::from_lambda_env(client.clone()).expect("the trace header is set")
}

/// Records subsegments without annotations, which xray-lite does not have.
fn subsegments(context: &SubsegmentContext<DaemonClient>, repeat: u32) {
    for _ in 0..repeat {
        drop(context.enter_subsegment(CustomNamespace::new("price the order")));
    }
}

async fn calls(dynamodb: &aws_sdk_dynamodb::Client, repeat: u32) {
    let context = xray_lite(&client_of_xray_lite());
    for _ in 0..repeat {
        let interceptor = context.intercept_operation("DynamoDB", "GetItem");
        let call = work::get_item(dynamodb)
            .customize()
            .interceptor(interceptor);
        call.send().await.expect("an answer");
    }
}

/// Returns a tracer that sends each span when it ends, as a function must that may be frozen.
fn opentelemetry() -> SdkTracer {
    let daemon = std::env::var("AWS_XRAY_DAEMON_ADDRESS").expect("the daemon's address is set");
    let daemon: SocketAddr = daemon.parse().expect("the daemon's address is valid");
    let client = XrayDaemonClient::new(daemon).expect("a UDP port is free");
    // The header's trace is older than the 30 days that X-Ray accepts.
    let translator = SegmentTranslator::new()
        .index_all_attrs()
        .skip_timestamp_validation();
    let provider = SdkTracerProvider::builder()
        .with_id_generator(XrayIdGenerator::default())
        .with_simple_exporter(XrayExporter::new(client).with_translator(translator))
        .build();
    provider.tracer("bench")
}

/// Returns the context that the header carries.
fn parent(header: &str) -> Context {
    let header: TraceHeader = header.parse().expect("the header is valid");
    let root = header.root.to_string().replace("1-", "").replace('-', "");
    let parent = header.parent.expect("the header has a parent").to_string();
    let span = SpanContext::new(
        TraceId::from_hex(&root).expect("the root is hexadecimal"),
        SpanId::from_hex(&parent).expect("the parent is hexadecimal"),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    Context::new().with_remote_span_context(span)
}

fn spans(tracer: &SdkTracer, around: &Context, repeat: u32) {
    for _ in 0..repeat {
        let mut span = tracer.start_with_context("price the order", around);
        span.set_attribute(KeyValue::new("order_id", "o-1234"));
        span.set_attribute(KeyValue::new("items", 3));
        span.end();
    }
}
