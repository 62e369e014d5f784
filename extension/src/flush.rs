//! Sends documents to the X-Ray daemon by UDP.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray".

mod route;

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracestitch_wire::daemon::DaemonAddress;
use tracestitch_wire::datagram::{self, Pace, Refusal};
use tracestitch_wire::delivery::{Delivery, Loss};

use self::route::{Route, Unreachable, connect};
use crate::clock;
use crate::log::{Log, Warnings};

/// Longest time of a batch with pauses; the rest of it is sent without. The environment has 2 s to
/// shut down, of which the function takes a share first.
const BUDGET: Duration = Duration::from_millis(250);

/// Most daemons at once. One environment has one; a process with other settings may name another.
const MAX_ROUTES: usize = 4;

/// Sends documents and counts the outcome.
#[derive(Debug)]
pub(crate) struct Flush {
    /// The user's choice, which takes precedence over the addresses that sessions name.
    fixed: Option<DaemonAddress>,
    /// The first address that a session named, for sessions that name none.
    fallback: Option<DaemonAddress>,
    /// Most recently opened last.
    routes: Vec<Route>,
    budget: Duration,
    warnings: Warnings,
    counts: Delivery,
}

impl Flush {
    /// Creates a sender to `fixed`, else to the daemons that sessions name, else to the default
    /// address.
    pub(crate) fn new(fixed: Option<DaemonAddress>, log: Log) -> Self {
        Self {
            fixed,
            fallback: None,
            routes: Vec::new(),
            budget: BUDGET,
            warnings: Warnings::new(log),
            counts: Delivery::default(),
        }
    }

    /// Counters of what was sent and lost here.
    pub(crate) fn counts(&self) -> &Delivery {
        &self.counts
    }

    /// Looks all addresses up again before the next document: the environment was stopped for so
    /// long that they may have changed, or it was resumed from a snapshot elsewhere.
    pub(crate) fn reconnect(&mut self) {
        self.routes.iter_mut().for_each(Route::reset);
    }

    /// Sends documents of sessions that named `daemon`. Each goes into one datagram or, if it is
    /// too large, into several.
    pub(crate) async fn send(&mut self, daemon: Option<DaemonAddress>, documents: Vec<Vec<u8>>) {
        let now = clock::monotonic();
        let index = self.route(daemon, now);
        let route = &mut self.routes[index];
        let socket = match route.take_socket(now).await {
            Ok(socket) => socket,
            Err(why) => {
                if let Unreachable::Failed(error) = why {
                    self.warnings.give(format_args!(
                        "the X-Ray daemon's address does not work: {error}; documents are lost \
                         and counted"
                    ));
                }
                let count = documents.len() as u64;
                return self.counts.lose(Loss::DaemonUnknown, count);
            }
        };
        let mut batch = Batch {
            began: now,
            resumed: now,
            budget: self.budget,
            socket,
            max_document: &mut route.max_document,
            pace: &mut route.pace,
            counts: &mut self.counts,
            warnings: &mut self.warnings,
        };
        for document in documents {
            batch.send(document).await;
        }
        batch.count_refusal();
        let socket = batch.socket;
        route.put_back(socket);
    }

    /// Returns the index of the route for sessions that named `daemon`.
    fn route(&mut self, daemon: Option<DaemonAddress>, now: Instant) -> usize {
        if self.fallback.is_none() {
            self.fallback.clone_from(&daemon);
        }
        let address = self
            .fixed
            .clone()
            .or(daemon)
            .or_else(|| self.fallback.clone());
        if let Some(index) = self.routes.iter().position(|r| r.address == address) {
            return index;
        }
        if self.routes.len() == MAX_ROUTES {
            self.routes.remove(0);
        }
        self.routes.push(Route::new(address, now));
        self.routes.len() - 1
    }
}

/// One call of [`Flush::send`].
#[derive(Debug)]
struct Batch<'a> {
    began: Instant,
    /// The end of the last pause, or the beginning.
    ///
    /// The pace takes the time between two pauses for time in which the receiver reads. Only
    /// time in which this process waited counts as that: when it was busy, or the machine did not
    /// let it run, the receiver may not have run either. A pace that read the clock for each
    /// datagram let several bursts follow each other into a buffer that holds two.
    resumed: Instant,
    budget: Duration,
    socket: UdpSocket,
    max_document: &'a mut usize,
    pace: &'a mut Pace,
    counts: &'a mut Delivery,
    warnings: &'a mut Warnings,
}

impl Batch<'_> {
    async fn send(&mut self, document: Vec<u8>) {
        let mut parts = self.fit(document);
        while let Some(part) = parts.pop() {
            match self.send_part(&part).await {
                Ok(()) => self.counts.sent += 1,
                Err(error) if Refusal::from(&error) == Refusal::TooLong => {
                    *self.max_document = part.len() / 2;
                    parts.extend(self.fit(part));
                }
                Err(error) => {
                    self.counts.lose(Loss::NotSent, 1);
                    self.warn(&error);
                }
            }
        }
    }

    /// Splits and trims a document until its parts fit. The last part is to be sent first.
    fn fit(&mut self, document: Vec<u8>) -> Vec<Vec<u8>> {
        let mut fitted = datagram::fit_within(document, *self.max_document);
        self.counts.record_fit(&fitted);
        fitted.documents.reverse();
        fitted.documents
    }

    async fn send_part(&mut self, part: &[u8]) -> io::Result<()> {
        let datagram = datagram::encode(part);
        while !self.pace.admits(datagram.len(), self.resumed.into_std()) && self.is_in_time() {
            self.pause().await;
        }
        // The kernel reports the refusal of an earlier datagram with the next call, which then
        // sends nothing. So it is asked for before.
        self.count_refusal();
        let mut reopened = false;
        loop {
            let Err(error) = self.socket.send(&datagram) else {
                return Ok(());
            };
            match Refusal::from(&error) {
                Refusal::Interrupted => {}
                Refusal::Full if self.is_in_time() => self.pause().await,
                Refusal::Broken if !reopened => {
                    reopened = true;
                    self.socket = connect(self.socket.peer_addr()?)?;
                }
                // Another socket would change nothing.
                Refusal::Full | Refusal::NoListener | Refusal::TooLong | Refusal::Broken => {
                    return Err(error);
                }
            }
        }
    }

    /// Counts a datagram that was sent, and then refused because no process listens.
    fn count_refusal(&mut self) {
        if let Ok(Some(error)) = self.socket.take_error() {
            self.counts.record_refusal();
            self.warn(&error);
        }
    }

    fn warn(&mut self, error: &io::Error) {
        self.warnings.give(format_args!(
            "the X-Ray daemon does not take documents: {error}; they are lost and counted"
        ));
    }

    fn is_in_time(&self) -> bool {
        clock::monotonic().duration_since(self.began) < self.budget
    }

    async fn pause(&mut self) {
        sleep(Pace::PAUSE).await;
        self.resumed = clock::monotonic();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use nix::sys::socket::{Shutdown, shutdown};

    use super::*;
    use crate::log::Level;

    fn daemon() -> (UdpSocket, DaemonAddress) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let address = socket.local_addr().unwrap().to_string().parse().unwrap();
        (socket, address)
    }

    fn flush(fixed: Option<DaemonAddress>) -> Flush {
        Flush::new(fixed, Log::new(Level::Error))
    }

    fn receive(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let length = socket.recv(&mut buffer).unwrap();
        datagram::decode(&buffer[..length]).unwrap().to_vec()
    }

    #[tokio::test]
    async fn each_document_leaves_in_its_own_datagram() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        flush
            .send(None, vec![b"{\"n\":1}".to_vec(), b"{\"n\":2}".to_vec()])
            .await;
        assert_eq!(receive(&socket), b"{\"n\":1}");
        assert_eq!(receive(&socket), b"{\"n\":2}");
        assert_eq!(flush.counts().sent, 2);
        assert!(flush.counts().lost.is_empty());
    }

    #[tokio::test]
    async fn documents_go_to_the_daemon_of_their_session_unless_the_user_chose_one() {
        let [(one, to_one), (other, to_other)] = [daemon(), daemon()];
        let mut free = flush(None);
        for (to, document) in [
            (Some(&to_one), "1"),
            (Some(&to_other), "2"),
            (Some(&to_one), "3"),
            (None, "4"),
        ] {
            let document = document.as_bytes().to_vec();
            free.send(to.cloned(), vec![document]).await;
        }
        for document in ["1", "3", "4"] {
            assert_eq!(receive(&one), document.as_bytes());
        }
        assert_eq!(receive(&other), b"2");

        let mut fixed = flush(Some(to_one));
        fixed.send(Some(to_other), vec![b"5".to_vec()]).await;
        assert_eq!(receive(&one), b"5");
    }

    #[tokio::test]
    async fn number_of_routes_is_bounded() {
        let mut flush = flush(None);
        let daemons: Vec<_> = (0..3 * MAX_ROUTES).map(|_| daemon()).collect();
        for (socket, address) in &daemons {
            flush
                .send(Some(address.clone()), vec![b"{}".to_vec()])
                .await;
            assert_eq!(receive(socket), b"{}");
        }
        assert_eq!(flush.routes.len(), MAX_ROUTES);
    }

    /// Sends `documents` to a reader with the kernel's default buffer and checks that it receives
    /// one datagram for each.
    ///
    /// Sender and reader share this thread, so the reader reads whenever the sender pauses and at
    /// no other time: as two processes on the one processor of a small function. However busy the
    /// machine is, it delays both.
    async fn check_received_whole(documents: &[Vec<u8>]) {
        let (socket, address) = daemon();
        socket.set_nonblocking(true).unwrap();
        let read = Arc::<AtomicUsize>::default();
        let (counter, wake) = (Arc::clone(&read), socket.try_clone().unwrap());
        let wake = tokio::net::UdpSocket::from_std(wake).unwrap();
        let reader = tokio::spawn(async move {
            while wake.recv(&mut [0; 2048]).await.is_ok() {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut flush = flush(Some(address));
        flush.budget = Duration::from_secs(600);
        flush.send(None, documents.to_vec()).await;
        reader.abort();
        let mut received = read.load(Ordering::Relaxed);
        while socket.recv(&mut [0; 2048]).is_ok() {
            received += 1;
        }
        assert_eq!(flush.counts().sent, documents.len() as u64);
        assert_eq!(received, documents.len());
    }

    fn small_documents(count: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(|n| format!("{{\"n\":{n},\"k\":\"{}\"}}", "x".repeat(480)).into_bytes())
    }

    #[tokio::test]
    async fn burst_of_thousands_is_received_whole() {
        let documents: Vec<_> = small_documents(2_000).collect();
        check_received_whole(&documents).await;
    }

    /// Between two bursts the sender trims large documents for longer than the pace's pause. The
    /// reader cannot read in that time.
    #[tokio::test]
    async fn time_in_which_the_sender_worked_makes_no_room() {
        const BURSTS: usize = 4;
        const SMALL: usize = 54;
        let (numbers, filler) = (vec!["0"; 10_000].join(","), "x".repeat(50_000));
        let large = format!(r#"{{"metadata":{{"default":{{"a":[{numbers}],"b":"{filler}"}}}}}}"#);
        let large = large.into_bytes();
        let began = clock::monotonic();
        datagram::fit(large.clone());
        let trimmed = 1 + Pace::PAUSE.div_duration_f64(began.elapsed()) as usize;
        let documents: Vec<_> = (0..BURSTS)
            .flat_map(|_| small_documents(SMALL).chain(vec![large.clone(); trimmed]))
            .collect();
        check_received_whole(&documents).await;
    }

    #[tokio::test]
    async fn document_that_the_path_does_not_carry_is_made_smaller() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        flush.send(None, vec![b"{}".to_vec()]).await;
        assert_eq!(receive(&socket), b"{}");
        // More than any datagram over IPv4 carries.
        flush.routes[0].max_document = 100_000;
        let (half, filler) = ("y".repeat(25_000), "x".repeat(70_000));
        let document = format!(
            r#"{{"name":"n","id":"1","aws":{{"k":"{half}"}},"metadata":{{"default":{{"k":"{filler}"}}}}}}"#
        );
        flush
            .send(None, vec![document.into_bytes(), vec![b'x'; 90_000]])
            .await;
        let text = String::from_utf8(receive(&socket)).unwrap();
        assert!(text.contains("trimmed") && text.contains(&half), "{text}");
        let counts = flush.counts();
        assert_eq!((counts.sent, counts.trimmed), (2, 1));
        assert_eq!(counts.lost.of(Loss::TooLarge), 1);
    }

    #[tokio::test]
    async fn address_is_looked_up_again_after_a_long_stop() {
        let mut flush = flush("host.invalid:2000".parse().ok());
        flush.send(None, vec![b"{}".to_vec()]).await;
        let (socket, address) = daemon();
        flush.routes[0].address = Some(address.clone());
        flush.fixed = Some(address);
        flush.send(None, vec![b"{}".to_vec()]).await;
        flush.reconnect();
        flush.send(None, vec![b"[]".to_vec()]).await;
        assert_eq!(receive(&socket), b"[]");
        assert_eq!(flush.counts().lost.of(Loss::DaemonUnknown), 2);
    }

    #[tokio::test]
    async fn socket_that_sends_no_more_is_replaced_and_nothing_is_lost() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        for _ in 0..3 {
            flush.send(None, vec![b"[]".to_vec()]).await;
            assert_eq!(receive(&socket), b"[]");
            let sender = flush.routes[0]
                .take_socket(clock::monotonic())
                .await
                .unwrap();
            shutdown(sender.as_raw_fd(), Shutdown::Write).unwrap();
            let error = sender.send(b"").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            flush.routes[0].put_back(sender);
        }
        assert_eq!(flush.counts().sent, 3);
        assert!(flush.counts().lost.is_empty(), "{:?}", flush.counts());
    }

    #[tokio::test]
    async fn documents_to_an_absent_daemon_are_counted() {
        let (socket, address) = daemon();
        drop(socket);
        let mut flush = flush(Some(address));
        flush.send(None, vec![b"{}".to_vec(); 3]).await;
        assert_eq!(flush.counts().lost.of(Loss::NotSent), 3);
        assert_eq!(flush.counts().sent, 0);
    }

    #[tokio::test]
    async fn documents_without_a_route_are_counted() {
        // A broadcast address, which the kernel refuses.
        let mut flush = flush("255.255.255.255:2000".parse().ok());
        flush.send(None, vec![b"{}".to_vec()]).await;
        flush.send(None, vec![b"{}".to_vec()]).await;
        assert_eq!(flush.counts().lost.of(Loss::DaemonUnknown), 2);
    }

    #[tokio::test]
    async fn name_is_resolved() {
        let (socket, address) = daemon();
        let name = format!("localhost:{}", address.port());
        let mut flush = flush(name.parse().ok());
        flush.send(None, vec![b"{}".to_vec()]).await;
        assert_eq!(receive(&socket), b"{}");
    }

    #[tokio::test]
    async fn large_documents_are_split_trimmed_or_counted() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        let filler = "x".repeat(70_000);
        let trimmed = format!(r#"{{"name":"n","metadata":{{"default":{{"k":"{filler}"}}}}}}"#);
        flush
            .send(None, vec![trimmed.into_bytes(), vec![b'x'; 70_000]])
            .await;
        assert!(receive(&socket).starts_with(b"{\"metadata\":{\"tracestitch\""));
        assert_eq!((flush.counts().trimmed, flush.counts().sent), (1, 1));
        assert_eq!(flush.counts().lost.of(Loss::TooLarge), 1);
    }
}
