//! An X-Ray daemon together with the service behind it: it receives datagrams, checks the documents
//! as X-Ray would, and stores documents and refusals.
//!
//! The real daemon never answers, and logs what it drops (`aws-xray-daemon`, `pkg/tracesegment`).
//! Here a test can read every refusal.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::sync::watch;
use tracestitch_traces::lint;

use crate::store::{Document, Refused, Store};

/// Size of the receive buffer in bytes: room for bursts while the thread is not scheduled.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// Size of the X-Ray daemon's read buffer in bytes; the kernel cuts a longer datagram.
const DATAGRAM: usize = 64 * 1024;

/// Binds a free UDP port of 127.0.0.1 with a receive buffer of 8 MiB. A process without the right
/// to `SO_RCVBUFFORCE` (socket(7)) gets at most the kernel's limit.
///
/// ```
/// let socket = tracestitch_local::daemon::receiver()?;
/// assert!(socket.local_addr()?.ip().is_loopback());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Fails if the socket cannot be bound.
pub fn receiver() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER))?;
    Ok(socket)
}

/// A daemon that listens on a UDP port of 127.0.0.1 until it is dropped.
///
/// ```
/// use std::net::UdpSocket;
/// use std::time::Duration;
/// use tracestitch_local::daemon::Daemon;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let daemon = Daemon::start()?;
/// let socket = UdpSocket::bind("127.0.0.1:0")?;
/// socket.send_to(b"no header line", daemon.address())?;
/// daemon.wait_for(|store| store.refused().len() == 1, Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Daemon {
    address: SocketAddr,
    store: Arc<watch::Sender<Store>>,
    stop: Arc<AtomicBool>,
    receiver: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Binds a free port and begins to receive. It receives on its own thread, so that a busy async
    /// runtime loses no datagram.
    ///
    /// # Errors
    ///
    /// Fails if the socket cannot be bound or the thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let socket = receiver()?;
        let address = socket.local_addr()?;
        let store = Arc::new(watch::Sender::new(Store::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let receiver = {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            std::thread::Builder::new()
                .name("xray-daemon".to_owned())
                .spawn(move || receive(&socket, &store, &stop))?
        };
        Ok(Self {
            address,
            store,
            stop,
            receiver: Some(receiver),
        })
    }

    /// Returns the address for datagrams, the value for `AWS_XRAY_DAEMON_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls `look` with everything received so far. Reception waits meanwhile, so be brief.
    pub fn read<R>(&self, look: impl FnOnce(&Store) -> R) -> R {
        look(&self.store.borrow())
    }

    /// Waits until `condition` is true; it is evaluated after each datagram.
    ///
    /// # Errors
    ///
    /// Returns [`NotInTime`] if it is still false after `timeout`.
    pub async fn wait_for(
        &self,
        condition: impl FnMut(&Store) -> bool,
        timeout: Duration,
    ) -> Result<(), NotInTime> {
        let mut changes = self.store.subscribe();
        let held = tokio::time::timeout(timeout, changes.wait_for(condition)).await;
        if matches!(held, Ok(Ok(_))) {
            return Ok(());
        }
        Err(self.read(|store| NotInTime {
            timeout,
            documents: store.documents().count(),
            in_progress: store
                .documents()
                .filter(|document| document.in_progress)
                .count(),
            refused: store.refused().len(),
        }))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread, which waits for a datagram.
        let woken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.send_to(&[], self.address));
        if let (Ok(_), Some(receiver)) = (woken, self.receiver.take()) {
            let _ = receiver.join();
        }
    }
}

/// A condition that remained false, and the number of received documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotInTime {
    timeout: Duration,
    documents: usize,
    in_progress: usize,
    refused: usize,
}

impl fmt::Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the condition was false for {:?}; the daemon holds {} documents ({} in progress) and \
             refused {}",
            self.timeout, self.documents, self.in_progress, self.refused
        )
    }
}

impl std::error::Error for NotInTime {}

fn receive(socket: &UdpSocket, store: &watch::Sender<Store>, stop: &AtomicBool) {
    let mut buffer = vec![0; DATAGRAM];
    while !stop.load(Ordering::Relaxed) {
        // An error concerns one datagram; the next read may succeed.
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let datagram = &buffer[..length];
        let checked = lint::datagram(datagram);
        store.send_modify(|store| match checked {
            Ok(body) => match Document::read(body) {
                Some(document) => store.accept(document),
                None => unreadable(store, datagram),
            },
            Err(refusal) => store.refuse(Refused {
                field: refusal.field,
                reason: refusal.reason,
                datagram: String::from_utf8_lossy(datagram).into_owned(),
            }),
        });
    }
}

/// Refuses a document that passed the check but lacks a member that the check requires: the check
/// and the store differ, which must not remain hidden.
fn unreadable(store: &mut Store, datagram: &[u8]) {
    store.refuse(Refused {
        field: String::new(),
        reason: "passed the check, but lacks name, id or trace_id".to_owned(),
        datagram: String::from_utf8_lossy(datagram).into_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"format":"json","version":1}"#;
    const SEGMENT: &str = concat!(
        r#"{"name":"shop","id":"70de5b6f19ff9a0a","#,
        r#""trace_id":"1-581cf771-a006649127e371903a2de979","start_time":1.0,"end_time":2.5}"#
    );

    fn send(daemon: &Daemon, datagram: &str) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .send_to(datagram.as_bytes(), daemon.address())
            .unwrap();
    }

    #[tokio::test]
    async fn document_and_refusal_are_stored() {
        let daemon = Daemon::start().unwrap();
        send(&daemon, &format!("{HEADER}\n{SEGMENT}"));
        send(&daemon, SEGMENT);
        let both = |store: &Store| store.documents().count() == 1 && store.refused().len() == 1;
        daemon.wait_for(both, Duration::from_secs(5)).await.unwrap();
        daemon.read(|store| {
            assert_eq!(store.documents().next().unwrap().name, "shop");
            assert!(
                store.refused()[0].reason.contains("header line"),
                "{:?}",
                store.refused()
            );
        });
    }

    #[tokio::test]
    async fn burst_is_received_whole() {
        let daemon = Daemon::start().unwrap();
        for number in 0..200 {
            let id = format!("{number:016x}");
            send(
                &daemon,
                &format!("{HEADER}\n{}", SEGMENT.replace("70de5b6f19ff9a0a", &id)),
            );
        }
        let all = |store: &Store| store.documents().count() == 200;
        daemon.wait_for(all, Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn wait_ends_at_its_deadline_with_counts() {
        let daemon = Daemon::start().unwrap();
        let waited = daemon.wait_for(|_| false, Duration::from_millis(10)).await;
        assert_eq!(
            waited.unwrap_err().to_string(),
            "the condition was false for 10ms; the daemon holds 0 documents (0 in progress) and \
             refused 0"
        );
    }
}
