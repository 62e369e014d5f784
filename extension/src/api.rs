//! Client of the Extensions API.
//!
//! Source: AWS Lambda developer guide, "Lambda extensions API", version 2020-01-01.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use lambda_runtime_api_client::{BoxError, PooledClient, body::Body, build_request};
use serde_json::Value;

use crate::Log;

const NAME_HEADER: &str = "Lambda-Extension-Name";
const IDENTIFIER_HEADER: &str = "Lambda-Extension-Identifier";

/// Most bytes of an answer that are read: events have a few hundred.
const MAX_ANSWER: usize = 256 * 1024;

/// Pause after the first failure of a call in a row; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What happens to the function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// An invocation has begun.
    Invoke {
        /// Id of the invocation, the one that the function knows too.
        request_id: String,
        /// Milliseconds since the epoch at which the function is stopped. Emulators give 0 or a
        /// time in the past.
        deadline_ms: u64,
    },
    /// The environment ends.
    Shutdown(ShutdownReason),
}

/// Why the environment ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShutdownReason {
    /// It is no longer needed.
    Spindown,
    /// The function reached its timeout.
    Timeout,
    /// The function's process ended.
    Failure,
    /// What Lambda may add.
    Other(String),
}

impl From<&str> for ShutdownReason {
    /// The guide writes the reasons in upper case, Lambda sends them in lower case, and the
    /// Runtime Interface Emulator has names of its own.
    fn from(text: &str) -> Self {
        match text.to_ascii_lowercase().as_str() {
            "spindown" | "sandboxterminated" => Self::Spindown,
            "timeout" => Self::Timeout,
            "failure" | "releasefail" => Self::Failure,
            _ => Self::Other(text.to_owned()),
        }
    }
}

impl Event {
    /// The event in an answer; `Ok(None)` for one that we do not know.
    ///
    /// Reads only what is needed, each member by itself: a member of an unexpected form must not
    /// cost us a shutdown.
    pub(crate) fn read(answer: &[u8]) -> Result<Option<Self>, serde_json::Error> {
        let event: Value = serde_json::from_slice(answer)?;
        Ok(match event["eventType"].as_str() {
            Some("INVOKE") => Some(Self::Invoke {
                request_id: event["requestId"].as_str().unwrap_or_default().to_owned(),
                deadline_ms: event["deadlineMs"].as_u64().unwrap_or(0),
            }),
            Some("SHUTDOWN") => {
                let reason = event["shutdownReason"].as_str().unwrap_or_default();
                Some(Self::Shutdown(reason.into()))
            }
            _ => None,
        })
    }
}

/// Why a call gave nothing.
#[derive(Debug)]
enum CallError {
    /// The answer did not come or was not an answer.
    Transport(BoxError),
    /// The answer is a refusal.
    Refused(StatusCode, Vec<u8>),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "{}", error.to_string().escape_debug()),
            Self::Refused(status, _) => write!(f, "status {}", status.as_u16()),
        }
    }
}

impl<E: Into<BoxError>> From<E> for CallError {
    fn from(error: E) -> Self {
        Self::Transport(error.into())
    }
}

/// A registered extension.
#[derive(Debug)]
pub(crate) struct Api {
    client: PooledClient,
    identifier: HeaderValue,
    invocations: bool,
    log: Log,
}

impl Api {
    /// Registers under `name`, for invocations too when `invocations` is set.
    ///
    /// Managed instances refuse invocation events (403 `Extension.InvalidEventType`): then it
    /// registers for the shutdown alone. A failure is repeated until it works, because without a
    /// registration Lambda would not start the function at all.
    pub(crate) async fn register(base: Uri, name: &OsStr, invocations: bool, log: Log) -> Self {
        let client = PooledClient::builder().with_endpoint(base).build();
        let mut events = if invocations {
            r#"{"events":["INVOKE","SHUTDOWN"]}"#
        } else {
            SHUTDOWN_ONLY
        };
        let mut pause = Pause::default();
        loop {
            match register(&client, name, events).await {
                Ok(identifier) => {
                    return Self {
                        client,
                        identifier,
                        invocations: events != SHUTDOWN_ONLY,
                        log,
                    };
                }
                Err(CallError::Refused(StatusCode::FORBIDDEN, body))
                    if events != SHUTDOWN_ONLY && names(&body, b"InvalidEventType") =>
                {
                    log.debug("Lambda has no INVOKE events here, registering for SHUTDOWN alone");
                    events = SHUTDOWN_ONLY;
                }
                Err(error) => {
                    pause
                        .after(
                            log,
                            "the runtime API did not register this extension",
                            &error,
                        )
                        .await;
                }
            }
        }
    }

    /// True when Lambda will tell of invocations.
    pub(crate) fn has_invocations(&self) -> bool {
        self.invocations
    }

    /// Says that all work is done and waits for the next event, however long that takes.
    ///
    /// Events of an unknown kind are passed over. A failure is repeated with growing pauses:
    /// giving up would end the function's environment.
    pub(crate) async fn next(&self) -> Event {
        let mut pause = Pause::default();
        loop {
            let error = match self.ask().await {
                Ok(answer) => match Event::read(&answer) {
                    Ok(Some(event)) => return event,
                    Ok(None) => {
                        self.log.debug("passing over an event of an unknown kind");
                        tokio::time::sleep(FIRST_PAUSE).await;
                        continue;
                    }
                    Err(error) => error.into(),
                },
                Err(error) => error,
            };
            pause
                .after(
                    self.log,
                    "the runtime API did not give the next event",
                    &error,
                )
                .await;
        }
    }

    async fn ask(&self) -> Result<Vec<u8>, CallError> {
        let request = build_request()
            .method(Method::GET)
            .uri("/2020-01-01/extension/event/next")
            .header(IDENTIFIER_HEADER, &self.identifier)
            .body(Body::empty())?;
        let response = self.client.call(request).await?;
        Ok(body_of_success(response).await?.1)
    }
}

const SHUTDOWN_ONLY: &str = r#"{"events":["SHUTDOWN"]}"#;

async fn register(
    client: &PooledClient,
    name: &OsStr,
    events: &'static str,
) -> Result<HeaderValue, CallError> {
    let request = build_request()
        .method(Method::POST)
        .uri("/2020-01-01/extension/register")
        .header(NAME_HEADER, HeaderValue::from_bytes(name.as_bytes())?)
        .header("Content-Type", "application/json")
        .body(Body::from(events))?;
    let response = client.call(request).await?;
    let (parts, _) = body_of_success(response).await?;
    parts
        .headers
        .get(IDENTIFIER_HEADER)
        .cloned()
        .ok_or_else(|| "the answer has no Lambda-Extension-Identifier".into())
}

async fn body_of_success<B>(
    response: http::Response<B>,
) -> Result<(http::response::Parts, Vec<u8>), CallError>
where
    B: BodyExt,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
    if parts.status.is_success() {
        Ok((parts, body.to_vec()))
    } else {
        Err(CallError::Refused(parts.status, body.to_vec()))
    }
}

fn names(body: &[u8], word: &[u8]) -> bool {
    body.windows(word.len()).any(|part| part == word)
}

/// Growing pauses between the attempts of one call; warns once.
#[derive(Default)]
struct Pause {
    last: Option<Duration>,
}

impl Pause {
    async fn after(&mut self, log: Log, what: &str, error: &CallError) {
        if self.last.is_none() {
            log.warn(format_args!("{what}: {error}; trying again until it does"));
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
    fn events() {
        let invoke = |request_id: &str, deadline_ms| {
            Some(Event::Invoke {
                request_id: request_id.to_owned(),
                deadline_ms,
            })
        };
        for (answer, expected, reason) in [
            (
                r#"{"eventType":"INVOKE","requestId":"r","deadlineMs":5,"tracing":{"value":"v"}}"#,
                invoke("r", 5),
                "as Lambda sends it",
            ),
            (
                r#"{"eventType":"INVOKE","requestId":"r","deadlineMs":-1}"#,
                invoke("r", 0),
                "a bogus deadline",
            ),
            (
                r#"{"eventType":"SHUTDOWN","shutdownReason":"TIMEOUT","deadlineMs":"soon"}"#,
                Some(Event::Shutdown(ShutdownReason::Timeout)),
                "a deadline of another type",
            ),
            (
                r#"{"eventType":"SHUTDOWN"}"#,
                Some(Event::Shutdown(ShutdownReason::Other(String::new()))),
                "no reason",
            ),
            (r#"{"eventType":"RESTORE"}"#, None, "an unknown kind"),
            ("[]", None, "no object"),
        ] {
            assert_eq!(
                Event::read(answer.as_bytes()).unwrap(),
                expected,
                "{reason}"
            );
        }
        assert!(Event::read(b"<html>").is_err());
    }

    #[test]
    fn shutdown_reasons_in_all_spellings() {
        for (text, expected) in [
            ("spindown", ShutdownReason::Spindown),
            ("SPINDOWN", ShutdownReason::Spindown),
            ("SandboxTerminated", ShutdownReason::Spindown),
            ("timeout", ShutdownReason::Timeout),
            ("Timeout", ShutdownReason::Timeout),
            ("failure", ShutdownReason::Failure),
            ("FAILURE", ShutdownReason::Failure),
            ("ReleaseFail", ShutdownReason::Failure),
            ("Moved", ShutdownReason::Other("Moved".to_owned())),
        ] {
            assert_eq!(ShutdownReason::from(text), expected, "{text}");
        }
    }
}
