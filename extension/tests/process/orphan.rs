//! Extensions whose environment has ended without a shutdown event.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::support::{PATIENCE, program};

/// A shell that starts the extension, and the extension's process id.
struct Family {
    shell: Child,
    extension: PathBuf,
    _folder: tempfile::TempDir,
    _port: Socket,
}

impl Family {
    /// Starts an extension whose runtime API does not answer, and waits until its first call has
    /// failed. An extension whose parent ends before that takes the next parent for its own.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, api) = reserved_port();
        let mut shell = Command::new("sh")
            .args(["-c", r#""$0" 2>&1 & echo $!; wait"#])
            .arg(program())
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("TRACESTITCH_SOCKET", folder.path().join("handoff.sock"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The shell and the extension write their first lines in any order.
        let stdout = BufReader::new(shell.stdout.take().unwrap());
        let lines: Vec<_> = stdout.lines().take(2).map(Result::unwrap).collect();
        let warns = lines.iter().any(|line| line.contains("retrying"));
        let id = lines.iter().find(|line| line.parse::<u32>().is_ok());
        let id = id.filter(|_| warns);
        let id = id.unwrap_or_else(|| panic!("expected an id and a warning: {lines:?}"));
        Self {
            extension: PathBuf::from("/proc").join(id),
            shell,
            _folder: folder,
            _port: port,
        }
    }

    fn lives(&self) -> bool {
        // An orphan that has ended may stay as a zombie, for a parent that does not look.
        let state = std::fs::read_to_string(self.extension.join("stat")).unwrap_or_default();
        let state = state.rsplit(')').next().unwrap_or_default().trim();
        !state.is_empty() && !state.starts_with(['Z', 'X'])
    }

    fn kill_shell(&mut self) {
        self.shell.kill().unwrap();
        self.shell.wait().unwrap();
    }
}

impl Drop for Family {
    /// Ends the shell, and with it the extension.
    fn drop(&mut self) {
        // A test that passes has ended it already.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Returns an address that refuses connections, with its owner. The socket is bound and does not
/// listen, so no other test gets its port.
fn reserved_port() -> (Socket, String) {
    let owner = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    owner
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    let address = owner.local_addr().unwrap().as_socket().unwrap();
    (owner, address.to_string())
}

#[test]
fn orphan_ends_if_no_runtime_api_answers_and_others_keep_trying() {
    let [mut orphan, mut other] = [Family::start(), Family::start()];
    assert!(orphan.lives() && other.lives());
    orphan.kill_shell();
    let deadline = Instant::now() + PATIENCE;
    while orphan.lives() {
        assert!(Instant::now() < deadline, "the orphan still lives");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(other.lives(), "its parent lives");
    other.kill_shell();
    while other.lives() {
        assert!(Instant::now() < deadline + PATIENCE, "it is an orphan now");
        thread::sleep(Duration::from_millis(5));
    }
}
