//! An execution environment: runs invocations in order, ends and renews the processes.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};

use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, SemaphorePermit, oneshot},
    task::JoinSet,
};

use super::{
    failure::Failure,
    function::Function,
    invocation::{InvocationResult, Invoke, Outcome, StreamedResponse},
    logs::{LogLine, Logs},
    run::{Reply, Run},
    sandbox::{End, Init, Sandbox},
};

/// A function's execution environment, made by [`Function::start`]. Dropping it kills all its
/// processes. The module's documentation describes its behaviour.
#[derive(Debug)]
pub struct Environment {
    inner: Arc<Inner>,
    /// Running invocations; they go on when their callers no longer wait, as on Lambda.
    invocations: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Inner {
    function: Arc<Function>,
    directory: TempDir,
    logs: Arc<Logs>,
    /// One permit for each invocation that may run concurrently.
    turns: Semaphore,
    current: tokio::sync::Mutex<Option<Arc<Sandbox>>>,
    /// The current sandbox, available without waiting while it starts.
    visible: Mutex<Weak<Sandbox>>,
}

impl Environment {
    /// Makes an environment without processes, and the directory of its socket.
    pub(super) fn new(function: Function) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("lambda-").tempdir()?;
        let inner = Inner {
            directory,
            logs: Arc::new(Logs::new(function.echo)),
            turns: Semaphore::new(function.max_concurrency.unwrap_or(1)),
            current: tokio::sync::Mutex::default(),
            visible: Mutex::default(),
            function: Arc::new(function),
        };
        Ok(Self {
            inner: Arc::new(inner),
            invocations: Mutex::default(),
        })
    }

    /// Runs one invocation, after the earlier ones.
    ///
    /// Returns when the function has answered; the environment may still be at work then, see
    /// [`Environment::settled`]. After a timeout or a crash it returns when the processes have
    /// been shut down. The invocation goes on when the returned future is dropped.
    pub async fn invoke(&self, invoke: Invoke) -> Outcome {
        self.run(invoke, None).await
    }

    /// Runs one invocation as [`invoke`](Self::invoke) does, and sends a streamed response to
    /// `stream` when it begins. The outcome holds the whole response in either case.
    ///
    /// The function waits while the receiver leaves more than 16 parts unread; it goes on when the
    /// receiver is dropped.
    pub async fn invoke_streaming(
        &self,
        invoke: Invoke,
        stream: oneshot::Sender<StreamedResponse>,
    ) -> Outcome {
        self.run(invoke, Some(stream)).await
    }

    async fn run(
        &self,
        invoke: Invoke,
        stream: Option<oneshot::Sender<StreamedResponse>>,
    ) -> Outcome {
        let (sender, outcome) = oneshot::channel();
        let reply = Reply {
            outcome: sender,
            stream,
        };
        let request_id = invoke.request_id.clone();
        let task = Arc::clone(&self.inner).run(invoke, reply);
        {
            let mut tasks = self
                .invocations
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            while tasks.try_join_next().is_some() {}
            tasks.spawn(task);
        }
        outcome.await.unwrap_or_else(|_| {
            let now = SystemTime::now();
            let reason = "the emulator gave the invocation up".into();
            let result = InvocationResult::Crashed {
                status: None,
                reason,
            };
            Outcome {
                request_id,
                result,
                trace_header: None,
                init: None,
                started: now,
                ended: now,
            }
        })
    }

    /// Waits until no invocation is at work. The environment is frozen then, unless it is of
    /// Managed Instances.
    pub async fn settled(&self) {
        self.inner.all_turns().await;
    }

    /// Waits for invocations at work, then shuts the processes down with reason `spindown`, as
    /// Lambda does with an environment that it no longer needs. The next invocation starts new
    /// processes.
    pub async fn shutdown(&self) {
        let _turns = self.inner.all_turns().await;
        let sandbox = self.inner.current.lock().await.take();
        if let Some(sandbox) = sandbox {
            sandbox.end(End::Spindown).await;
        }
    }

    /// Kills the function's process with SIGKILL, as the kernel does when memory runs out, and
    /// waits for its end. Returns whether there was one.
    pub async fn kill_function(&self) -> bool {
        let function = self.inner.visible().and_then(|sandbox| sandbox.function());
        let Some(function) = function.filter(|process| process.is_running()) else {
            return false;
        };
        function.kill();
        function.exited().await;
        true
    }

    /// Kills the extensions' processes with SIGKILL, waits for their end, and returns how many
    /// there were. The environment ends with them, unless it was made with
    /// [`Function::outlive_extensions`].
    pub async fn kill_extensions(&self) -> usize {
        let extensions = self.inner.visible().map(|sandbox| sandbox.extensions());
        let mut killed = 0;
        for process in extensions.iter().flatten().filter(|p| p.is_running()) {
            process.kill();
            process.exited().await;
            killed += 1;
        }
        killed
    }

    /// Starts the extensions whose processes have ended, at any time and without an init phase,
    /// which Lambda never does. Returns when they have asked for an event; `false` if there is no
    /// environment, or one of them failed.
    pub async fn start_extensions(&self) -> bool {
        match self.inner.visible() {
            Some(sandbox) => sandbox.start_extensions().await.is_ok(),
            None => false,
        }
    }

    /// Returns the id of the function's process; `None` while it does not run.
    pub fn function_pid(&self) -> Option<u32> {
        let function = self.inner.visible()?.function()?;
        function.is_running().then(|| function.pid())
    }

    /// Returns the ids of the running extensions' processes, in the order of [`Function`].
    pub fn extension_pids(&self) -> Vec<u32> {
        let extensions = self.inner.visible().map(|sandbox| sandbox.extensions());
        let running = extensions
            .iter()
            .flatten()
            .filter(|process| process.is_running());
        running.map(|process| process.pid()).collect()
    }

    /// Returns the last 10,000 lines that the processes wrote. The last line of a process may
    /// arrive a moment after the outcome of its invocation.
    pub fn logs(&self) -> Vec<LogLine> {
        self.inner.logs.lines()
    }

    /// Returns the default value of `TRACESTITCH_SOCKET` in the processes.
    pub fn socket(&self) -> PathBuf {
        self.inner.socket()
    }

    /// Returns the settings.
    pub fn function(&self) -> &Function {
        &self.inner.function
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        if let Some(sandbox) = self.inner.visible() {
            sandbox.kill();
        }
    }
}

impl Inner {
    async fn run(self: Arc<Self>, invoke: Invoke, reply: Reply) {
        let Ok(_turn) = self.turns.acquire().await else {
            return;
        };
        let run = Run::new(&self.function, &self.logs, invoke, reply);
        match self.ready().await {
            Ok((sandbox, init)) => run.serve(&sandbox, init).await,
            Err((failure, init)) => run.fail(failure, init).await,
        }
    }

    /// Returns the sandbox for the next invocation, and its init phase if it had to be started.
    async fn ready(&self) -> Result<(Arc<Sandbox>, Option<Init>), (Failure, Option<Init>)> {
        let mut current = self.current.lock().await;
        if let Some(sandbox) = current.take() {
            if sandbox.is_usable() {
                *current = Some(Arc::clone(&sandbox));
                return Ok((sandbox, None));
            }
            sandbox.end(End::Failure).await;
        }
        let sandbox = Sandbox::new(&self.function, &self.socket(), &self.logs).await;
        let sandbox = sandbox.map_err(|failure| (failure, None))?;
        *self.visible.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&sandbox);
        let (init, result) = sandbox.init().await;
        if let Err(failure) = result {
            sandbox.end(End::Failure).await;
            return Err((failure, Some(init)));
        }
        *current = Some(Arc::clone(&sandbox));
        Ok((sandbox, Some(init)))
    }

    fn visible(&self) -> Option<Arc<Sandbox>> {
        self.visible
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("tracestitch.sock")
    }

    /// Waits until no invocation is at work, and prevents new ones until the permit is dropped.
    async fn all_turns(&self) -> Option<SemaphorePermit<'_>> {
        let all = self.function.max_concurrency.unwrap_or(1);
        // The semaphore is never closed.
        self.turns
            .acquire_many(u32::try_from(all).unwrap_or(u32::MAX))
            .await
            .ok()
    }
}
