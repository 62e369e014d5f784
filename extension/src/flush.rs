//! Documents to the X-Ray daemon, by UDP.
//!
//! Source: X-Ray developer guide, "Sending trace data to X-Ray".

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracestitch_wire::daemon::{DaemonAddress, preferred};
use tracestitch_wire::datagram::{self, MAX_DOCUMENT, Pace};

use crate::Log;
use crate::log::Warnings;
use crate::report::{Counts, Loss};

/// Where a daemon listens that nobody gave an address for (X-Ray developer guide, "Configuring
/// the X-Ray daemon").
const DEFAULT_DAEMON: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2000);

/// `EMSGSIZE` of Linux (errno(3)): the path carries no datagram of this size.
const MESSAGE_TOO_LONG: i32 = 90;

/// How long the daemon's name may take to resolve, and when it is tried again if it failed.
const RESOLVE: Duration = Duration::from_millis(200);
const RESOLVE_AGAIN: Duration = Duration::from_secs(30);

/// When a name that was resolved is looked up again: the daemon may have moved.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

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
    /// When the address was looked up last.
    looked_up: Instant,
    /// Most bytes of a document that the path to the daemon carries, as far as it is known.
    most: usize,
    pace: Pace,
    warnings: Warnings,
    counts: Counts,
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
            looked_up: Instant::now(),
            most: MAX_DOCUMENT,
            pace: Pace::default(),
            warnings: Warnings::new(log),
            counts: Counts::default(),
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
            Err(error) => self.warnings.give(format_args!(
                "the function was given no usable daemon address, expected {}; \
                 documents go to {DEFAULT_DAEMON}",
                error.expectation()
            )),
        }
    }

    /// Looks the daemon's address up again before the next document: the environment was
    /// stopped for so long that it may have changed, or it goes on from a snapshot elsewhere.
    pub(crate) fn reconnect(&mut self) {
        self.target = Target::Unknown;
    }

    /// Sends `documents`, each in one datagram or, when it is too large, in several.
    pub(crate) async fn send(&mut self, documents: Vec<Vec<u8>>) {
        let mut batch = Batch::begin();
        let Some(mut socket) = self.socket(batch.began).await else {
            self.counts
                .lose_many(Loss::DaemonUnknown, documents.len() as u64);
            return;
        };
        for document in documents {
            let mut parts = self.fit(document);
            while let Some(part) = parts.pop() {
                match self.send_one(&mut socket, &part, &mut batch).await {
                    Ok(()) => self.counts.sent += 1,
                    Err(error) if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => {
                        self.most = part.len() / 2;
                        parts.extend(self.fit(part));
                    }
                    Err(error) => self.not_sent(&error),
                }
            }
        }
        self.look_for_refusal(&socket);
        self.target = Target::Known(socket);
    }

    /// The document as parts that the path carries, the last of them to be sent first.
    fn fit(&mut self, document: Vec<u8>) -> Vec<Vec<u8>> {
        let mut fitted = datagram::fit_within(document, self.most);
        let parts = fitted.documents.len() + fitted.lost;
        self.counts.split += parts.saturating_sub(1) as u64;
        self.counts.trimmed += fitted.trimmed as u64;
        self.counts.lose_many(Loss::TooLarge, fitted.lost as u64);
        fitted.documents.reverse();
        fitted.documents
    }

    async fn send_one(
        &mut self,
        socket: &mut UdpSocket,
        document: &[u8],
        batch: &mut Batch,
    ) -> io::Result<()> {
        let datagram = datagram::encode(document);
        while !self.pace.admits(datagram.len(), batch.resumed.into_std()) && batch.is_in_time() {
            batch.pause().await;
        }
        // The kernel reports with the next call that nobody took an earlier datagram, and that
        // call then sends nothing: so ask before.
        self.look_for_refusal(socket);
        let mut reopened = false;
        loop {
            let Err(error) = socket.send(&datagram) else {
                return Ok(());
            };
            match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock if batch.is_in_time() => batch.pause().await,
                // Of the receiver or of the datagram: with another socket it would be the same.
                ErrorKind::WouldBlock | ErrorKind::ConnectionRefused => return Err(error),
                _ if error.raw_os_error() == Some(MESSAGE_TOO_LONG) => return Err(error),
                _ if reopened => return Err(error),
                _ => {
                    reopened = true;
                    // The network may be another one than that on which it was opened.
                    *socket = connect(socket.peer_addr()?)?;
                }
            }
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
        self.warnings.give(format_args!(
            "the X-Ray daemon does not take documents: {error}; they are lost and counted"
        ));
    }

    /// The connected socket, taken out of `self` while it is in use.
    async fn socket(&mut self, now: Instant) -> Option<UdpSocket> {
        let old = match std::mem::replace(&mut self.target, Target::Unknown) {
            Target::Known(socket) if !self.may_have_moved(now) => return Some(socket),
            Target::Known(socket) => Some(socket),
            Target::Failed { again } if now < again => {
                self.target = Target::Failed { again };
                return None;
            }
            Target::Failed { .. } | Target::Unknown => None,
        };
        self.looked_up = now;
        let opened = match self.daemon.clone() {
            Some(daemon) => open(&daemon).await,
            None => connect(DEFAULT_DAEMON),
        };
        match (opened, old) {
            (Ok(socket), _) => {
                self.most = MAX_DOCUMENT;
                Some(socket)
            }
            (Err(_), Some(old)) => Some(old),
            (Err(error), None) => {
                self.warnings.give(format_args!(
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

    /// True when the daemon has a name that was looked up long ago.
    fn may_have_moved(&self, now: Instant) -> bool {
        let name = |daemon: &DaemonAddress| daemon.numeric().is_none();
        now.duration_since(self.looked_up) >= LOOK_AGAIN && self.daemon.as_ref().is_some_and(name)
    }
}

/// The times of one call of [`Flush::send`].
#[derive(Debug)]
struct Batch {
    began: Instant,
    /// The end of the last pause, or the beginning.
    ///
    /// The pace takes the time between two pauses for time in which the receiver reads. Only
    /// time in which this process waited counts as that: when it was busy, or the machine did not
    /// let it run, the receiver may not have run either. A pace that read the clock for each
    /// datagram let several bursts follow each other into a buffer that holds two.
    resumed: Instant,
}

impl Batch {
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            resumed: now,
        }
    }

    fn is_in_time(&self) -> bool {
        self.began.elapsed() < BUDGET
    }

    async fn pause(&mut self) {
        sleep(Pace::PAUSE).await;
        self.resumed = Instant::now();
    }
}

async fn open(daemon: &DaemonAddress) -> io::Result<UdpSocket> {
    if let Some(address) = daemon.numeric() {
        return connect(address);
    }
    let name = (daemon.host(), daemon.port());
    let addresses = timeout(RESOLVE, tokio::net::lookup_host(name)).await??;
    preferred(addresses)
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
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{Shutdown, shutdown};

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

    /// Sends `documents` to a reader with the kernel's default buffer and checks that it receives
    /// one datagram for each.
    ///
    /// Sender and reader share this thread, so the reader reads whenever the sender pauses and at
    /// no other time: as two processes on the one processor of a small function. A busy machine
    /// can only use up [`BUDGET`], after which there are no pauses; then the attempt is repeated.
    async fn check_received_whole(documents: &[Vec<u8>]) {
        const LONGEST: Duration = Duration::from_secs(60);
        let began = Instant::now();
        while began.elapsed() < LONGEST {
            let (socket, address) = daemon();
            socket.set_nonblocking(true).unwrap();
            let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
            let reader = tokio::spawn(async move {
                let (mut read, mut buffer) = (0, vec![0; 65_536]);
                while let Ok(Ok(length)) = timeout(BUDGET, socket.recv(&mut buffer)).await {
                    datagram::decode(&buffer[..length]).unwrap();
                    read += 1;
                }
                read
            });
            let mut flush = flush(Some(address));
            let started = Instant::now();
            flush.send(documents.to_vec()).await;
            let in_time = started.elapsed() < BUDGET;
            assert_eq!(flush.counts().sent, documents.len() as u64);
            let read = reader.await.unwrap();
            if in_time {
                assert_eq!(read, documents.len());
                return;
            }
        }
        panic!("the machine was too busy for {LONGEST:?}");
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
        let began = Instant::now();
        datagram::fit(large.clone());
        let trimmed = 1 + Pace::PAUSE.div_duration_f64(began.elapsed()) as usize;
        let documents: Vec<_> = (0..BURSTS)
            .flat_map(|_| small_documents(SMALL).chain(vec![large.clone(); trimmed]))
            .collect();
        check_received_whole(&documents).await;
    }

    #[tokio::test]
    async fn what_the_path_does_not_carry_is_made_smaller() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        flush.send(vec![b"{}".to_vec()]).await;
        assert_eq!(receive(&socket), b"{}");
        // More than any datagram over IPv4 carries.
        flush.most = 100_000;
        let (half, filler) = ("y".repeat(25_000), "x".repeat(70_000));
        let document = format!(
            r#"{{"name":"n","id":"1","aws":{{"k":"{half}"}},"metadata":{{"default":{{"k":"{filler}"}}}}}}"#
        );
        flush
            .send(vec![document.into_bytes(), vec![b'x'; 90_000]])
            .await;
        let text = String::from_utf8(receive(&socket)).unwrap();
        assert!(text.contains("trimmed") && text.contains(&half), "{text}");
        let counts = flush.counts();
        assert_eq!((counts.sent, counts.trimmed), (2, 1));
        assert_eq!(counts.lost[&Loss::TooLarge], 1);
    }

    #[tokio::test]
    async fn after_a_long_stop_the_address_is_looked_up_again() {
        let mut flush = flush("nobody.invalid:2000".parse().ok());
        flush.send(vec![b"{}".to_vec()]).await;
        let (socket, address) = daemon();
        flush.daemon = Some(address);
        flush.send(vec![b"{}".to_vec()]).await;
        flush.reconnect();
        flush.send(vec![b"[]".to_vec()]).await;
        assert_eq!(receive(&socket), b"[]");
        assert_eq!(flush.counts().lost[&Loss::DaemonUnknown], 2);
    }

    #[tokio::test]
    async fn a_socket_that_sends_no_more_is_replaced_and_nothing_is_lost() {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        flush.send(vec![b"{}".to_vec()]).await;
        assert_eq!(receive(&socket), b"{}");
        for _ in 0..2 {
            let Target::Known(sender) = &flush.target else {
                panic!("{:?}", flush.target);
            };
            shutdown(sender.as_raw_fd(), Shutdown::Write).unwrap();
            assert_eq!(sender.send(b"").unwrap_err().kind(), ErrorKind::BrokenPipe);
            flush.send(vec![b"[]".to_vec()]).await;
            assert_eq!(receive(&socket), b"[]");
        }
        assert_eq!(flush.counts().sent, 3);
        assert!(flush.counts().lost.is_empty(), "{:?}", flush.counts());
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
    async fn an_address_to_which_no_way_leads_is_counted() {
        // A broadcast, which the kernel refuses to connect to.
        let mut flush = flush("255.255.255.255:2000".parse().ok());
        flush.send(vec![b"{}".to_vec()]).await;
        flush.send(vec![b"{}".to_vec()]).await;
        assert_eq!(flush.counts().lost[&Loss::DaemonUnknown], 2);
        assert!(matches!(flush.target, Target::Failed { .. }));
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
    async fn a_name_is_looked_up_again_and_the_old_address_serves_while_it_is_not_known() {
        let (socket, address) = daemon();
        let port = address.port();
        let mut flush = flush(Some(address));
        let mut sender = async |host: &str, age| {
            flush.daemon = format!("{host}:{port}").parse().ok();
            flush.looked_up -= age;
            flush.send(vec![b"{}".to_vec()]).await;
            assert!(flush.counts().lost.is_empty(), "{host}");
            socket.recv_from(&mut [0; 1024]).expect(host).1
        };
        let first = sender("127.0.0.1", Duration::ZERO).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut moved = first;
        while moved == first {
            // A busy machine may not have resolved it in time.
            assert!(Instant::now() < deadline, "it was not looked up");
            moved = sender("localhost", LOOK_AGAIN).await;
        }
        for (host, age, reason) in [
            ("localhost", Duration::ZERO, "it was just looked up"),
            ("nobody.invalid", LOOK_AGAIN, "nothing better is known"),
            ("127.0.0.1", LOOK_AGAIN, "no name"),
        ] {
            assert_eq!(sender(host, age).await, moved, "{reason}");
        }
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
