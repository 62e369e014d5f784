//! Bursts without the extension: documents leave so slowly that a daemon with the default receive
//! buffer gets all of them.

use std::io::IoSliceMut;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;
use std::time::Duration;

use e2e::wait;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use serde_json::json;
use tracestitch_local::daemon;

use crate::victim::Victim;

/// `net.core.rmem_default` of Linux, of which the kernel's own bookkeeping takes a part.
const BUFFER: f64 = 208.0 * 1024.0;

/// Bytes of documents that a daemon takes in a second: half of what the pace assumes, because the
/// kernel charges up to twice the size of a datagram.
const DRAIN: f64 = 50.0 * 1024.0 / 0.002;

/// Documents of the burst, which takes 1.5 ms without the pace and 18 ms with it.
const DOCUMENTS: usize = 15;
const BYTES: usize = 30_000;

/// A datagram: seconds since the epoch at which the kernel received it, and its length.
type Arrival = (f64, usize);

/// A UDP receiver that records when the kernel received each datagram, however late it is read.
struct Receiver {
    address: std::net::SocketAddr,
    thread: JoinHandle<Vec<Arrival>>,
}

impl Receiver {
    /// Starts once the kernel stamps datagrams on arrival: that is switched on in the background,
    /// and until then a datagram has the time at which it is read.
    async fn start() -> Self {
        let socket = daemon::receiver().unwrap();
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
        let address = socket.local_addr().unwrap();
        wait::until("time stamps by the kernel", || {
            let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
            sender.send_to(b"probe", address).unwrap();
            let sent = std::time::Instant::now();
            std::thread::sleep(Duration::from_millis(5));
            let waited = sent.elapsed().as_secs_f64();
            let (at, _) = receive(&socket);
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            (now.as_secs_f64() - at >= waited).then_some(())
        })
        .await;
        let thread = std::thread::spawn(move || {
            let arrivals = std::iter::repeat_with(|| receive(&socket));
            arrivals.take_while(|(_, length)| *length > 0).collect()
        });
        Self { address, thread }
    }

    /// Returns all arrivals. An empty datagram ends the thread.
    fn end(self) -> Vec<Arrival> {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(&[], self.address).unwrap();
        self.thread.join().unwrap()
    }
}

fn receive(socket: &UdpSocket) -> Arrival {
    let mut buffer = vec![0; 65_536];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let received = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .unwrap();
    let at = received.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    (at.unwrap().as_secs_f64(), received.bytes)
}

/// Bytes that wait at most at a daemon that takes [`DRAIN`] bytes in a second.
fn most_waiting(arrivals: &[Arrival]) -> f64 {
    let (mut most, mut waiting, mut last) = (0.0_f64, 0.0, 0.0);
    for (at, length) in arrivals {
        waiting = f64::max(0.0, waiting - (at - last) * DRAIN) + *length as f64;
        most = most.max(waiting);
        last = *at;
    }
    most
}

#[tokio::test]
async fn burst_leaves_at_a_pace_that_a_daemon_can_follow() {
    let receiver = Receiver::start().await;
    let victim = Victim::start_alone(|function, _| function.xray_daemon(receiver.address)).await;
    let burst = json!({ "steps": DOCUMENTS, "bytes": BYTES });
    let outcome = victim.invoke(1, burst).await;
    assert!(outcome.is_response(), "{outcome:?}");
    victim.shutdown().await;
    let arrivals = receiver.end();
    let large = arrivals.iter().filter(|(_, length)| *length > BYTES);
    assert_eq!(large.count(), DOCUMENTS, "{arrivals:?}");
    let most = most_waiting(&arrivals);
    assert!(most < BUFFER, "{most:.0} bytes wait: {arrivals:?}");
}

#[test]
fn waiting_bytes_are_those_that_were_not_drained() {
    let large = 1_000_000;
    let drained = large as f64 / DRAIN;
    for (arrivals, expected) in [
        (vec![], 0.0),
        (vec![(1.0, large), (1.0, large)], 2e6),
        (vec![(1.0, large), (1.0 + drained / 2.0, large)], 1.5e6),
        (vec![(1.0, large), (1.0 + 2.0 * drained, large)], 1e6),
    ] {
        let most = most_waiting(&arrivals);
        assert!((most - expected).abs() < 1.0, "{most}: {arrivals:?}");
    }
}
