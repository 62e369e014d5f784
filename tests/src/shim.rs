//! A proxy for the runtime API that adds the runtime's trace header.
//!
//! The Runtime Interface Emulator never sends `Lambda-Runtime-Trace-Id`. The function's bootstrap
//! points the function to this proxy, which adds to each answer to `/invocation/next` the header
//! that was set for its request id. The extension uses the emulator directly.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use ::http::{HeaderValue, Request, Response};
use bytes::Bytes;

use crate::http::{self, Reset};

/// State shared by the requests and the harness.
#[derive(Debug, Default)]
struct State {
    trace_headers: Mutex<HashMap<String, HeaderValue>>,
    asking: AtomicUsize,
}

/// Counts a request for the next invocation until it is dropped.
struct Asking<'a>(&'a AtomicUsize);

impl<'a> Asking<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The proxy. Dropping it stops it.
#[derive(Debug)]
pub struct Shim {
    server: http::Server,
    state: Arc<State>,
}

impl Shim {
    /// Starts a proxy to the runtime API at `runtime_api`.
    ///
    /// # Errors
    /// When no loopback port is free.
    pub async fn start(runtime_api: SocketAddr) -> io::Result<Self> {
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let server =
            http::serve(move |request| forward(runtime_api, Arc::clone(&shared), request)).await?;
        Ok(Self { server, state })
    }

    /// Returns its address, for the function's variable `AWS_LAMBDA_RUNTIME_API`.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Sets the trace header of the invocation with this request id.
    pub fn set_header(&self, request_id: &str, trace_header: HeaderValue) {
        self.state
            .trace_headers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(request_id.to_owned(), trace_header);
    }

    /// Returns whether the function waits for its next invocation.
    pub fn is_idle(&self) -> bool {
        self.state.asking.load(Ordering::Relaxed) > 0
    }
}

async fn forward(
    runtime_api: SocketAddr,
    state: Arc<State>,
    mut request: Request<Bytes>,
) -> Result<Response<Bytes>, Reset> {
    let is_next = request.uri().path().ends_with("/invocation/next");
    let _asking = is_next.then(|| Asking::new(&state.asking));
    // They describe the connection or the encoding of the body, both of which are new.
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        request.headers_mut().remove(name);
    }
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = path.clone().into();
    }
    let mut reply = http::send(runtime_api, request).await.map_err(|_| Reset)?;
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        reply.headers_mut().remove(name);
    }
    let trace_header = reply
        .headers()
        .get("lambda-runtime-aws-request-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| {
            state
                .trace_headers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(id)
        });
    if let Some(trace_header) = trace_header {
        reply
            .headers_mut()
            .insert("lambda-runtime-trace-id", trace_header);
    }
    Ok(reply)
}
