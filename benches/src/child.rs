//! The process that does the work of a row: its environment, and the sides that it sends to.

use std::env;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use tracestitch_ring::{Reader, receive_file};

use crate::rows::{Row, Send};

/// Returns a command that starts this program under `launcher`, or alone.
pub(crate) fn command(launcher: &[&str]) -> Command {
    let program = env::current_exe().expect("the path of this program is known");
    let Some((launcher, arguments)) = launcher.split_first() else {
        return Command::new(program);
    };
    let mut command = Command::new(launcher);
    command.args(arguments).arg(program);
    command
}

/// Starts a child that does the work of the row once its standard input is closed. The folder has
/// its socket.
pub(crate) fn start(command: &mut Command, row: &Row, repeat: u32) -> (Child, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder can be created");
    let socket = folder.path().join("handoff.sock");
    if row.send == Send::ToExtension {
        read_as_the_extension_does(&socket);
    }
    let child = command
        .env_clear()
        .envs([
            ("BENCH_WORK", row.work),
            ("BENCH_HEADER", row.header),
            ("BENCH_REPEAT", &repeat.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
            ("_X_AMZN_TRACE_ID", row.header),
            ("TRACESTITCH_TRANSPORT", "extension"),
            ("TRACESTITCH_LOG", "off"),
            ("AWS_XRAY_DAEMON_ADDRESS", daemon()),
            (
                "TRACESTITCH_SOCKET",
                socket.to_str().expect("the path is UTF-8"),
            ),
            ("PATH", &env::var("PATH").unwrap_or_default()),
        ])
        .envs(
            row.errors_always
                .then_some(("TRACESTITCH_ERRORS", "always")),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}); is it installed?"));
    (child, folder)
}

/// First output of a child that waits for its start.
pub(crate) const READY: &str = "ready\n";

/// Waits until the parent has closed standard input.
pub(crate) fn wait_for_start() {
    print!("{READY}");
    // An error also means that the parent is ready, or gone.
    let _ = std::io::stdin().read(&mut [0]);
}

/// Reads documents only when a message on the socket wakes it, as the extension does.
fn read_as_the_extension_does(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("the socket can be bound");
    std::thread::spawn(move || {
        let Ok((mut function, _)) = listener.accept() else {
            return;
        };
        let mut buffer = vec![0; 1 << 16];
        let Ok((_, Some(file))) = receive_file(&function, &mut buffer) else {
            return;
        };
        let mut reader = Reader::open(file).expect("a ring");
        while function.read(&mut buffer).is_ok_and(|length| length > 0) {
            reader.read(|_| {}).expect("valid frames");
            reader
                .release()
                .expect("a ring that only this reader reads");
        }
    });
}

/// Returns the address of a daemon that discards everything, one for all children.
fn daemon() -> &'static str {
    static ADDRESS: OnceLock<String> = OnceLock::new();
    ADDRESS.get_or_init(listen)
}

fn listen() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port is free");
    let address = socket.local_addr().expect("its address is known");
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while socket.recv(&mut buffer).is_ok() {}
    });
    address.to_string()
}
