//! Client of the Extensions API, on the crate `lambda-extension`.
//!
//! [`Extension::register`] registers this process, and the events are [`NextEvent`]s. Its `run()`
//! is not used. It returns at the first call that fails and at the first event that it cannot
//! read, and it does not return after the shutdown event: the process would end, and the function
//! with it, or documents that a killed function left open would never be sent. So this module asks
//! for events itself, and reads them without the crate's `Deserialize`, which refuses a whole
//! event for one unexpected member.
//!
//! Source: AWS Lambda developer guide, "Lambda extensions API", version 2020-01-01.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::process::parent_id;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use lambda_extension::{
    Extension, ExtensionError, InvokeEvent, NextEvent, RegisteredExtension, ShutdownEvent, Tracing,
};
use lambda_runtime_api_client::{BoxError, Client, body::Body, build_request};
use serde_json::Value;

use crate::log::Log;

const IDENTIFIER_HEADER: &str = "Lambda-Extension-Identifier";

/// Most bytes of an event that are read: Lambda's have a few hundred.
const MAX_EVENT: usize = 256 * 1024;

/// Pause after the first failure of a call in a row; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Reads an event of the Extensions API. Returns `None` if its kind is unknown.
///
/// Each member is read by itself and has a default. A deadline of another type, which some
/// emulators send, must not cost us a shutdown event.
///
/// # Errors
///
/// Returns an error if `answer` is not JSON.
pub(crate) fn read_event(answer: &[u8]) -> Result<Option<NextEvent>, serde_json::Error> {
    let event: Value = serde_json::from_slice(answer)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let deadline_ms = event["deadlineMs"].as_u64().unwrap_or(0);
    Ok(match event["eventType"].as_str() {
        Some("INVOKE") => Some(NextEvent::Invoke(InvokeEvent {
            deadline_ms,
            request_id: text(&event["requestId"]),
            invoked_function_arn: text(&event["invokedFunctionArn"]),
            tracing: Tracing {
                r#type: text(&event["tracing"]["type"]),
                value: text(&event["tracing"]["value"]),
            },
        })),
        Some("SHUTDOWN") => Some(NextEvent::Shutdown(ShutdownEvent {
            shutdown_reason: text(&event["shutdownReason"]),
            deadline_ms,
        })),
        _ => None,
    })
}

/// Why a call failed.
#[derive(Debug)]
enum CallError {
    /// No answer came, or it could not be read.
    Failed(BoxError),
    /// The answer has a status that is not a success.
    Status(StatusCode),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{}", error.to_string().escape_debug()),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
        }
    }
}

impl<E: Into<BoxError>> From<E> for CallError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A registered extension.
#[derive(Debug)]
pub(crate) struct Api {
    /// The client that `lambda-extension` uses, too; another one would add its code.
    client: Client,
    identifier: HeaderValue,
    invocations: bool,
    /// The process that started this one.
    parent: u32,
    log: Log,
}

impl Api {
    /// Registers under `name`, for invocations too if `invocations` is set.
    ///
    /// `base` is the value of `AWS_LAMBDA_RUNTIME_API`, from which `lambda-extension` reads it.
    ///
    /// Managed Instances refuse invocation events with status 403. Then it registers for the
    /// shutdown alone. Other refusals have the same status, and `lambda-extension` does not
    /// return the body that names the reason: if the second attempt fails, too, the next one asks
    /// for both again. A failure is retried until a call succeeds, because Lambda does not start
    /// the function before all of its extensions are registered.
    ///
    /// Returns `None` if this process is orphaned (see [`Pause::is_over`]).
    pub(crate) async fn register(
        base: Uri,
        name: &OsStr,
        invocations: bool,
        log: Log,
    ) -> Option<Self> {
        let name = name.to_string_lossy();
        let mut pause = Pause::new(parent_id());
        let mut refused = false;
        loop {
            let invocations = invocations && !refused;
            match register(&base, &name, invocations).await {
                Ok((client, identifier, function)) => {
                    log.debug(format_args!("registered for function {function:?}"));
                    return Some(Self {
                        client,
                        identifier,
                        invocations,
                        parent: pause.parent,
                        log,
                    });
                }
                Err(error) if invocations && is_forbidden(&error) => {
                    log.debug("Lambda refuses INVOKE events here, registering for SHUTDOWN alone");
                    refused = true;
                }
                Err(error) => {
                    refused = false;
                    if pause.is_over() {
                        return None;
                    }
                    let what = "the runtime API did not register this extension";
                    pause.after(log, what, &error.into()).await;
                }
            }
        }
    }

    /// Returns true if Lambda sends an event for each invocation.
    pub(crate) fn has_invocations(&self) -> bool {
        self.invocations
    }

    /// Reports that all work is done and waits for the next event, however long that takes.
    ///
    /// Events of an unknown kind are skipped. A failure is retried with growing pauses: giving up
    /// would end the function's environment. If this process is orphaned (see
    /// [`Pause::is_over`]), the environment has ended: that counts as a shutdown event.
    pub(crate) async fn next(&self) -> NextEvent {
        let mut pause = Pause::new(self.parent);
        loop {
            let error = match self.ask().await {
                Ok(answer) => match read_event(&answer) {
                    Ok(Some(event)) => return event,
                    Ok(None) => {
                        self.log.debug("skipping an event of an unknown kind");
                        tokio::time::sleep(FIRST_PAUSE).await;
                        continue;
                    }
                    Err(error) => error.into(),
                },
                Err(error) => error,
            };
            if pause.is_over() {
                return NextEvent::Shutdown(ShutdownEvent {
                    shutdown_reason: "no runtime API answers".to_owned(),
                    deadline_ms: 0,
                });
            }
            let what = "the runtime API did not give the next event";
            pause.after(self.log, what, &error).await;
        }
    }

    async fn ask(&self) -> Result<Vec<u8>, CallError> {
        let request = build_request()
            .method(Method::GET)
            .uri("/2020-01-01/extension/event/next")
            .header(IDENTIFIER_HEADER, &self.identifier)
            .body(Body::empty())?;
        let (parts, body) = self.client.call(request).await?.into_parts();
        if !parts.status.is_success() {
            return Err(CallError::Status(parts.status));
        }
        let body = Limited::new(body, MAX_EVENT).collect().await?;
        Ok(body.to_bytes().to_vec())
    }
}

/// Registers once. Returns the client and the identifier for later calls, and the function's name.
async fn register(
    base: &Uri,
    name: &str,
    invocations: bool,
) -> Result<(Client, HeaderValue, String), BoxError> {
    let events: &[_] = match invocations {
        true => &["INVOKE", "SHUTDOWN"],
        false => &["SHUTDOWN"],
    };
    let extension = Extension::new()
        .with_extension_name(name)
        .with_events(events);
    let RegisteredExtension {
        extension_id,
        function_name,
        ..
    } = extension.register().await?;
    let client = Client::builder().with_endpoint(base.clone()).build()?;
    Ok((client, HeaderValue::from_str(&extension_id)?, function_name))
}

/// Returns true if Lambda answered a registration with status 403, which only the text of
/// `lambda-extension`'s error holds.
fn is_forbidden(error: &BoxError) -> bool {
    error.is::<ExtensionError>() && error.to_string().contains(StatusCode::FORBIDDEN.as_str())
}

/// Growing pauses between the attempts of one call; warns once.
#[derive(Debug)]
struct Pause {
    last: Option<Duration>,
    parent: u32,
}

impl Pause {
    fn new(parent: u32) -> Self {
        Self { last: None, parent }
    }

    /// Returns true if the call has failed for more than 2 s and the process that started this one
    /// has ended: no answer will come any more. In Lambda the two end together with the
    /// environment. An emulator that was killed leaves its extensions running.
    fn is_over(&self) -> bool {
        self.last == Some(LONGEST_PAUSE) && parent_id() != self.parent
    }

    async fn after(&mut self, log: Log, what: &str, error: &CallError) {
        if self.last.is_none() {
            log.warn(format_args!("{what}: {error}; retrying until it does"));
        }
        let pause = self
            .last
            .map_or(FIRST_PAUSE, |last| (last * 2).min(LONGEST_PAUSE));
        self.last = Some(pause);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_leniently() {
        let invoke = |request_id: &str, deadline_ms| {
            Some(NextEvent::Invoke(InvokeEvent {
                request_id: request_id.to_owned(),
                deadline_ms,
                invoked_function_arn: "a".to_owned(),
                tracing: Tracing::default(),
            }))
        };
        let shutdown = |reason: &str| {
            Some(NextEvent::Shutdown(ShutdownEvent {
                shutdown_reason: reason.to_owned(),
                deadline_ms: 0,
            }))
        };
        for (answer, expected, reason) in [
            (
                r#"{"eventType":"INVOKE","requestId":"r","deadlineMs":5,"invokedFunctionArn":"a"}"#,
                invoke("r", 5),
                "as Lambda sends it",
            ),
            (
                r#"{"eventType":"INVOKE","requestId":"r","deadlineMs":-1,"invokedFunctionArn":"a"}"#,
                invoke("r", 0),
                "a deadline in the past",
            ),
            (
                r#"{"eventType":"INVOKE","invokedFunctionArn":"a","tracing":[]}"#,
                invoke("", 0),
                "members that are absent or have another type",
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":"TIMEOUT","deadlineMs":"soon"}"#,
                shutdown("TIMEOUT"),
                "a deadline of another type",
            ),
            (r#"{"eventType":"SHUTDOWN"}"#, shutdown(""), "no reason"),
            (r#"{"eventType":"RESTORE"}"#, None, "an unknown kind"),
            ("[]", None, "no object"),
        ] {
            assert_eq!(
                format!("{:?}", read_event(answer.as_bytes()).unwrap()),
                format!("{expected:?}"),
                "{reason}"
            );
        }
        assert!(read_event(b"<html>").is_err());
    }

    #[test]
    fn tracing_header_of_an_invocation_is_read() {
        let answer = br#"{"eventType":"INVOKE","tracing":{"type":"X-Amzn-Trace-Id","value":"v"}}"#;
        let Some(NextEvent::Invoke(event)) = read_event(answer).unwrap() else {
            panic!("no invocation");
        };
        assert_eq!(event.tracing.r#type, "X-Amzn-Trace-Id");
        assert_eq!(event.tracing.value, "v");
    }
}
