//! The function without an extension that answers: absent, late, hung, killed in the middle of a
//! write; and with something in its place that is none. The handler answers as ever and as soon,
//! and its documents arrive by UDP.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use e2e::binaries;
use e2e::journal::{Pen, Verb};
use e2e::wait;
use serde_json::{Value, json};

use crate::strikes::{continue_extension, stop_extension};
use crate::victim::{Victim, plenty};

/// Longest time of an invocation that waits for nobody. Undisturbed it takes some 20 ms; who
/// waited for an extension would wait for the timeout of 20 s.
const PROMPT: Duration = Duration::from_secs(5);

/// Invokes it; it answers, and soon.
async fn invoke(victim: &Victim, n: u64, work: Value) {
    let outcome = victim.invoke(n, work).await;
    let took = outcome
        .ended
        .duration_since(outcome.started)
        .unwrap_or_default();
    assert!(outcome.is_response(), "{outcome:?}");
    assert!(took < PROMPT, "{took:?}");
}

/// Everything arrives, in three invocations.
async fn all_arrives(victim: &Victim) {
    for n in 1..=3 {
        invoke(victim, n, plenty()).await;
    }
    victim.end("nothing").await;
}

#[tokio::test]
async fn absent() {
    all_arrives(&Victim::start_alone(|function, _| function).await).await;
}

/// It starts after the function's first invocation; the second one finds it.
#[tokio::test]
async fn late() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("tracestitch");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let victim =
        Victim::start_alone(|function, _| function.extension(&program).outlive_extensions(true))
            .await;
    invoke(&victim, 1, plenty()).await;
    assert_eq!(victim.environment.extension_pids(), [0; 0], "not there yet");

    fs::remove_file(&program).unwrap();
    symlink(binaries::extension(), &program).unwrap();
    assert!(victim.environment.start_extensions().await);
    invoke(&victim, 2, plenty()).await;
    // Only the extension can close what a killed function leaves open.
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

/// Work whose documents do not fit into the socket (208 KiB) when nobody reads.
fn large() -> Value {
    json!({ "steps": 60, "bytes": 8000 })
}

/// It stops reading (SIGSTOP): the function does not wait for it, and nothing is lost when it
/// reads again.
#[tokio::test]
async fn hung() {
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

/// It is killed with its socket full and the function in the middle of a frame. What the socket
/// holds is lost; the rest takes the other way.
#[tokio::test]
async fn killed_in_the_middle_of_a_write() {
    let victim =
        Victim::start_with(|function, _| function.freeze(false).outlive_extensions(true)).await;
    invoke(&victim, 1, plenty()).await;
    victim.settled(1).await;
    stop_extension(&victim.environment).await;
    let go_on = victim.file("go on");
    let mut work = large();
    work["then"] = json!({ "until": go_on });
    let ((), ()) = tokio::join!(invoke(&victim, 2, work), async {
        victim.noted(Verb::Begun, 2, "doomed", 1).await;
        victim.environment.kill_extensions().await;
        victim.pen().note(Verb::Gone, 2, "", "");
        fs::write(&go_on, "").unwrap();
    });
    assert!(victim.environment.start_extensions().await);
    invoke(&victim, 3, plenty()).await;
    let documents = victim.end("nothing").await;
    let large = documents
        .iter()
        .filter(|document| document.body.to_string().len() > 8000);
    let lost = 60 - large.count();
    assert!(
        lost > 0,
        "the socket was never full: this test proves nothing"
    );
    // Linux takes a write when there is some room: the last one may go beyond the limit.
    let socket = fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    let most = socket.trim().parse::<usize>().unwrap() / 8000 + 2;
    assert!(lost <= most, "{lost} lost, a socket holds {most}");
}

/// Something else is at the path of the socket.
async fn instead(put: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handoff.sock");
    put(&socket);
    let victim = Victim::start_alone(|function, _| {
        function.env("TRACESTITCH_SOCKET", socket.to_string_lossy())
    })
    .await;
    all_arrives(&victim).await;
    assert!(socket.exists(), "nobody removes what is not ours");
    let logs = victim.environment.logs();
    let warnings = logs
        .iter()
        .filter(|line| line.text.starts_with("tracestitch "));
    assert_eq!(warnings.count(), 1, "{logs:?}");
}

#[tokio::test]
async fn a_plain_file_instead_of_the_socket() {
    instead(|socket| fs::write(socket, "mine").unwrap()).await;
}

#[tokio::test]
async fn a_folder_instead_of_the_socket() {
    instead(|socket| fs::create_dir(socket).unwrap()).await;
}

#[tokio::test]
async fn a_link_instead_of_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real.sock");
    let listener = UnixListener::bind(&real).unwrap();
    instead(|socket| symlink(&real, socket).unwrap()).await;
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody may connect by a link");
}

#[tokio::test]
async fn the_socket_of_another_user() {
    let mut listener = None;
    instead(|socket| {
        listener = UnixListener::bind(socket).ok();
        std::os::unix::fs::chown(socket, Some(65534), None)
            .expect("this test runs as root: who else can give a socket to another user?");
    })
    .await;
    let listener = listener.unwrap();
    listener.set_nonblocking(true).unwrap();
    assert!(
        listener.accept().is_err(),
        "another user's socket gets no documents"
    );
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on() {
    instead(|socket| drop(UnixListener::bind(socket).unwrap())).await;
}

/// A listener in the extension's place, and the victim beside it. `treat` gets the function's two
/// connections. By then nobody listens any more, so that no others follow.
async fn impostor(treat: impl Fn(UnixStream, &Pen) + Send + 'static) -> Victim {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handoff.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let victim = Victim::start_alone(|function, _| {
        function.env("TRACESTITCH_SOCKET", socket.to_string_lossy())
    })
    .await;
    let pen = victim.pen();
    // It ends with the test's process.
    std::thread::spawn(move || {
        let streams = [(); 2].map(|()| listener.accept().unwrap().0);
        drop((listener, folder));
        streams.into_iter().for_each(|stream| treat(stream, &pen));
    });
    victim
}

/// Everything arrives that was not given to the impostor before it closed the connections.
async fn all_else_arrives(victim: &Victim) {
    for n in 1..=3 {
        invoke(victim, n, plenty()).await;
    }
    victim.shutdown().await;
    victim.noted(Verb::Gone, 0, "", 2).await;
    victim.end("nothing").await;
}

/// Closes each connection when it has read its hello, as an extension does that speaks another
/// version. What is written before the function learns of it is lost.
#[tokio::test]
async fn an_extension_that_refuses_the_hello() {
    let victim = impostor(|mut stream, pen| {
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello);
        drop(stream);
        pen.note(Verb::Gone, 0, "", "");
    })
    .await;
    all_else_arrives(&victim).await;
}

/// Reads a little, then closes in the middle of a frame.
#[tokio::test]
async fn an_extension_that_breaks_off() {
    let victim = impostor(|mut stream, pen| {
        let pen = pen.clone();
        std::thread::spawn(move || {
            let mut some = [0; 700];
            let _ = stream.read_exact(&mut some);
            drop(stream);
            pen.note(Verb::Gone, 0, "", "");
        });
    })
    .await;
    all_else_arrives(&victim).await;
}

/// Accepts and never reads. Nobody can tell it from a slow one: what it was given is lost when it
/// ends. After that the documents arrive.
#[tokio::test]
async fn an_extension_that_never_reads() {
    let (keep, kept) = mpsc::channel();
    let victim = impostor(move |stream, _| keep.send(stream).unwrap()).await;
    invoke(&victim, 1, plenty()).await;
    invoke(&victim, 2, large()).await;
    let streams = [(); 2].map(|()| kept.recv_timeout(wait::PATIENCE).unwrap());
    drop(streams);
    victim.pen().note(Verb::Gone, 0, "", "");
    invoke(&victim, 3, plenty()).await;
    victim.end("nothing").await;
}
