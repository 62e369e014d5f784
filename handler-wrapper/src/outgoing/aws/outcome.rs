//! Outcome of an AWS call.

use aws_runtime::retries::classifiers::THROTTLING_ERRORS;
use aws_smithy_runtime_api::client::{
    interceptors::context::{Error, FinalizerInterceptorContextRef},
    orchestrator::{HttpResponse, OrchestratorError},
    result::ConnectorError,
    retries::RequestAttempts,
};
use aws_smithy_types::config_bag::ConfigBag;
use http::header::{CONTENT_LENGTH, HeaderName};
use serde_json::{Map, Value};
use tracestitch_wire::document::{
    Cause, Document, Exception, Http, Response, clean_message, first_clause,
};

use crate::support::user_code;

// Names in their parsed form, so that they are not validated at each call.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
static REQUEST_ID_OF_S3: HeaderName = HeaderName::from_static("x-amz-request-id");
static ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");

/// Records status, ids, retries and failure of a completed call on its document.
pub(super) fn record(
    document: &mut Document,
    context: &FinalizerInterceptorContextRef<'_>,
    cfg: &ConfigBag,
    whole_messages: bool,
) {
    if let Some(attempts) = cfg.load::<RequestAttempts>() {
        let retries = attempts.attempts().saturating_sub(1);
        document.aws.insert("retries", retries);
    }
    let response = context.response();
    if let Some(response) = response {
        record_response(document, response);
    }
    match (context.output_or_error(), response) {
        (Some(Ok(_)), _) => {}
        (Some(Err(error)), Some(response)) if error.is_operation_error() => {
            match ServiceError::by(response) {
                Some(reported) => {
                    record_service_error(document, response, error, reported, whole_messages);
                }
                None => record_local_error(document, error),
            }
        }
        (Some(Err(error)), _) => record_local_error(document, error),
        (None, _) => document.fail(Cause::from_exception(Exception::new(
            "NoResponse",
            "the call ended without a response",
        ))),
    }
}

fn record_response(document: &mut Document, response: &HttpResponse) {
    let header = |name| {
        let mut values = response.headers().get_all_bytes_by_name(name);
        std::str::from_utf8(values.next()?).ok()
    };
    let status = Some(response.status().as_u16());
    let content_length = header(&CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let response = Some(Response {
        status,
        content_length,
    });
    document.http = Some(Http {
        request: None,
        response,
    });
    let request_id = header(&REQUEST_ID).or_else(|| header(&REQUEST_ID_OF_S3));
    for (key, value) in [("request_id", request_id), ("id_2", header(&ID_2))] {
        if let Some(value) = value {
            document.aws.insert(key, value);
        }
    }
}

/// Records an error that the service returned.
fn record_service_error(
    document: &mut Document,
    response: &HttpResponse,
    error: &OrchestratorError<Error>,
    reported: ServiceError,
    whole_messages: bool,
) {
    let status = response.status();
    let throttled = reported
        .code
        .as_deref()
        .is_some_and(|code| THROTTLING_ERRORS.contains(&code));
    document.throttle = throttled || status.as_u16() == 429;
    // Redirections and failed conditions (3xx) are errors of the caller, too. S3 begins some
    // responses with 200 before it knows that it will fail, which is a fault.
    let server = status.is_server_error() || status.is_success();
    document.error = document.throttle || !server;
    document.fault = !document.error;
    let message = reported.message.unwrap_or_else(|| {
        error
            .as_operation_error()
            .map_or_else(String::new, ToString::to_string)
    });
    let message = if whole_messages {
        clean_message(&message).into_owned()
    } else {
        first_clause(&message)
    };
    let kind = reported
        .code
        .unwrap_or_else(|| format!("HTTP {}", status.as_u16()));
    let exception = Exception {
        remote: true,
        ..Exception::new(kind, message)
    };
    document.cause = Some(Box::new(Cause::from_exception(exception)));
}

/// Records that there was no response, or none that could be read.
fn record_local_error(document: &mut Document, error: &OrchestratorError<Error>) {
    let timed_out = error.is_timeout_error()
        || error
            .as_connector_error()
            .is_some_and(ConnectorError::is_timeout);
    let kind = if timed_out {
        "Timeout"
    } else if error.is_connector_error() {
        "ConnectionFailure"
    } else if error.is_response_error() || error.is_operation_error() {
        "UnreadableResponse"
    } else {
        "CallFailure"
    };
    // Credential providers and interceptors may return error types of the user.
    let mut cause = user_code::cause_of(|| Cause::from_error(error));
    if let Some(outermost) = cause.exceptions.first_mut() {
        outermost.kind = kind.into();
    }
    document.fail(cause);
}

/// Code and message of an error, read from the response. The SDK's error has them only for callers
/// that know its type.
#[derive(Debug, Default, PartialEq, Eq)]
struct ServiceError {
    code: Option<String>,
    message: Option<String>,
}

impl ServiceError {
    /// Reads the error of a response. Returns `None` if the response reports none.
    fn by(response: &HttpResponse) -> Option<Self> {
        let body = response.body().bytes().unwrap_or_default();
        if response.status().is_success() {
            return Self::in_xml(body).filter(|reported| reported.code.is_some());
        }
        // Query-compatible services (SQS) repeat the code of their older protocol in this header.
        let header = ["x-amzn-query-error", "x-amzn-errortype"]
            .into_iter()
            .find_map(|name| response.headers().get(name));
        let mut reported = Self::in_json(body)
            .or_else(|| Self::in_xml(body))
            .unwrap_or_default();
        reported.code = header
            .map(str::to_owned)
            .or(reported.code)
            .map(|code| short(&code).to_owned());
        Some(reported)
    }

    fn in_json(body: &[u8]) -> Option<Self> {
        // Some services send both names of a member, or a number as code.
        let error: Map<String, Value> = serde_json::from_slice(body).ok()?;
        let text = |names: [&str; 3]| {
            let found = names.iter().find_map(|name| error.get(*name)?.as_str());
            found.map(str::to_owned)
        };
        Some(Self {
            code: text(["__type", "code", "Code"]),
            message: text(["message", "Message", "errorMessage"]),
        })
    }

    fn in_xml(body: &[u8]) -> Option<Self> {
        let body = std::str::from_utf8(body).ok()?;
        let text = |tag: &str| {
            let (_, rest) = body.split_once(&format!("<{tag}>"))?;
            rest.split_once("</").map(|(text, _)| unescaped(text))
        };
        Some(Self {
            code: text("Code"),
            message: text("Message"),
        })
    }
}

/// Replaces the predefined entities of XML. `&amp;` comes last, so that `&amp;lt;` becomes `&lt;`.
fn unescaped(text: &str) -> String {
    [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (entity, sign)| {
        text.replace(entity, sign)
    })
}

/// Extracts the code from `com.amazonaws.dynamodb.v20120810#ThrottlingException:http://…` and
/// `AWS.SimpleQueueService.NonExistentQueue;Sender`.
fn short(code: &str) -> &str {
    let code = code.split([';', ':']).next().unwrap_or(code);
    code.rsplit('#').next().unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;

    use super::*;

    #[test]
    fn code_and_message_are_read_from_the_response() {
        for (header, body, code, message, reason) in [
            (
                None,
                r#"{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"slow"}"#,
                Some("ThrottlingException"),
                Some("slow"),
                "awsJson with a namespace",
            ),
            (
                None,
                r#"{"__type":"X","Message":"capital"}"#,
                Some("X"),
                Some("capital"),
                "capital Message",
            ),
            (
                Some((
                    "x-amzn-query-error",
                    "AWS.SimpleQueueService.NonExistentQueue;Sender",
                )),
                r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no queue"}"#,
                Some("AWS.SimpleQueueService.NonExistentQueue"),
                Some("no queue"),
                "query-compatible",
            ),
            (
                Some((
                    "x-amzn-errortype",
                    "ResourceNotFoundException:http://internal/",
                )),
                r#"{"Message":"none"}"#,
                Some("ResourceNotFoundException"),
                Some("none"),
                "restJson",
            ),
            (
                None,
                "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>",
                Some("NoSuchKey"),
                Some("gone"),
                "XML",
            ),
            (
                None,
                "<Error><Code>AccessDenied</Code><Message>not &quot;a&quot; &amp;lt; &#x27;b&#x27;</Message></Error>",
                Some("AccessDenied"),
                Some("not \"a\" &lt; &#x27;b&#x27;"),
                "XML with entities",
            ),
            (
                None,
                r#"{"__type":"ns#X","code":"X","message":"small","Message":"capital"}"#,
                Some("X"),
                Some("small"),
                "each name twice",
            ),
            (
                None,
                r#"{"code":404,"message":"gone"}"#,
                None,
                Some("gone"),
                "a number for a code",
            ),
            (None, "<html>502", None, None, "a proxy's page"),
            (None, "", None, None, "no body"),
        ] {
            let mut response = HttpResponse::new(400.try_into().unwrap(), SdkBody::from(body));
            if let Some((name, value)) = header {
                response.headers_mut().insert(name, value);
            }
            let reported = ServiceError::by(&response).unwrap();
            assert_eq!(
                (reported.code.as_deref(), reported.message.as_deref()),
                (code, message),
                "{reason}"
            );
        }
    }
}
