//! Documents to the X-Ray daemon, by UDP.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray".

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::datagram::{self, MAX_DOCUMENT};

use crate::Log;
use crate::report::{Counts, Loss};

/// Where a daemon listens that nobody gave an address for (X-Ray developer guide, "Configuring
/// the X-Ray daemon").
const DEFAULT_DAEMON: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2000);

/// Bytes that go out without a pause. A receiver's buffer has 208 KiB by default, in which the
/// kernel's own bookkeeping for each datagram counts, and others send to it too.
const BURST: usize = 100 * 1024;

/// Pause in which a receiver empties its buffer.
const PAUSE: Duration = Duration::from_millis(2);

/// How long the daemon's name may take to resolve, and when it is tried again if it failed.
const RESOLVE: Duration = Duration::from_millis(200);
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// How long one batch may take with pauses; the rest of it goes out without. The environment has
/// 2 s to shut down, of which the function takes a share first.
const BUDGET: Duration = Duration::from_millis(250);

/// Sends documents and counts what became of them.
#[derive(Debug)]
pub(crate) struct Flush {
    daemon: Option<DaemonAddress>,
    /// The user chose the daemon: what functions say does not count.
    fixed: bool,
    target: Target,
    warned: bool,
    counts: Counts,
    log: Log,
}

/// Tells when a receiver needs a pause.
#[derive(Debug, Default)]
struct Pace {
    burst: usize,
}

impl Pace {
    /// True when a datagram of `length` bytes does not fit into this burst: it begins the next.
    fn is_full(&mut self, length: usize) -> bool {
        // What a datagram takes in the receiver's buffer, at most: 500 bytes were seen to take
        // 1,280.
        let room = 2 * length + 768;
        self.burst += room;
        let full = self.burst > BURST;
        if full {
            self.burst = room;
        }
        full
    }
}

#[derive(Debug)]
enum Target {
    Unknown,
    Known(UdpSocket),
    Failed { again: Instant },
}

impl Flush {
    /// Sends to `daemon`, else to the one that functions name, else to the default address.
    pub(crate) fn new(daemon: Option<DaemonAddress>, log: Log) -> Self {
        Self {
            fixed: daemon.is_some(),
            daemon,
            target: Target::Unknown,
            warned: false,
            counts: Counts::default(),
            log,
        }
    }

    /// What was sent and lost here.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Takes over the daemon address that a function was given. The last one counts.
    pub(crate) fn function_says(&mut self, daemon: &str) {
        if self.fixed {
            return;
        }
        match daemon.parse::<DaemonAddress>() {
            Ok(daemon) if self.daemon.as_ref() == Some(&daemon) => {}
            Ok(daemon) => {
                self.daemon = Some(daemon);
                self.target = Target::Unknown;
            }
            Err(error) => self.warn(format_args!(
                "the function was given no usable daemon address: {error}; \
                 documents go to {DEFAULT_DAEMON}"
            )),
        }
    }

    /// Sends `documents`, each in one datagram or, when it is too large, in several.
    pub(crate) async fn send(&mut self, documents: Vec<Vec<u8>>) {
        let started = Instant::now();
        let hurry = || started.elapsed() > BUDGET;
        let Some(socket) = self.socket(started).await else {
            self.counts
                .lose_many(Loss::DaemonUnknown, documents.len() as u64);
            return;
        };
        let mut pace = Pace::default();
        for document in documents {
            for part in self.fit(document) {
                let datagram = datagram::encode(&part);
                if pace.is_full(datagram.len()) && !hurry() {
                    sleep(PAUSE).await;
                }
                self.send_one(&socket, &datagram, &hurry).await;
            }
        }
        self.look_for_refusal(&socket);
        self.target = Target::Known(socket);
    }

    fn fit(&mut self, document: Vec<u8>) -> Vec<Vec<u8>> {
        let large = document.len() > MAX_DOCUMENT;
        let parts = datagram::fit(document);
        match parts.len() {
            0 => self.counts.lose(Loss::TooLarge),
            1 => {}
            _ => self.counts.split += 1,
        }
        if large {
            const MARK: &[u8] = br#""tracestitch":{"trimmed":"#;
            let trimmed = |part: &&Vec<u8>| part.windows(MARK.len()).any(|part| part == MARK);
            self.counts.trimmed += parts.iter().filter(trimmed).count() as u64;
        }
        parts
    }

    async fn send_one(&mut self, socket: &UdpSocket, datagram: &[u8], hurry: &impl Fn() -> bool) {
        // The kernel reports with the next call that nobody took an earlier datagram, and that
        // call then sends nothing: so ask before.
        self.look_for_refusal(socket);
        loop {
            match socket.send(datagram) {
                Ok(_) => self.counts.sent += 1,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock && !hurry() => {
                    sleep(PAUSE).await;
                    continue;
                }
                Err(error) => self.not_sent(&error),
            }
            return;
        }
    }

    fn look_for_refusal(&mut self, socket: &UdpSocket) {
        if let Ok(Some(error)) = socket.take_error() {
            self.counts.sent = self.counts.sent.saturating_sub(1);
            self.not_sent(&error);
        }
    }

    fn not_sent(&mut self, error: &io::Error) {
        self.counts.lose(Loss::NotSent);
        self.warn(format_args!(
            "the X-Ray daemon does not take documents: {error}; they are lost and counted"
        ));
    }

    /// The connected socket, taken out of `self` while it is in use.
    async fn socket(&mut self, now: Instant) -> Option<UdpSocket> {
        match std::mem::replace(&mut self.target, Target::Unknown) {
            Target::Known(socket) => return Some(socket),
            Target::Failed { again } if now < again => {
                self.target = Target::Failed { again };
                return None;
            }
            Target::Failed { .. } | Target::Unknown => {}
        }
        let opened = match self.daemon.clone() {
            Some(daemon) => open(&daemon).await,
            None => connect(DEFAULT_DAEMON),
        };
        match opened {
            Ok(socket) => Some(socket),
            Err(error) => {
                self.warn(format_args!(
                    "the X-Ray daemon's address leads nowhere: {error}; \
                     documents are lost and counted"
                ));
                self.target = Target::Failed {
                    again: now + RESOLVE_AGAIN,
                };
                None
            }
        }
    }

    fn warn(&mut self, message: impl std::fmt::Display) {
        if !std::mem::replace(&mut self.warned, true) {
            self.log.warn(message);
        }
    }
}

async fn open(daemon: &DaemonAddress) -> io::Result<UdpSocket> {
    if let Ok(ip) = daemon.host().parse() {
        return connect(SocketAddr::new(ip, daemon.port()));
    }
    let name = (daemon.host(), daemon.port());
    let mut addresses = timeout(RESOLVE, tokio::net::lookup_host(name)).await??;
    addresses
        .next()
        .ok_or_else(|| io::Error::from(ErrorKind::NotFound))
        .and_then(connect)
}

fn connect(daemon: SocketAddr) -> io::Result<UdpSocket> {
    let from: IpAddr = match daemon {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((from, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(daemon)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    fn daemon() -> (UdpSocket, DaemonAddress) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let address = socket.local_addr().unwrap().to_string().parse().unwrap();
        (socket, address)
    }

    fn flush(daemon: Option<DaemonAddress>) -> Flush {
        Flush::new(daemon, Log::new(Level::Error))
    }

    fn receive(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer).unwrap();
        datagram::decode(&buffer[..length]).unwrap().to_vec()
    }

    #[tokio::test]
    async fn one_document_one_datagram() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        flush
            .send(vec![b"{\"n\":1}".to_vec(), b"{\"n\":2}".to_vec()])
            .await;
        assert_eq!(receive(&socket), b"{\"n\":1}");
        assert_eq!(receive(&socket), b"{\"n\":2}");
        assert_eq!(flush.counts().sent, 2);
        assert!(flush.counts().lost.is_empty());
    }

    #[tokio::test]
    async fn the_function_names_the_daemon_unless_the_user_did() {
        let (socket, address) = daemon();
        let (_, other) = daemon();
        let mut free = flush(None);
        free.function_says("nonsense");
        free.function_says(&address.to_string());
        free.send(vec![b"{}".to_vec()]).await;
        assert_eq!(receive(&socket), b"{}");

        let mut fixed = flush(Some(address));
        fixed.function_says(&other.to_string());
        fixed.send(vec![b"[]".to_vec()]).await;
        assert_eq!(receive(&socket), b"[]");
    }

    #[tokio::test]
    async fn a_burst_fits_a_default_receive_buffer_that_nobody_empties() {
        for size in [10, 500, 5_000, 40_000] {
            let mut pace = Pace::default();
            let mut count = 0;
            while !pace.is_full(size + datagram::PREAMBLE.len()) {
                count += 1;
            }
            assert!(count > 0, "{size}");
            let (socket, address) = daemon();
            let mut flush = flush(Some(address));
            flush.send(vec![vec![b'x'; size]; count]).await;
            (0..count).for_each(|_| assert_eq!(receive(&socket).len(), size));
        }
    }

    #[tokio::test]
    async fn there_is_a_pause_between_bursts() {
        let (_socket, address) = daemon();
        let mut flush = flush(Some(address));
        let started = Instant::now();
        flush.send(vec![vec![b'x'; 500]; 200]).await;
        assert!(started.elapsed() >= 3 * PAUSE);
    }

    #[tokio::test]
    async fn an_absent_daemon_is_counted() {
        let (socket, address) = daemon();
        drop(socket);
        let mut flush = flush(Some(address));
        flush.send(vec![b"{}".to_vec(); 3]).await;
        assert_eq!(flush.counts().lost[&Loss::NotSent], 3);
        assert_eq!(flush.counts().sent, 0);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_counted_and_not_asked_again_at_once() {
        let mut flush = flush("nobody.invalid:2000".parse().ok());
        flush.send(vec![b"{}".to_vec()]).await;
        assert!(matches!(flush.target, Target::Failed { .. }));
        flush.send(vec![b"{}".to_vec()]).await;
        assert_eq!(flush.counts().lost[&Loss::DaemonUnknown], 2);
    }

    #[tokio::test]
    async fn a_name_is_resolved() {
        let (socket, address) = daemon();
        let name = format!("localhost:{}", address.port());
        let mut flush = flush(name.parse().ok());
        flush.send(vec![b"{}".to_vec()]).await;
        assert_eq!(receive(&socket), b"{}");
    }

    #[tokio::test]
    async fn large_documents_are_split_trimmed_or_counted() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        let filler = "x".repeat(70_000);
        let trimmed = format!(r#"{{"name":"n","metadata":{{"default":{{"k":"{filler}"}}}}}}"#);
        flush
            .send(vec![trimmed.into_bytes(), vec![b'x'; 70_000]])
            .await;
        assert!(receive(&socket).starts_with(b"{\"metadata\":{\"tracestitch\""));
        assert_eq!((flush.counts().trimmed, flush.counts().sent), (1, 1));
        assert_eq!(flush.counts().lost[&Loss::TooLarge], 1);
    }
}
