//! A server of one test, its client and documents for it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_xray::Client;
use aws_sdk_xray::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_xray::primitives::DateTime;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracestitch_traces::api::Server;
use tracestitch_traces::store::{Limits, Store};

/// Longest time that a test waits for something that takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// The header line of a datagram.
pub(crate) const HEADER: &str = "{\"format\":\"json\",\"version\":1}\n";
/// The start of the first segment in seconds since the epoch.
pub(crate) const START: f64 = 1_478_293_361.0;

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) store: Arc<Store>,
    pub(crate) client: Client,
}

impl World {
    pub(crate) async fn new() -> Self {
        let limits = Limits {
            traces: 100_000,
            ..Limits::default()
        };
        let store = Arc::new(Store::memory(limits).unwrap());
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(listen, Arc::clone(&store)).await.unwrap();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url(format!("http://{}", server.address()))
            .build();
        Self {
            server,
            store,
            client: Client::from_conf(config),
        }
    }

    /// Sends documents by the API; all must be accepted.
    pub(crate) async fn put(&self, documents: impl IntoIterator<Item = Value>) {
        let texts: Vec<_> = documents
            .into_iter()
            .map(|document| document.to_string())
            .collect();
        let call = self
            .client
            .put_trace_segments()
            .set_trace_segment_documents(Some(texts));
        let unprocessed = call
            .send()
            .await
            .unwrap()
            .unprocessed_trace_segments
            .unwrap();
        assert!(unprocessed.is_empty(), "{unprocessed:?}");
    }

    pub(crate) fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.server.daemon()).unwrap();
        socket
    }

    /// Waits until the store's counters meet a condition.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Store) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !tokio::task::block_in_place(|| condition(&self.store)) {
            assert!(
                Instant::now() < deadline,
                "waited for {what}: {:?}",
                self.store.counts()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Sends a request as bytes and returns the answer; the connection may be closed before the
    /// request is complete.
    pub(crate) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let mut answer = Vec::new();
        let send = async { write.write_all(request).await.is_ok() };
        let receive = async {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = read.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..length]);
            }
        };
        tokio::time::timeout(PATIENCE, async { tokio::join!(send, receive) })
            .await
            .unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a JSON request without a client of AWS.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.raw(request.as_bytes()).await
    }
}

pub(crate) fn at(seconds: f64) -> DateTime {
    DateTime::from_secs_f64(seconds)
}

pub(crate) fn trace_id(number: u64) -> String {
    format!("1-581cf771-{number:024x}")
}

/// Returns a segment of the trace with this number.
pub(crate) fn segment(number: u64) -> Value {
    let start = START + number as f64;
    json!({
        "trace_id": trace_id(number), "id": format!("{number:016x}"), "name": "shop",
        "origin": "AWS::Lambda::Function", "start_time": start, "end_time": start + 0.25,
        "annotations": { "order_id": format!("A-{number}"), "parity": number % 2 },
        "http": { "request": { "method": "POST", "url": "http://shop/orders" },
            "response": { "status": 202 } },
        "user": "ann",
        "subsegments": [{
            "id": format!("{:016x}", number + 0x1_0000_0000), "name": "DynamoDB",
            "namespace": "aws", "start_time": start + 0.1, "end_time": start + 0.2,
            "aws": { "operation": "PutItem", "table_name": "orders" },
        }],
    })
}
