//! Runs the work of a row in a child process: under callgrind for its counts, alone for its time.

use std::env;
use std::io::Read;
use std::net::UdpSocket;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tracestitch_ring::{Reader, receive_file};

use crate::rows::{Row, Send};

/// Counts of one repetition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    /// In user space.
    pub(crate) instructions: f64,
    pub(crate) system_calls: f64,
}

impl Counts {
    /// Subtracts the counts of a row that this one is compared with.
    pub(crate) fn without(self, base: Option<Self>) -> Self {
        base.map_or(self, |base| Self {
            instructions: self.instructions - base.instructions,
            system_calls: self.system_calls - base.system_calls,
        })
    }
}

/// The figures of one repetition.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) row: &'static Row,
    pub(crate) counts: Counts,
    /// CPU time; `None` if it was not measured.
    pub(crate) nanoseconds: Option<f64>,
    /// Most instructions in comparison to another row.
    pub(crate) most: Option<f64>,
}

impl Figures {
    /// Returns whether the row has more instructions than its bar.
    pub(crate) fn is_over(&self) -> bool {
        let bars = [self.row.bar.map(|bar| bar as f64), self.most];
        bars.into_iter()
            .flatten()
            .any(|bar| self.counts.instructions > bar)
    }
}

/// Counts of one repetition: the difference between many and few.
pub(crate) fn counts(row: &Row) -> Counts {
    let run = |repeat: u32| -> [f64; 2] {
        let mut command = Command::new("valgrind");
        command.args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--collect-systime=yes",
        ]);
        let output = run_child(command.arg(this_program()), row, repeat);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // `Events : Ir sysCount sysTime`, `Collected : 126559 57 375`.
        let mut collected = text
            .lines()
            .find_map(|line| line.split("Collected :").nth(1))
            .unwrap_or_default()
            .split_whitespace()
            .map(|count| count.parse().ok());
        let counts = [(); 2].map(|()| collected.next().flatten());
        counts.map(|count| count.unwrap_or_else(|| panic!("no counts by callgrind in\n{text}")))
    };
    let few = row.repeat.0;
    let (many, few, times) = (run(3 * few), run(few), f64::from(2 * few * row.units));
    Counts {
        instructions: (many[0] - few[0]) / times,
        system_calls: (many[1] - few[1]) / times,
    }
}

/// Nanoseconds of CPU time of one repetition, with a small part of the start.
pub(crate) fn nanoseconds(row: &Row) -> f64 {
    let output = run_child(&mut Command::new(this_program()), row, row.repeat.1);
    let nanos: f64 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("the child prints a number");
    nanos / f64::from(row.repeat.1 * row.units)
}

fn this_program() -> std::path::PathBuf {
    env::current_exe().expect("the path of this program is known")
}

fn run_child(command: &mut Command, row: &Row, repeat: u32) -> std::process::Output {
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
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start ({error}); is it installed?"));
    let output = child
        .wait_with_output()
        .expect("the child's output can be read");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
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
