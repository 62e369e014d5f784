//! The server in a separate process, and that process's memory and processor time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracestitch_traces::api::Server;
use tracestitch_traces::store::{Limits, Store};

use crate::client::Client;

/// Clock ticks a second, the unit of `/proc/PID/stat`.
const TICKS: f64 = 100.0;

/// Serves a store until the process is killed.
pub(crate) fn serve(store: &Path) {
    let limits = Limits {
        traces: 1_000_000,
        bytes: u64::MAX,
    };
    let store = Arc::new(Store::open(store, limits).unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(listen, store).await.unwrap();
        println!("{} {}", server.address(), server.daemon());
        std::future::pending::<()>().await;
    });
}

/// A server process; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) daemon: SocketAddr,
}

impl Served {
    pub(crate) fn start(store: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(store)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (address, daemon) = line.trim().split_once(' ').unwrap();
        Self {
            address: address.parse().unwrap(),
            daemon: daemon.parse().unwrap(),
            child,
        }
    }

    /// Waits until all documents have been stored or lost, and returns the number of stored ones.
    pub(crate) fn wait_for_documents(&self, count: usize) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut client = Client::connect(self.address);
        loop {
            let status: Value = serde_json::from_str(&client.get("/status")).unwrap();
            let since = &status["since_start"];
            let (stored, lost) = (
                since["stored"].as_u64().unwrap(),
                since["lost"].as_u64().unwrap(),
            );
            if stored + lost >= count as u64 {
                return stored;
            }
            assert!(Instant::now() < deadline, "{status}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the seconds that the process has spent on a processor.
    pub(crate) fn processor_time(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program, in parentheses, may contain spaces.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<_> = fields.split_whitespace().collect();
        let ticks: f64 = fields[11..13]
            .iter()
            .map(|it| it.parse::<f64>().unwrap())
            .sum();
        ticks / TICKS
    }

    pub(crate) fn resident_megabytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes / 1024
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
