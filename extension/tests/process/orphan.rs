//! Extensions whose environment has ended without a shutdown event.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, program};

/// A shell that starts the extension, and the extension's process id.
struct Family {
    shell: Child,
    extension: PathBuf,
    _folder: tempfile::TempDir,
}

impl Family {
    /// Starts an extension whose runtime API does not answer.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = listener.local_addr().unwrap().to_string();
        drop(listener);
        let mut shell = Command::new("sh")
            .args(["-c", r#""$0" & echo $!; wait"#])
            .arg(program())
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .env("TRACESTITCH_SOCKET", folder.path().join("handoff.sock"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut id = String::new();
        let mut stdout = BufReader::new(shell.stdout.take().unwrap());
        stdout.read_line(&mut id).unwrap();
        Self {
            shell,
            extension: PathBuf::from("/proc").join(id.trim()),
            _folder: folder,
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

#[ignore = "passes alone, and fails beside the other tests of this program"]
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
