use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::socket::{Shutdown, shutdown};
use tracestitch_wire::delivery::Counters;

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

impl Flush {
    async fn give(&mut self, daemon: Option<DaemonAddress>, documents: Vec<Vec<u8>>) {
        self.send(daemon, &mut documents.iter().collect()).await;
    }
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
        .give(None, vec![b"{\"n\":1}".to_vec(), b"{\"n\":2}".to_vec()])
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
        free.give(to.cloned(), vec![document]).await;
    }
    for document in ["1", "3", "4"] {
        assert_eq!(receive(&one), document.as_bytes());
    }
    assert_eq!(receive(&other), b"2");

    let mut fixed = flush(Some(to_one));
    fixed.give(Some(to_other), vec![b"5".to_vec()]).await;
    assert_eq!(receive(&one), b"5");
}

#[tokio::test]
async fn number_of_routes_is_bounded() {
    let mut flush = flush(None);
    let daemons: Vec<_> = (0..3 * MAX_ROUTES).map(|_| daemon()).collect();
    for (socket, address) in &daemons {
        flush
            .give(Some(address.clone()), vec![b"{}".to_vec()])
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
    flush.give(None, documents.to_vec()).await;
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

/// With pauses the document is the first of a system call, without it is one of several.
#[tokio::test]
async fn document_that_the_path_does_not_carry_is_made_smaller() {
    let (half, filler) = ("y".repeat(25_000), "x".repeat(70_000));
    let large = format!(
        r#"{{"name":"n","id":"1","aws":{{"k":"{half}"}},"metadata":{{"default":{{"k":"{filler}"}}}}}}"#
    );
    for budget in [BUDGET, Duration::ZERO] {
        let (socket, address) = daemon();
        let mut flush = flush(Some(address));
        flush.budget = budget;
        flush.give(None, vec![b"{}".to_vec()]).await;
        assert_eq!(receive(&socket), b"{}");
        // More than any datagram over IPv4 carries.
        flush.routes[0].max_document = 100_000;
        let documents = [&b"1"[..], large.as_bytes(), &[b'x'; 90_000], b"2", b"3"];
        flush.give(None, documents.map(<[u8]>::to_vec).into()).await;
        assert_eq!(receive(&socket), b"1");
        let text = String::from_utf8(receive(&socket)).unwrap();
        assert!(text.contains("trimmed") && text.contains(&half), "{text}");
        assert_eq!([receive(&socket), receive(&socket)], [b"2", b"3"]);
        let counts = flush.counts();
        assert_eq!((counts.sent, counts.trimmed), (5, 1));
        assert_eq!(counts.lost.of(Loss::TooLarge), 1);
        assert_eq!(counts.lost.total(), 1);
    }
}

#[tokio::test]
async fn address_is_looked_up_again_after_a_long_stop() {
    let mut flush = flush("host.invalid:2000".parse().ok());
    flush.give(None, vec![b"{}".to_vec()]).await;
    let (socket, address) = daemon();
    flush.routes[0].address = Some(address.clone());
    flush.fixed = Some(address);
    flush.give(None, vec![b"{}".to_vec()]).await;
    flush.reconnect();
    flush.give(None, vec![b"[]".to_vec()]).await;
    assert_eq!(receive(&socket), b"[]");
    assert_eq!(flush.counts().lost.of(Loss::DaemonUnknown), 2);
}

#[tokio::test]
async fn socket_that_sends_no_more_is_replaced_and_nothing_is_lost() {
    let (socket, address) = daemon();
    let mut flush = flush(Some(address));
    for _ in 0..3 {
        flush.give(None, vec![b"[]".to_vec()]).await;
        assert_eq!(receive(&socket), b"[]");
        let sender = flush.routes[0]
            .take_socket(clock::monotonic())
            .await
            .unwrap();
        shutdown(sender.as_raw_fd(), Shutdown::Write).unwrap();
        let error = sender.send(b"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
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
    flush.give(None, vec![b"{}".to_vec(); 3]).await;
    assert_eq!(flush.counts().lost.of(Loss::NotSent), 3);
    assert_eq!(flush.counts().sent, 0);
}

/// Batches of fewer and more documents than one system call sends. By turns, the daemon's socket
/// takes them or the kernel refuses them, as if no process listened.
#[tokio::test]
async fn each_document_is_received_or_counted_as_lost() {
    let [(socket, address), (_other, elsewhere)] = [daemon(), daemon()];
    let elsewhere = elsewhere.numeric().unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut flush = flush(Some(address));
    flush.budget = Duration::from_secs(600);
    flush.give(None, Vec::new()).await;
    let sender = flush.routes[0].take_socket(clock::monotonic()).await;
    let sender = sender.unwrap();
    let from = sender.local_addr().unwrap();
    flush.routes[0].put_back(sender);
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..60 {
        let listens = random.bool();
        socket
            .connect(if listens { from } else { elsewhere })
            .unwrap();
        let count = random.usize(1..2 * datagrams::MOST + 3);
        let before = *flush.counts();
        flush.give(None, vec![b"{}".to_vec(); count]).await;
        let counts = flush.counts().since(&before);
        let receive = || socket.recv(&mut [0; 64]).ok();
        let received = std::iter::from_fn(receive).count();
        assert_eq!(received, if listens { count } else { 0 }, "{round}");
        assert_eq!(counts.sent, received as u64, "{round}");
        let lost = counts.lost.of(Loss::NotSent);
        assert_eq!(lost, (count - received) as u64, "{round}");
    }
}

#[tokio::test]
async fn documents_without_a_route_are_counted() {
    // A broadcast address, which the kernel refuses.
    let mut flush = flush("255.255.255.255:2000".parse().ok());
    flush.give(None, vec![b"{}".to_vec()]).await;
    flush.give(None, vec![b"{}".to_vec()]).await;
    assert_eq!(flush.counts().lost.of(Loss::DaemonUnknown), 2);
}

#[tokio::test]
async fn name_is_resolved() {
    let (socket, address) = daemon();
    let name = format!("localhost:{}", address.port());
    let mut flush = flush(name.parse().ok());
    flush.give(None, vec![b"{}".to_vec()]).await;
    assert_eq!(receive(&socket), b"{}");
}

#[tokio::test]
async fn large_documents_are_split_trimmed_or_counted() {
    let (socket, address) = daemon();
    let mut flush = flush(Some(address));
    let filler = "x".repeat(70_000);
    let trimmed = format!(r#"{{"name":"n","metadata":{{"default":{{"k":"{filler}"}}}}}}"#);
    flush
        .give(None, vec![trimmed.into_bytes(), vec![b'x'; 70_000]])
        .await;
    let received: serde_json::Value = serde_json::from_slice(&receive(&socket)).unwrap();
    assert!(
        received["metadata"]["tracestitch"]["trimmed"].is_string(),
        "{received}"
    );
    assert_eq!((flush.counts().trimmed, flush.counts().sent), (1, 1));
    assert_eq!(flush.counts().lost.of(Loss::TooLarge), 1);
}
