//! Runs a row's work in a child process: under callgrind for its instructions, alone for its time.

use std::env;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tracestitch_ring::{Reader, receive_file};

use crate::rows::{Row, Send};

/// Returns the instructions of one repetition: the difference between many and few.
pub(crate) fn instructions(row: &Row) -> u64 {
    let run = |repeat: u32| -> u64 {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        let output = run_child(command.arg(this_program()), row, repeat);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let collected = text
            .lines()
            .find_map(|line| line.split("Collected :").nth(1));
        collected
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or_else(|| panic!("callgrind did not say what it collected:\n{text}"))
    };
    let few = row.repeat.0;
    (run(3 * few) - run(few)) / u64::from(2 * few)
}

/// Returns nanoseconds of CPU time of one repetition, with the small share of the start.
pub(crate) fn nanoseconds(row: &Row) -> f64 {
    let output = run_child(&mut Command::new(this_program()), row, row.repeat.1);
    let nanos: f64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("a number");
    nanos / f64::from(row.repeat.1)
}

fn this_program() -> std::path::PathBuf {
    env::current_exe().expect("the path of this program")
}

fn run_child(command: &mut Command, row: &Row, repeat: u32) -> std::process::Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
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
                socket.to_str().expect("a path in UTF-8"),
            ),
            ("PATH", &env::var("PATH").unwrap_or_default()),
        ])
        .envs(
            row.errors_always
                .then_some(("TRACESTITCH_ERRORS", "always")),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}); is it installed?"));
    let output = child.wait_with_output().expect("the child's output");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Reads documents only when a message on the socket wakes it, as the extension does.
fn read_as_the_extension_does(socket: &Path) {
    let listener = UnixListener::bind(socket).expect("a socket");
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
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("its address").to_string();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while socket.recv(&mut buffer).is_ok() {}
    });
    address
}
