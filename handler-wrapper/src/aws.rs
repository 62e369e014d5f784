//! AWS SDK calls: one subsegment for each, and the trace header on every attempt.

mod outcome;
#[cfg(feature = "sqs-poll")]
mod receive;

use aws_runtime::auth::SigV4OperationSigningConfig;
#[cfg(feature = "sqs-poll")]
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextMut;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
                FinalizerInterceptorContextRef,
            },
            dyn_dispatch_hint,
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::{
    config_bag::{ConfigBag, Storable, StoreReplace},
    telemetry::{CapturedTelemetryAttributes, RequestedTelemetryAttributes},
};
use aws_types::region::Region;
use tracestitch_wire::{
    document::{Document, Namespace, Text},
    header,
};

use crate::{context::Context, subsegment::Subsegment};

/// Members of an operation's input that name the resource it works on, as the SDK calls them and
/// as X-Ray does (X-Ray developer guide, "Segment documents", `aws`; the parameter lists of the
/// X-Ray SDKs). None of them is data.
const RESOURCES: [(&str, &str); 9] = [
    ("TableName", "table_name"),
    ("QueueUrl", "queue_url"),
    ("QueueName", "queue_name"),
    ("TopicArn", "topic_arn"),
    ("Bucket", "bucket_name"),
    ("FunctionName", "function_name"),
    ("StreamName", "stream_name"),
    ("SecretId", "secret_id"),
    ("stateMachineArn", "state_machine_arn"),
];

/// Records the calls of an AWS SDK client and passes the trace on.
///
/// Set it once in the client's configuration. Each call becomes one subsegment, however many
/// attempts it takes: operation, region, table or queue, request id, retries, HTTP status, and
/// how it failed. 4xx is an error, 429 and throttling codes are throttled errors, 5xx and no
/// answer at all are faults. A call whose future is dropped ends as a fault, too.
///
/// Every attempt carries `X-Amzn-Trace-Id` with the call's subsegment as parent, so that SQS,
/// SNS, Lambda and others hand the trace on. In an invocation that is not sampled the header
/// goes on as it came. A header that you set yourself is left alone. Outside an invocation
/// nothing is changed. Presigned requests are neither recorded nor given a header.
///
/// ```
/// use tracestitch::aws::TraceInterceptor;
///
/// let config = aws_sdk_sqs::Config::builder()
///     .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
///     .interceptor(TraceInterceptor::new())
///     .build();
/// let sqs = aws_sdk_sqs::Client::from_conf(config);
/// ```
#[derive(Debug, Clone)]
pub struct TraceInterceptor {
    /// Kept ready: it is handed to the SDK at each call.
    requested: RequestedTelemetryAttributes,
}

impl TraceInterceptor {
    /// An interceptor; one can serve any number of clients.
    pub fn new() -> Self {
        let mut requested = RequestedTelemetryAttributes::default();
        requested.capture_only(RESOURCES.map(|(member, _)| member));
        Self { requested }
    }

    /// Asks the SDK to keep the members of the input that name a resource. Its own interceptor
    /// for that runs after all `read_before_execution` hooks of the client's configuration.
    fn request_members(&self, cfg: &mut ConfigBag) {
        let requested = match cfg.load::<RequestedTelemetryAttributes>() {
            None => self.requested.clone(),
            Some(users) => {
                let mut both = users.clone();
                both.capture_only(RESOURCES.map(|(member, _)| member));
                both
            }
        };
        cfg.interceptor_state().store_put(requested);
    }
}

impl Default for TraceInterceptor {
    fn default() -> Self {
        Self::new()
    }
}

/// What is kept of a call from its first hook to its last. When the call's future is dropped, so
/// is this, and the subsegment ends as cancelled.
#[derive(Debug)]
struct Call {
    subsegment: Subsegment,
    /// None when the user set one.
    header: Option<String>,
}

impl Storable for Call {
    type Storer = StoreReplace<Self>;
}

fn begin(context: &Context, cfg: &ConfigBag) -> Option<Call> {
    let metadata = cfg.load::<Metadata>();
    let service = metadata.map_or("AWS", Metadata::service);
    let subsegment = Subsegment::begin_with(context, service.replace(' ', ""), |document| {
        document.namespace = Some(Namespace::Aws);
        describe(document, metadata, cfg);
    });
    let header = subsegment.context().trace_header()?.to_string();
    Some(Call {
        subsegment,
        header: Some(header),
    })
}

fn describe(document: &mut Document, metadata: Option<&Metadata>, cfg: &ConfigBag) {
    if let Some(metadata) = metadata {
        let operation = Text::from(metadata.name().to_owned());
        document.aws.insert("operation", operation.into());
    }
    if let Some(region) = cfg.load::<Region>() {
        document.aws.insert("region", region.as_ref().into());
    }
    if let Some(captured) = cfg.load::<CapturedTelemetryAttributes>() {
        for (member, key) in RESOURCES {
            if let Some(value) = captured.get(member) {
                document
                    .aws
                    .insert(key, Text::from(value.to_owned()).into());
            }
        }
    }
}

/// The signing configuration says how long a presigned request is valid; others have no such
/// limit.
fn is_presigning(cfg: &ConfigBag) -> bool {
    cfg.load::<SigV4OperationSigningConfig>()
        .is_some_and(|config| config.signing_options.expires_in.is_some())
}

/// Every hook returns `Ok`: an error of an interceptor would fail the user's call.
#[dyn_dispatch_hint]
impl Intercept for TraceInterceptor {
    fn name(&self) -> &'static str {
        "TraceInterceptor"
    }

    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if Context::current().is_recording() {
            self.request_members(cfg);
        }
        Ok(())
    }

    /// Also outside an invocation: a process that receives messages by itself has none yet.
    #[cfg(feature = "sqs-poll")]
    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        receive::ask_for_header(context.input_mut());
        Ok(())
    }

    /// The first hook in which a client's interceptor can see which operation it is.
    fn read_before_serialization(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let context = Context::current();
        if context.trace().is_some()
            && let Some(call) = begin(&context, cfg)
        {
            cfg.interceptor_state().store_put(call);
        }
        Ok(())
    }

    /// The only hook in which the user's own header can be told from the one that the SDK takes
    /// from the environment: that comes when signing begins.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.request().headers().contains_key(header::NAME)
            && let Some(call) = cfg.get_mut_from_interceptor_state::<Call>()
        {
            call.header = None;
        }
        Ok(())
    }

    /// Runs at each attempt, which begins with the request as it was before the retry loop.
    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(header) = cfg.load::<Call>().and_then(|call| call.header.clone()) {
            // A trace header is printable ASCII, so it is always a valid value.
            let _ = context
                .request_mut()
                .headers_mut()
                .try_insert(header::NAME, header);
        }
        Ok(())
    }

    /// The first hook at which presigning can be told for sure; the header is not signed.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if cfg.load::<Call>().is_some() && is_presigning(cfg) {
            context.request_mut().headers_mut().remove(header::NAME);
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let presigning = is_presigning(cfg);
        let Some(call) = cfg.get_mut_from_interceptor_state::<Call>() else {
            return Ok(());
        };
        let subsegment = std::mem::take(&mut call.subsegment);
        if presigning {
            subsegment.discard();
        } else {
            subsegment.amend(|document| outcome::record(document, context, cfg));
            subsegment.finish();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
