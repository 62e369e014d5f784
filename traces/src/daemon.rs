//! The X-Ray daemon's UDP port over a store.
//!
//! A datagram is a header line and a document. The port never answers (`aws-xray-daemon`,
//! `pkg/daemon`); refused and lost datagrams are counted in the store. One thread receives, so that
//! a burst does not wait for the disk; another one stores what was received in batches.

mod queue;
mod socket;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::lint;
use crate::store::{Refused, Store};
use queue::Queue;

/// Size of the X-Ray daemon's read buffer in bytes; the kernel cuts a longer datagram.
const DATAGRAM: usize = 64 * 1024;
/// The number of documents in one transaction. Another writer waits for at most one.
const BATCH: usize = 500;

/// A daemon that receives datagrams until it is dropped. What it received before that is stored.
#[derive(Debug)]
pub struct Daemon {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Daemon {
    /// Binds `address` and begins to receive.
    ///
    /// # Errors
    ///
    /// Fails if the address cannot be bound or a thread cannot be started.
    pub fn start(address: SocketAddr, store: Arc<Store>) -> io::Result<Self> {
        let socket = socket::bind(address)?;
        let address = socket.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let queue = Arc::new(Queue::default());
        let receiver = {
            let (stop, queue, store) = (Arc::clone(&stop), Arc::clone(&queue), Arc::clone(&store));
            thread::Builder::new()
                .name("xray-receive".to_owned())
                .spawn(move || receive(&socket, &stop, &queue, &store))?
        };
        let writer = thread::Builder::new()
            .name("xray-store".to_owned())
            .spawn(move || store_received(&queue, &store))?;
        Ok(Self {
            address,
            stop,
            threads: vec![receiver, writer],
        })
    }

    /// Returns the address for datagrams, the value for `AWS_XRAY_DAEMON_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a datagram.
        let local = SocketAddr::new(self.address.ip(), 0);
        let woken = UdpSocket::bind(local).and_then(|socket| socket.send_to(&[], self.address));
        if woken.is_ok() {
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}

fn receive(socket: &UdpSocket, stop: &AtomicBool, queue: &Queue, store: &Store) {
    let mut buffer = vec![0; DATAGRAM];
    let mut lost_before = 0;
    while !stop.load(Ordering::Relaxed) {
        // An error concerns one datagram; the next read may succeed.
        let Ok((length, lost)) = socket::receive(socket, &mut buffer) else {
            continue;
        };
        // A counter of 32 bits, which starts again at 0.
        let lost_now = lost.map_or(0, |lost| lost.wrapping_sub(lost_before));
        lost_before = lost.unwrap_or(lost_before);
        if lost_now > 0 {
            store.lose(u64::from(lost_now));
        }
        if !stop.load(Ordering::Relaxed) && !queue.push(&buffer[..length]) {
            store.lose(1);
        }
    }
    queue.close();
}

fn store_received(queue: &Queue, store: &Store) {
    while let Some(datagrams) = queue.take() {
        let mut datagrams = datagrams.into_iter().peekable();
        while datagrams.peek().is_some() {
            let texts = datagrams
                .by_ref()
                .take(BATCH)
                .filter_map(|datagram| match document(&datagram) {
                    Ok(text) => Some(text),
                    Err(refused) => {
                        store.refuse(refused);
                        None
                    }
                })
                .collect();
            // The store keeps the error and counts the documents as lost.
            let _ = store.put(texts);
        }
    }
}

/// Returns the text after the header line.
fn document(datagram: &[u8]) -> Result<String, Refused> {
    let refuse = |cause: String| Refused {
        id: None,
        code: "InvalidDatagram",
        cause,
    };
    let body = lint::datagram_body(datagram).map_err(|refusal| refuse(refusal.reason))?;
    let text = str::from_utf8(body)
        .map_err(|error| refuse(format!("the document is not UTF-8: {error}")))?;
    Ok(text.to_owned())
}
