//! A process of an environment, in its own process group: it is started, stopped, continued and
//! killed together with all its children.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
    sync::watch,
};

use super::logs::{Logs, Stream};

/// A running process; it is killed when it is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    /// The process group, whose number is the process id.
    group: Pid,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts `program` in its own directory with `variables` as its whole environment. Calls
    /// `on_exit` when it has ended.
    pub(super) fn start(
        name: String,
        program: &Path,
        variables: BTreeMap<String, String>,
        logs: &Arc<Logs>,
        on_exit: impl FnOnce(ExitStatus) + Send + 'static,
    ) -> io::Result<Self> {
        let mut child = Command::new(program)
            .current_dir(program.parent().unwrap_or(program))
            .env_clear()
            .envs(variables)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        let group = Pid::from_raw(pid.ok_or_else(|| io::Error::other("no process id"))?);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(collect(
                output,
                Arc::clone(logs),
                name.clone(),
                Stream::Stdout,
            ));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(collect(
                output,
                Arc::clone(logs),
                name.clone(),
                Stream::Stderr,
            ));
        }
        let (ended, exit) = watch::channel(None);
        tokio::spawn(async move {
            // Waiting for a child fails only if other code has waited for it before.
            let status = child.wait().await.unwrap_or_default();
            signal(group, Signal::SIGKILL);
            // First the consequences, then the news: code that waits for the end relies on them.
            on_exit(status);
            ended.send_replace(Some(status));
        });
        Ok(Self { name, group, exit })
    }

    pub(super) fn pid(&self) -> u32 {
        self.group.as_raw().unsigned_abs()
    }

    pub(super) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    pub(super) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Continues a frozen process.
    pub(super) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks the process to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Ends the process, frozen or not.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Waits until the process has ended.
    pub(super) async fn exited(&self) {
        let mut exit = self.exit.clone();
        // The sender is dropped without a status only when the async runtime itself ends.
        let _ = exit.wait_for(Option::is_some).await;
    }

    /// Sends a signal to a running process. The number of an ended one may belong to another.
    fn signal(&self, wanted: Signal) {
        if self.is_running() {
            signal(self.group, wanted);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the last part of a path: the name under which an extension registers.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default()
        .into_owned()
}

fn signal(group: Pid, signal: Signal) {
    // Fails when the group has ended, which every signal here leads to or tolerates.
    let _ = killpg(group, signal);
}

async fn collect(output: impl AsyncRead + Unpin, logs: Arc<Logs>, name: String, stream: Stream) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        let text = String::from_utf8_lossy(&line);
        logs.push(&name, stream, text.trim_end_matches(['\r', '\n']).into());
        line.clear();
    }
}
