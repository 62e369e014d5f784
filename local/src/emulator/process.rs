//! A process of an environment, in a process group of its own: started, stopped, continued,
//! killed together with all its children.

use std::{
    collections::BTreeMap,
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

/// A running process. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    /// Process group, whose number is the process's own.
    group: Pid,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts `program` in its own directory with `variables` as its whole environment. `on_exit`
    /// is called when it has ended.
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
            // Waiting for a child of ours fails only if somebody else has waited for it.
            let status = child.wait().await.unwrap_or_default();
            signal(group, Signal::SIGKILL);
            // Whoever waits for the end finds its consequences already there.
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

    /// Stops it where it stands.
    pub(super) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Ends it, stopped or not.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Waits until it has ended.
    pub(super) async fn exited(&self) {
        let mut exit = self.exit.clone();
        // The sender goes away without a status only when the async runtime itself ends.
        let _ = exit.wait_for(Option::is_some).await;
    }

    /// The number of a process that has ended may belong to another one: it gets no signal.
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

fn signal(group: Pid, signal: Signal) {
    // It fails when the group is gone, which is as good as any end of it.
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
