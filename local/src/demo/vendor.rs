//! The vendor's service, which order-worker notifies: not on Lambda, and traced without
//! tracestitch.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::SystemTime;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tracestitch_wire::datagram;
use tracestitch_wire::header::{self, Sampling, TraceHeader};
use tracestitch_wire::id::SegmentId;
use tracestitch_wire::time::Timestamp;

use crate::server::Server;

/// The name of the service's segment.
pub(super) const NAME: &str = "vendor";

/// A service on 127.0.0.1 that sends a segment to the X-Ray daemon for each sampled request; it
/// stops when it is dropped.
#[derive(Debug)]
pub(super) struct Vendor(Server);

impl Vendor {
    pub(super) async fn start(daemon: SocketAddr) -> io::Result<Self> {
        let router = Router::new()
            .route("/orders", post(accept))
            .with_state(daemon);
        Ok(Self(Server::start(router).await?))
    }

    /// Returns the value for `VENDOR_URL`.
    pub(super) fn url(&self) -> String {
        format!("{}/orders", self.0.url())
    }
}

async fn accept(State(daemon): State<SocketAddr>, headers: HeaderMap) -> StatusCode {
    let start = Timestamp::from(SystemTime::now());
    let header = headers
        .get(header::NAME)
        .and_then(|header| header.to_str().ok());
    let header = header.and_then(|header| header.parse::<TraceHeader>().ok());
    match header.filter(|header| header.sampling == Sampling::Sampled) {
        Some(header) => match record(&header, start, daemon) {
            Ok(()) => StatusCode::ACCEPTED,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
        None => StatusCode::ACCEPTED,
    }
}

fn record(header: &TraceHeader, start: Timestamp, daemon: SocketAddr) -> io::Result<()> {
    let mut segment = json!({
        "name": NAME,
        "id": SegmentId::new(),
        "trace_id": header.root,
        "start_time": start,
        "end_time": Timestamp::from(SystemTime::now()).max(start),
        "http": {"request": {"method": "POST"}, "response": {"status": 202}},
    });
    if let Some(parent) = header.parent {
        segment["parent_id"] = json!(parent);
    }
    let datagram = datagram::encode(segment.to_string().as_bytes());
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.send_to(&datagram, daemon).map(drop)
}
