//! Reads the documents that reach the daemon, and the extension's report.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use serde_json::Value;
use tracestitch_wire::datagram;

/// A daemon that reads all the time and measures how long the machine kept it from reading.
pub(crate) struct Reader {
    thread: JoinHandle<(Vec<Vec<u8>>, Duration)>,
    over: Arc<AtomicBool>,
}

impl Reader {
    pub(crate) fn start(daemon: &UdpSocket) -> Self {
        let socket = daemon.try_clone().unwrap();
        // The tests in `flush.rs` use a default buffer. Here a reader that the machine keeps from
        // running should lose nothing, if we may set a larger one.
        let _ = setsockopt(&socket, RcvBufForce, &(32 << 20));
        socket
            .set_read_timeout(Some(Duration::from_millis(1)))
            .unwrap();
        let over = Arc::<AtomicBool>::default();
        let end = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let (mut read, mut stall) = (Vec::new(), Duration::ZERO);
            let mut buffer = vec![0; 65_536];
            loop {
                let last_turn = end.load(Ordering::Relaxed);
                let turn = Instant::now();
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        read.push(datagram::decode(&buffer[..length]).unwrap().to_vec());
                    }
                    Err(_) if last_turn => return (read, stall),
                    Err(_) => {}
                }
                stall = stall.max(turn.elapsed());
            }
        });
        Self { thread, over }
    }

    pub(crate) fn read(self) -> (Vec<Vec<u8>>, Duration) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Returns the counters of the closing report and checks that they add up.
pub(crate) fn report(log: &str) -> Value {
    let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    let counts = line["tracestitch"].clone();
    let count = |name: &str| counts[name].as_u64().unwrap();
    let lost: u64 = counts["lost"]
        .as_object()
        .map_or(0, |lost| lost.values().filter_map(Value::as_u64).sum());
    assert_eq!(
        count("received") + count("interrupted") + count("split"),
        count("sent") + lost,
        "{counts}"
    );
    counts
}

/// Longest time for which [`steadily`] retries.
const LONGEST: Duration = Duration::from_secs(90);

/// Repeats `attempt` until the reader could read steadily in one. An attempt returns the
/// number of documents that were lost or late, and the longest time that the reader could not run.
pub(crate) fn steadily(attempt: impl Fn() -> (usize, Duration)) {
    let began = Instant::now();
    while began.elapsed() < LONGEST {
        let (lost, stall) = attempt();
        if lost == 0 {
            return;
        }
        assert!(
            stall > Duration::from_millis(4),
            "{lost} documents were lost or late although the reader read steadily"
        );
    }
    panic!("the machine did not let the reader read steadily for {LONGEST:?}");
}
