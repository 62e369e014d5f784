//! Responses that a function streams.
//!
//! The runtime sends JSON with status, headers and cookies, eight NUL bytes, and then the body, all
//! as `application/vnd.awslambda.http-integration-response` (`lambda_runtime`, `requests.rs`). Under
//! any other content type the stream is the body itself.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use http::{HeaderValue, header};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use super::response;
use crate::emulator::StreamedResponse;

const INTEGRATION_RESPONSE: &str = "application/vnd.awslambda.http-integration-response";
/// The content type of a stream that names none.
const DEFAULT_TYPE: &str = "application/octet-stream";
/// Separates the JSON from the body.
const DELIMITER: [u8; 8] = [0; 8];
/// Largest JSON that is waited for, in bytes.
const PRELUDE: usize = 64 * 1024;

type Invocation = JoinHandle<Result<Bytes, Bytes>>;

/// Returns the answer of an ended invocation, or its failure as text.
pub(super) fn payload(ended: Result<Result<Bytes, Bytes>, JoinError>) -> Result<Bytes, String> {
    match ended {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(failure)) => Err(String::from_utf8_lossy(&failure).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Makes a response whose body is sent while the function writes it. If the function fails before
/// the end, the connection breaks, and `report` gets the failure.
///
/// Returns what was wrong with a beginning that is not of the format.
pub(super) async fn respond(
    stream: StreamedResponse,
    invocation: Invocation,
    report: Arc<dyn Fn(&str) + Send + Sync>,
) -> Result<Response, String> {
    let StreamedResponse {
        content_type,
        mut parts,
    } = stream;
    let content_type = content_type.as_deref().unwrap_or(DEFAULT_TYPE);
    let (mut response, first) = if content_type == INTEGRATION_RESPONSE {
        match prelude(&mut parts).await? {
            Some(begun) => begun,
            None => {
                let failure = payload(invocation.await).err().unwrap_or_default();
                return Err(format!("the stream ends before eight NUL bytes; {failure}"));
            }
        }
    } else {
        let mut response = Response::new(Body::empty());
        if let Ok(value) = HeaderValue::try_from(content_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        (response, Bytes::new())
    };
    let rest = Rest {
        first: Some(first),
        parts,
        invocation: Some(invocation),
        report,
    };
    *response.body_mut() = Body::from_stream(rest.into_stream());
    Ok(response)
}

/// Reads up to the delimiter. Returns the response's head and the beginning of its body, or `None`
/// for a stream without a delimiter.
async fn prelude(parts: &mut mpsc::Receiver<Bytes>) -> Result<Option<(Response, Bytes)>, String> {
    let mut read = BytesMut::new();
    loop {
        let end = read
            .windows(DELIMITER.len())
            .position(|window| window == DELIMITER);
        if let Some(end) = end {
            let body = read.split_off(end + DELIMITER.len()).freeze();
            let head: Value = serde_json::from_slice(&read[..end])
                .map_err(|error| format!("the stream begins without JSON: {error}"))?;
            return Ok(Some((response::head(&head)?, body)));
        }
        if read.len() > PRELUDE {
            return Err(format!(
                "no eight NUL bytes in the first {PRELUDE} bytes of the stream"
            ));
        }
        let Some(part) = parts.recv().await else {
            return Ok(None);
        };
        read.extend_from_slice(&part);
    }
}

/// The part of a body that has not been sent.
struct Rest {
    first: Option<Bytes>,
    parts: mpsc::Receiver<Bytes>,
    /// Fails if the function failed; the end of `parts` alone does not show that.
    invocation: Option<Invocation>,
    report: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Rest {
    fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut rest| async move {
            let part = rest.next().await?;
            Some((part, rest))
        })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Some(Ok(first));
        }
        if let Some(part) = self.parts.recv().await {
            return Some(Ok(part));
        }
        let failure = payload(self.invocation.take()?.await).err()?;
        (self.report)(&format!("FAILED {failure}"));
        Some(Err(io::Error::other("the function failed")))
    }
}
