use std::net::Shutdown;

use super::*;

#[test]
fn broken_socket_is_replaced_without_loss() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let address = daemon.local_addr().unwrap().to_string().parse().unwrap();
    let direct = Direct::new(&address);
    for n in 0..3 {
        if let Destination::Open(socket) = &direct.state().destination {
            socket2::SockRef::from(socket)
                .shutdown(Shutdown::Write)
                .unwrap();
            assert_eq!(socket.send(b"").unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
        let document = format!("{{\"n\":{n}}}");
        direct.send(document.as_bytes());
        let mut buffer = [0; 1024];
        let length = daemon.recv(&mut buffer).unwrap();
        let received = datagram::decode(&buffer[..length]).unwrap();
        assert_eq!(received, document.as_bytes());
    }
    let counts = direct.counts();
    assert_eq!((counts.sent, counts.lost.of(Loss::NotSent)), (3, 0));
}

/// A receiver that does not run gets no more than its buffer holds, however long the sender is
/// busy between two documents.
#[test]
fn busy_time_makes_no_room_at_the_receiver() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = daemon.local_addr().unwrap().to_string().parse().unwrap();
    let direct = Direct::new(&address);
    let fill = || {
        while direct.state().waiting.is_empty() {
            direct.send(&[b'x'; 500]);
        }
        direct.state().counts.sent
    };
    let busy = || {
        let until = Instant::now() + 2 * Pace::PAUSE;
        while Instant::now() < until {}
    };
    direct.begin();
    let burst = fill();
    for n in 0..10 {
        busy();
        direct.send(&[b'x'; 500]);
        assert_eq!(direct.counts().sent, burst, "document {n}");
    }
    busy();
    assert_eq!(direct.flush(), Flushed::Some, "no pause before the first");
    assert_eq!(direct.counts().sent, burst);
    busy();
    assert_eq!(direct.flush(), Flushed::All, "the caller paused");
    assert_eq!(direct.counts().sent, burst + 11);

    let burst = fill();
    busy();
    direct.begin();
    direct.send(b"{}");
    assert!(direct.counts().sent > burst, "an invocation begins");
}

#[test]
fn socket_is_used_until_the_name_is_resolved_again() {
    let daemon = UdpSocket::bind("127.0.0.1:0").unwrap();
    daemon
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let port = daemon.local_addr().unwrap().port();
    let sender = |direct: &Direct| {
        direct.send(b"{}");
        daemon.recv_from(&mut [0; 1024]).unwrap().1
    };
    let settled = |direct: &Direct| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&direct.state) > 1 {
            assert!(Instant::now() < deadline, "it is still being looked up");
            std::thread::yield_now();
        }
    };
    for (host, moves, reason) in [
        ("localhost", true, "a name that is known"),
        ("nobody.invalid", false, "one that is not known any more"),
        ("127.0.0.1", false, "no name"),
    ] {
        let direct = Direct::new(&format!("{host}:{port}").parse().unwrap());
        settled(&direct);
        let socket = connect(daemon.local_addr().unwrap()).unwrap();
        direct.state().destination = Destination::Open(socket);
        let before = sender(&direct);
        direct.begin();
        settled(&direct);
        assert_eq!(sender(&direct), before, "{reason}: not at each invocation");

        direct.state().looked_up -= LOOK_AGAIN;
        direct.begin();
        sender(&direct);
        settled(&direct);
        assert_eq!(sender(&direct) != before, moves, "{reason}");
        let counts = direct.counts();
        assert_eq!((counts.sent, counts.lost.of(Loss::NotSent)), (4, 0));
    }
}
