//! AWS SDK calls: one subsegment for each, and the trace header on every attempt.

mod members;
mod outcome;
mod parameters;
#[cfg(feature = "sqs-poll")]
mod receive;
mod selection;

use aws_runtime::{auth::SigV4OperationSigningConfig, invocation_id::InvocationIdInterceptor};
#[cfg(feature = "sqs-poll")]
use aws_smithy_runtime_api::client::interceptors::context::BeforeSerializationInterceptorContextMut;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            DisableInterceptor, Intercept,
            context::{
                BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
                FinalizerInterceptorContextRef, Input,
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
use aws_types::{SigningName, region::Region};
use http::HeaderName;
use tracestitch_wire::{
    document::Namespace,
    header::{self, TraceHeader},
};

use self::{
    parameters::{EVENTBRIDGE, INPUT_HEADER, STEP_FUNCTIONS},
    selection::{AllowedCall, Selection},
};
use crate::trace::{context::Context, subsegment::Subsegment};

/// Records the calls of an AWS SDK client and passes the trace on.
///
/// Set it once in the client's configuration. Each call becomes one subsegment, however many
/// attempts it takes: operation, region, table or queue, request id, retries, HTTP status and
/// failure. 4xx is an error, 429 and throttling codes are throttled errors, 5xx and no
/// response at all are faults. A call whose future is dropped ends as a fault, too. If you set the
/// interceptor for one call alone (`customize`), the names that need no feature are missing, because
/// the SDK runs it after it has captured them.
///
/// The recorded parameters and results are the ones that the X-Ray SDKs record: names of tables,
/// queues, buckets and the like, settings, counts. Contents of messages, items and objects are never
/// recorded. Names need only the feature `aws-sdk`; settings, counts and results need the feature
/// that is named after the service's crate (`aws-sdk-dynamodb`, `aws-sdk-sqs`, `aws-sdk-lambda`,
/// `aws-sdk-eventbridge`), which knows its types. [`record`](Self::record) and
/// [`omit`](Self::omit) change the selection.
///
/// Every attempt carries `X-Amzn-Trace-Id` with the call's subsegment as parent, so that SQS,
/// SNS, EventBridge, Step Functions, Lambda and others continue the trace. In an invocation that
/// is not sampled the header is sent unchanged. Headers that you set yourself stay, and so do
/// trace headers in messages, entries and inputs, which the services prefer to the call's. Outside
/// an invocation nothing is changed. Presigned requests are not recorded and get no header.
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
#[derive(Debug, Clone, Default)]
pub struct TraceInterceptor {
    selection: Selection,
    account_id: Option<String>,
    whole_messages: bool,
}

impl TraceInterceptor {
    /// Creates an interceptor. Clones of it can serve any number of clients.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one more member of the inputs or outputs of a service's operations.
    ///
    /// `service` is the name of the subsegment, `member` the name in the service's API reference,
    /// `key` its key in the document's `aws` block. `member` may be any string of the input's top level
    /// that the service's model does not mark as sensitive. Other members are possible only if the
    /// allow-list has them for some operation of the service (`DynamoDB`'s `Count`, also of `Query`).
    /// Strings are cut at 250 characters. Added members are visible to all who can read traces.
    ///
    /// ```
    /// use tracestitch::aws::TraceInterceptor;
    ///
    /// let interceptor = TraceInterceptor::new()
    ///     .record("DynamoDB", "KeyConditionExpression", "key_condition_expression")
    ///     .record("DynamoDB", "Count", "count")
    ///     .omit("S3", "key");
    /// ```
    #[must_use]
    pub fn record(
        mut self,
        service: &'static str,
        member: &'static str,
        key: &'static str,
    ) -> Self {
        self.selection.add(service, (member, key));
        self
    }

    /// Records nothing under `key` for `service`, the name of the subsegment. This applies to the
    /// allow-list and to added members.
    #[must_use]
    pub fn omit(mut self, service: &'static str, key: &'static str) -> Self {
        self.selection.omit(service, key);
        self
    }

    /// Sets the account whose resources the clients use, if it is not the function's own (X-Ray
    /// developer guide, "Segment documents", `aws`).
    #[must_use]
    pub fn account_id(mut self, account_id: impl Into<String>) -> Self {
        self.account_id = Some(account_id.into());
        self
    }

    /// Records whole error messages of services; only URLs in them lose user, query and fragment.
    ///
    /// By default only the code and the first clause of a message are recorded, at most 120
    /// characters, because services quote parameters and items in their messages.
    #[must_use]
    pub fn with_whole_messages(mut self) -> Self {
        self.whole_messages = true;
        self
    }

    fn begin(&self, context: &Context, input: &Input, cfg: &ConfigBag) -> Option<Call> {
        let captured = if self.selection.is_read_here(input) {
            None
        } else {
            cfg.load::<CapturedTelemetryAttributes>()
        };
        let (subsegment, allowed) = if context.is_recording() {
            self.begin_subsegment(context, input, captured, cfg)
        } else {
            Default::default()
        };
        let users = captured.and_then(|captured| selection::captured(captured, INPUT_HEADER));
        let header = match users {
            Some(header) => Some(header.to_owned()),
            None => own_header(&subsegment, context, longest_header(cfg)),
        };
        // In the init phase there is something to record, but no trace to pass on.
        (subsegment.is_recording() || header.is_some()).then_some(Call {
            subsegment,
            allowed,
            header,
            presigned: None,
        })
    }

    fn begin_subsegment(
        &self,
        context: &Context,
        input: &Input,
        captured: Option<&CapturedTelemetryAttributes>,
        cfg: &ConfigBag,
    ) -> (Subsegment, AllowedCall) {
        let metadata = cfg.load::<Metadata>();
        let service = metadata.map_or("AWS", Metadata::service);
        let operation = metadata.map_or("unknown", Metadata::name);
        let allowed = AllowedCall::of(service, operation);
        let subsegment = Subsegment::begin_with(context, allowed.name(service), |document| {
            document.namespace = Some(Namespace::Aws);
            document.aws.insert("operation", operation);
            if let Some(region) = cfg.load::<Region>() {
                document.aws.insert("region", region.as_ref());
            }
            if let Some(account_id) = &self.account_id {
                document.aws.insert("account_id", account_id.as_str());
            }
            self.selection
                .put_request(document, allowed, input, captured);
        });
        (subsegment, allowed)
    }
}

/// State of a call from its first hook to its last. It is dropped with the call's future, and then
/// the subsegment ends as cancelled.
#[derive(Debug)]
struct Call {
    subsegment: Subsegment,
    allowed: AllowedCall,
    /// Trace header for the request, until it is inserted.
    header: Option<String>,
    /// True if the request is only presigned, not sent; `None` until there is a request.
    presigned: Option<bool>,
}

impl Storable for Call {
    type Storer = StoreReplace<Self>;
}

/// Returns the header for a call: with its subsegment as parent, if that is recorded, and of the
/// length that the service takes: at most `most` characters, if `Root`, `Parent` and `Sampled` fit.
fn own_header(subsegment: &Subsegment, context: &Context, most: usize) -> Option<String> {
    let header: Option<TraceHeader> = if subsegment.is_recording() {
        subsegment.context().trace_header()
    } else {
        context.trace_header()
    };
    header.map(|header| String::from(&header.within(most)))
}

/// Returns the largest number of characters of a header that the service passes on. Services that
/// publish none have no limit here. A caller that is not known could send up to 4 KB of fields, and
/// the service would refuse the call or drop the header.
///
/// Source: Step Functions API reference, `StartExecution`, `traceHeader`; EventBridge API reference,
/// `PutEventsRequestEntry`, `TraceHeader`.
fn longest_header(cfg: &ConfigBag) -> usize {
    match cfg.load::<SigningName>().map(SigningName::as_ref) {
        Some(STEP_FUNCTIONS) => 256,
        Some(EVENTBRIDGE) => 500,
        _ => usize::MAX,
    }
}

/// Name of the header in its parsed form, so that it is not validated at each call.
static HEADER: HeaderName = HeaderName::from_static(header::NAME);

/// Returns true if the signing configuration limits the validity of the request, which it does for
/// presigned ones only.
fn is_presigning(cfg: &ConfigBag) -> bool {
    cfg.load::<SigV4OperationSigningConfig>()
        .is_some_and(|config| config.signing_options.expires_in.is_some())
}

/// Returns true if a request that failed before signing was meant to be presigned. Clients disable
/// the interceptor for invocation ids when they presign.
fn was_to_be_presigned(cfg: &ConfigBag) -> bool {
    is_presigning(cfg)
        || cfg
            .load::<DisableInterceptor<InvocationIdInterceptor>>()
            .is_some()
}

/// Every hook returns `Ok`, because an error of an interceptor would fail the user's call.
#[dyn_dispatch_hint]
impl Intercept for TraceInterceptor {
    fn name(&self) -> &'static str {
        "TraceInterceptor"
    }

    fn read_before_execution(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let current = Context::current();
        if current.trace().is_some()
            && !self.selection.is_read_here(context.input())
            && let Some(signing_name) = cfg.load::<SigningName>().map(SigningName::as_ref)
            && (current.is_recording() || signing_name == STEP_FUNCTIONS)
            && let Some(requested) = self
                .selection
                .requested(signing_name, cfg.load::<RequestedTelemetryAttributes>())
        {
            cfg.interceptor_state().store_put(requested);
        }
        Ok(())
    }

    /// Asks for trace headers, also outside an invocation: a process that polls has none yet.
    #[cfg(feature = "sqs-poll")]
    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        receive::ask_for_attributes(context.input_mut());
        Ok(())
    }

    /// Begins the subsegment. This is the first hook in which a client's interceptor can see the
    /// operation, and the last one with its input.
    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let current = Context::current();
        if current.trace().is_some()
            // A second interceptor of this kind would record the same call again.
            && cfg.get_mut_from_interceptor_state::<Call>().is_none()
            && let Some(call) = self.begin(&current, context.input(), cfg)
        {
            cfg.interceptor_state().store_put(call);
        }
        Ok(())
    }

    /// Inserts the header. Each attempt begins with the request as this hook leaves it. When signing
    /// begins, the SDK inserts a header from the environment if there is none, so later hooks could
    /// not distinguish it from the user's.
    fn modify_before_retry_loop(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let call = cfg.get_mut_from_interceptor_state::<Call>();
        if let Some(header) = call.and_then(|call| call.header.take()) {
            let headers = context.request_mut().headers_mut();
            if headers.get_all_bytes_by_name(&HEADER).next().is_none() {
                // Ours is printable ASCII. An invalid one from the user's input is dropped.
                let _ = headers.try_insert(HEADER.clone(), header);
            }
        }
        Ok(())
    }

    /// Removes our header from presigned requests. This is the first hook at which presigning is
    /// certain; the header is not signed. A header of the user stays.
    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (presigned, most) = (is_presigning(cfg), longest_header(cfg));
        if let Some(call) = cfg.get_mut_from_interceptor_state::<Call>() {
            call.presigned = Some(presigned);
            let headers = context.request_mut().headers_mut();
            if presigned
                && headers.get(header::NAME)
                    == own_header(&call.subsegment, &Context::current(), most).as_deref()
            {
                headers.remove(header::NAME);
            }
        }
        Ok(())
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(call) = cfg.get_mut_from_interceptor_state::<Call>() else {
            return Ok(());
        };
        let subsegment = std::mem::take(&mut call.subsegment);
        if !subsegment.is_recording() {
            return Ok(());
        }
        let allowed = call.allowed;
        let presigned = call.presigned;
        if presigned.unwrap_or_else(|| was_to_be_presigned(cfg)) {
            subsegment.discard();
        } else {
            subsegment.amend(|document| {
                outcome::record(document, context, cfg, self.whole_messages);
                if let Some(Ok(output)) = context.output_or_error() {
                    self.selection.put_response(document, allowed, output);
                }
            });
            subsegment.finish();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
