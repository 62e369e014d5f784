//! The server: routes, limits, and the two ports.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::answer::Page;
use super::context::Context;
use super::error::ApiError;
use super::guard::refuse_foreign;
use super::operation::{BODY_LIMIT, Shared, read, write};
use super::{groups, sampling, segments, service_graph, status, summaries, traces};
use crate::daemon::Daemon;
use crate::store::Store;

/// The time within which a request must arrive and be answered.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts to find a port that is free for both TCP and UDP.
const ATTEMPTS: usize = 20;

/// The X-Ray API and the daemon's port over one store. Both stop when the server is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    daemon: Daemon,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds TCP and UDP at `listen`, which must be a loopback address, and begins to serve. Port 0
    /// takes a port that is free for both.
    ///
    /// # Errors
    ///
    /// Fails if `listen` is no loopback address or cannot be bound.
    pub async fn start(listen: SocketAddr, store: Arc<Store>) -> io::Result<Self> {
        if !listen.ip().is_loopback() {
            let message = format!(
                "{listen} is reachable from other machines, expected a loopback address such as \
                 127.0.0.1:2000"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (listener, daemon) = bind(listen, &store).await?;
        let address = listener.local_addr()?;
        let router = router(store);
        let task = tokio::spawn(async move {
            // Ends only with the task: axum retries a failed accept.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            daemon,
            task,
        })
    }

    /// Returns the address of the API and of the daemon's TCP calls.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address for datagrams.
    #[must_use]
    pub fn daemon(&self) -> SocketAddr {
        self.daemon.address()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn bind(listen: SocketAddr, store: &Arc<Store>) -> io::Result<(TcpListener, Daemon)> {
    let mut attempt = 1;
    loop {
        let listener = TcpListener::bind(listen).await?;
        match Daemon::start(listener.local_addr()?, Arc::clone(store)) {
            Ok(daemon) => return Ok((listener, daemon)),
            Err(error)
                if listen.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}

/// Returns the routes of the API, with the limits of size and time and without access for other
/// web sites.
pub fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/TraceSegments", write(segments::put_trace_segments))
        .route("/TelemetryRecords", write(segments::put_telemetry_records))
        .route("/TraceSummaries", read(summaries::get_trace_summaries))
        .route("/Traces", read(traces::batch_get_traces))
        .route("/ServiceGraph", read(service_graph::get_service_graph))
        .route("/TraceGraph", read(service_graph::get_trace_graph))
        .route(
            "/TimeSeriesServiceStatistics",
            read(service_graph::get_time_series),
        )
        .route("/GetSamplingRules", read(sampling::get_sampling_rules))
        .route("/SamplingTargets", read(sampling::get_sampling_targets))
        .route(
            "/SamplingStatisticSummaries",
            read(sampling::get_sampling_statistic_summaries),
        )
        .route("/EncryptionConfig", read(sampling::get_encryption_config))
        .route("/CreateGroup", write(groups::create_group))
        .route("/UpdateGroup", write(groups::update_group))
        .route("/DeleteGroup", write(groups::delete_group))
        .route("/GetGroup", read(groups::get_group))
        .route("/Groups", read(groups::get_groups))
        .route("/status", get(get_status))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(limit_length))
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::from_fn(refuse_foreign))
        .with_state(Shared::new(Context::new(store)))
}

/// Refuses a request by its `Content-Length`, before the body arrives.
async fn limit_length(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT) {
        return ApiError::above_limit(BODY_LIMIT).into_response();
    }
    next.run(request).await
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = REQUEST_TIMEOUT.as_secs();
            ApiError::timeout(format!("the request took more than {seconds} seconds"))
                .into_response()
        }
    }
}

async fn get_status(State(shared): State<Shared>) -> Result<Response, ApiError> {
    let finished =
        tokio::task::spawn_blocking(move || status::get_status(&shared.context, Page {}));
    let status = finished
        .await
        .map_err(|error| ApiError::internal(error.to_string()))??;
    Ok(Json(status).into_response())
}

async fn unknown(request: Request) -> ApiError {
    let path: String = request.uri().path().chars().take(80).collect();
    ApiError::unknown(format!(
        "{} {path} is no operation of X-Ray that this server has",
        request.method()
    ))
}
