//! Functions whose extension is absent, late, stopped, killed, or replaced by something else: the
//! handler answers as usual and as fast, and its documents arrive by UDP.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;

use e2e::binaries;
use e2e::journal::Verb;
use e2e::wait::{PATIENCE, PROMPT};
use serde_json::{Value, json};

use crate::strikes::{continue_extension, extension_sleeps, stop_extension};
use crate::victim::{Victim, plenty};

/// Invokes it, and checks that it answers in time.
async fn invoke(victim: &Victim, n: u64, work: Value) {
    let outcome = victim.invoke(n, work).await;
    let took = outcome
        .ended
        .duration_since(outcome.started)
        .unwrap_or_default();
    assert!(outcome.is_response(), "{outcome:?}");
    assert!(took < PROMPT, "{took:?}");
}

/// Runs three invocations, and checks that all documents arrive.
async fn all_arrives(victim: &Victim) {
    for n in 1..=3 {
        invoke(victim, n, plenty()).await;
    }
    victim.end("nothing").await;
}

#[tokio::test]
async fn documents_arrive_without_an_extension() {
    all_arrives(&Victim::start_alone(|function, _| function).await).await;
}

/// The extension starts after the first invocation; the second invocation connects to it.
#[tokio::test]
async fn late_extension_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tracestitch");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let victim =
        Victim::start_alone(|function, _| function.extension(&program).outlive_extensions(true))
            .await;
    invoke(&victim, 1, plenty()).await;
    assert_eq!(
        victim.environment.extension_pids(),
        [0; 0],
        "it runs already"
    );

    fs::remove_file(&program).unwrap();
    symlink(binaries::extension(), &program).unwrap();
    assert!(victim.environment.start_extensions().await);
    invoke(&victim, 2, plenty()).await;
    // Only the extension can close the open documents of a killed function.
    let mut work = plenty();
    work["then"] = "wait".into();
    let ((), killed) = tokio::join!(
        async {
            let outcome = victim.invoke(3, work).await;
            assert!(!outcome.is_response(), "{outcome:?}");
        },
        async {
            victim.noted(Verb::Begun, 3, "doomed", 1).await;
            victim.environment.kill_function().await
        }
    );
    assert!(killed);
    victim.end("FunctionCrash").await;
}

/// Returns work whose documents exceed a socket's buffer (208 KiB).
fn large() -> Value {
    json!({ "steps": 60, "bytes": 8000 })
}

/// The function does not wait for a stopped extension (SIGSTOP), and nothing is lost when the
/// extension continues.
#[tokio::test]
async fn stopped_extension_loses_nothing() {
    let victim = Victim::start_with(|function, _| function.freeze(false)).await;
    invoke(&victim, 1, plenty()).await;
    victim.settled(1).await;
    stop_extension(&victim.environment).await;
    invoke(&victim, 2, large()).await;
    continue_extension(&victim.environment);
    victim.settled(2).await;
    invoke(&victim, 3, plenty()).await;
    victim.end("nothing").await;
}

/// The extension is killed with unread documents of an invocation that is under way. The function
/// takes them back when the invocation ends.
#[tokio::test]
async fn killed_extension_loses_nothing() {
    let victim =
        Victim::start_with(|function, _| function.freeze(false).outlive_extensions(true)).await;
    invoke(&victim, 1, plenty()).await;
    victim.settled(1).await;
    // A document that was sent and not released would arrive twice.
    victim.arrived(1).await;
    extension_sleeps(&victim.environment).await;
    stop_extension(&victim.environment).await;
    let go_on = victim.file("go on");
    let mut work = large();
    work["then"] = json!({ "until": go_on });
    let ((), ()) = tokio::join!(invoke(&victim, 2, work), async {
        victim.noted(Verb::Begun, 2, "doomed", 1).await;
        victim.environment.kill_extensions().await;
        fs::write(&go_on, "").unwrap();
    });
    assert!(victim.environment.start_extensions().await);
    invoke(&victim, 3, plenty()).await;
    victim.end("nothing").await;
}

/// Runs the function with something else at the path of the socket.
async fn instead(put: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handoff.sock");
    put(&socket);
    let victim = Victim::start_alone(|function, _| {
        function.env("TRACESTITCH_SOCKET", socket.to_string_lossy())
    })
    .await;
    all_arrives(&victim).await;
    assert!(socket.exists(), "a file of someone else is not removed");
    let logs = victim.environment.logs();
    let warnings = logs
        .iter()
        .filter(|line| line.text.starts_with("tracestitch "));
    assert_eq!(warnings.count(), 1, "{logs:?}");
}

#[tokio::test]
async fn plain_file_instead_of_the_socket_is_ignored() {
    instead(|socket| fs::write(socket, "mine").unwrap()).await;
}

#[tokio::test]
async fn folder_instead_of_the_socket_is_ignored() {
    instead(|socket| fs::create_dir(socket).unwrap()).await;
}

#[tokio::test]
async fn link_instead_of_the_socket_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real.sock");
    let listener = UnixListener::bind(&real).unwrap();
    instead(|socket| symlink(&real, socket).unwrap()).await;
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "it connected through the link");
}

#[tokio::test]
async fn socket_of_another_user_is_ignored() {
    let mut listener = None;
    instead(|socket| {
        listener = UnixListener::bind(socket).ok();
        std::os::unix::fs::chown(socket, Some(65534), None)
            .expect("this test needs root to give the socket to another user");
    })
    .await;
    let listener = listener.unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(
        listener.accept().is_err(),
        "it connected to another user's socket"
    );
}

#[tokio::test]
async fn socket_without_a_listener_is_ignored() {
    instead(|socket| drop(UnixListener::bind(socket).unwrap())).await;
}

/// Starts the victim with a listener in the extension's place, which passes the connection to
/// `treat`. The listener is closed before that, so that no further connection is made. The receiver
/// reports the return of `treat`.
async fn impostor(treat: impl FnOnce(UnixStream) + Send + 'static) -> (Victim, mpsc::Receiver<()>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handoff.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let victim = Victim::start_alone(|function, _| {
        function.env("TRACESTITCH_SOCKET", socket.to_string_lossy())
    })
    .await;
    let (treated, reports) = mpsc::channel();
    // The thread ends with the test's process.
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop((listener, folder));
        treat(stream);
        // The test may have failed already.
        let _ = treated.send(());
    });
    (victim, reports)
}

/// The impostor closes the connection after the hello, as an extension with another version of the
/// protocol does.
#[tokio::test]
async fn documents_arrive_when_the_hello_is_refused() {
    let (victim, closed) = impostor(|mut stream| {
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello);
    })
    .await;
    invoke(&victim, 1, plenty()).await;
    closed.recv_timeout(PATIENCE).unwrap();
    invoke(&victim, 2, plenty()).await;
    invoke(&victim, 3, plenty()).await;
    victim.end("nothing").await;
}

/// The impostor closes the connection in the middle of the message that ends the first invocation.
#[tokio::test]
async fn documents_arrive_when_the_connection_breaks() {
    let (victim, closed) = impostor(|mut stream| {
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello);
        let _ = stream.read_exact(&mut [0; 10]);
    })
    .await;
    invoke(&victim, 1, plenty()).await;
    closed.recv_timeout(PATIENCE).unwrap();
    invoke(&victim, 2, plenty()).await;
    invoke(&victim, 3, plenty()).await;
    victim.end("nothing").await;
}

/// The impostor reads neither memory nor socket, which looks like a slow extension. The function
/// takes back all documents when it ends.
#[tokio::test]
async fn documents_arrive_after_an_extension_that_never_reads() {
    let (keep, kept) = mpsc::channel();
    let (victim, _) = impostor(move |stream| keep.send(stream).unwrap()).await;
    invoke(&victim, 1, plenty()).await;
    invoke(&victim, 2, large()).await;
    drop(kept.recv_timeout(PATIENCE).unwrap());
    invoke(&victim, 3, plenty()).await;
    victim.end("nothing").await;
}
