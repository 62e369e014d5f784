//! One life of an environment's processes: init, freeze and thaw, shutdown.
//!
//! Source: Lambda developer guide, "Execution environment lifecycle", and Extensions API,
//! "Shutdown phase".

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::Router;
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout, timeout_at},
};

use super::{
    board::Board,
    extensions_api,
    failure::Failure,
    function::Function,
    logs::Logs,
    process::{Process, file_name},
    runtime_api,
    state::State,
    variables,
};
use crate::server::Server;

/// Length of the whole shutdown phase of an environment with extensions.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);
/// The runtime's share of it.
const RUNTIME_SHARE: Duration = Duration::from_millis(300);

/// Why the processes are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The environment is no longer needed.
    Spindown,
    /// An invocation took too long.
    Timeout,
    /// A process ended or reported an error.
    Failure,
}

impl End {
    /// The reason in the SHUTDOWN event.
    fn reason(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

/// Begin and duration of the init phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Init {
    pub(super) began: SystemTime,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) struct Sandbox {
    function: Arc<Function>,
    pub(super) board: Arc<Board>,
    server: Server,
    socket: PathBuf,
    logs: Arc<Logs>,
    processes: Mutex<Processes>,
    ended: OnceCell<()>,
}

#[derive(Debug, Default)]
struct Processes {
    function: Option<Arc<Process>>,
    extensions: Vec<Arc<Process>>,
    /// True if no more processes may start.
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Runtime,
    Extension,
}

impl Processes {
    fn all(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.function.iter().chain(&self.extensions)
    }
}

impl Sandbox {
    /// Starts the server of both APIs, but no process.
    pub(super) async fn new(
        function: &Arc<Function>,
        socket: &Path,
        logs: &Arc<Logs>,
    ) -> Result<Arc<Self>, Failure> {
        let names = function.extensions.iter().map(|path| file_name(path));
        let board = Board::new(function.is_managed(), names);
        let routes = Router::new()
            .merge(runtime_api::routes(Arc::clone(&board)))
            .merge(extensions_api::routes(function, Arc::clone(&board)));
        let server = Server::start(routes).await;
        let server = server.map_err(|error| Failure::NotStarted {
            process: "the server for the Runtime API".into(),
            problem: error.to_string(),
        })?;
        Ok(Arc::new(Self {
            function: Arc::clone(function),
            board,
            server,
            socket: socket.to_owned(),
            logs: Arc::clone(logs),
            processes: Mutex::default(),
            ended: OnceCell::new(),
        }))
    }

    /// Runs the init phase: extensions start and register, then the runtime starts. It ends when
    /// all of them have asked for an event.
    pub(super) async fn init(&self) -> (Init, Result<(), Failure>) {
        let limit = self.function.init_time();
        let (began, clock) = (SystemTime::now(), Instant::now());
        let result = timeout(limit, self.start_processes()).await;
        let init = Init {
            began,
            took: clock.elapsed(),
        };
        (init, result.unwrap_or(Err(Failure::InitTimedOut { limit })))
    }

    async fn start_processes(&self) -> Result<(), Failure> {
        for program in &self.function.extensions {
            self.start(Role::Extension, program)?;
        }
        self.reached(State::all_registered).await?;
        self.board.runtime_started();
        self.start(Role::Runtime, &self.function.program)?;
        self.reached(State::is_initialised).await
    }

    /// Waits for a state or a failure.
    async fn reached(&self, wanted: fn(&State) -> bool) -> Result<(), Failure> {
        let ended = |state: &State| match state.failure() {
            Some(failure) => Some(Err(failure)),
            None => wanted(state).then_some(Ok(())),
        };
        self.board.until(ended).await
    }

    fn start(&self, role: Role, program: &Path) -> Result<(), Failure> {
        let name = match role {
            Role::Runtime => "function".to_owned(),
            Role::Extension => file_name(program),
        };
        let not_started = |problem: String| Failure::NotStarted {
            process: format!("{name} ({})", program.display()),
            problem,
        };
        let mut processes = self.processes();
        if processes.closed {
            return Err(not_started("the environment is being dropped".into()));
        }
        let variables = match role {
            Role::Runtime => variables::of_runtime,
            Role::Extension => variables::of_extension,
        };
        let (board, ended) = (Arc::clone(&self.board), name.clone());
        let outlived = matches!(role, Role::Extension) && self.function.outlive_extensions;
        let process = Process::start(
            name.clone(),
            program,
            variables(&self.function, self.server.address, &self.socket),
            &self.logs,
            move |status| match outlived {
                true => board.dismiss(&ended),
                false => board.fail(Failure::Exited {
                    process: ended,
                    status,
                }),
            },
        );
        let process = Arc::new(process.map_err(|error| not_started(error.to_string()))?);
        match role {
            Role::Runtime => processes.function = Some(process),
            Role::Extension => processes.extensions.push(process),
        }
        Ok(())
    }

    /// Starts the extensions that do not run. Returns when they have asked for an event.
    pub(super) async fn start_extensions(&self) -> Result<(), Failure> {
        for program in &self.function.extensions {
            let name = file_name(program);
            let runs = |process: &Arc<Process>| process.name == name && process.is_running();
            if !self.extensions().iter().any(runs) {
                self.processes()
                    .extensions
                    .retain(|process| process.name != name);
                self.board.expect(&name);
                self.start(Role::Extension, program)?;
            }
        }
        let limit = self.function.init_time();
        timeout(limit, self.reached(State::extensions_are_ready))
            .await
            .unwrap_or(Err(Failure::InitTimedOut { limit }))
    }

    /// Returns whether another invocation can run here.
    pub(super) fn is_usable(&self) -> bool {
        !self.ended.initialized() && self.board.read(State::failure).is_none()
    }

    /// Stops all processes, unless a newly started extension is still at work.
    pub(super) fn freeze(&self) {
        let processes = self.processes();
        if self.board.read(State::is_idle) {
            processes.all().for_each(|process| process.freeze());
        }
    }

    pub(super) fn thaw(&self) {
        self.processes().all().for_each(|process| process.thaw());
    }

    /// Kills all processes at once and prevents new ones.
    pub(super) fn kill(&self) {
        let mut processes = self.processes();
        processes.closed = true;
        processes.all().for_each(|process| process.kill());
    }

    pub(super) fn function(&self) -> Option<Arc<Process>> {
        self.processes().function.clone()
    }

    pub(super) fn extensions(&self) -> Vec<Arc<Process>> {
        self.processes().extensions.clone()
    }

    /// Runs the shutdown phase: first the runtime, then the extensions that registered for
    /// SHUTDOWN, each within its time; then all other processes are killed. Returns when all have
    /// ended. A second call waits for the first.
    pub(super) async fn end(&self, end: End) {
        self.ended.get_or_init(|| self.shut_down(end)).await;
    }

    async fn shut_down(&self, end: End) {
        let limit = Instant::now() + SHUTDOWN_LIMIT;
        let deadline_ms = epoch_ms(SystemTime::now() + SHUTDOWN_LIMIT);
        self.processes().closed = true;
        self.thaw();
        if let Some(function) = self.function() {
            if self.board.read(State::has_extensions) {
                function.terminate();
                // It is killed next in either case.
                let _ = timeout(RUNTIME_SHARE, function.exited()).await;
            }
            function.kill();
            function.exited().await;
        }
        let extensions = self.extensions();
        self.board.announce_shutdown(end.reason(), deadline_ms);
        for extension in &extensions {
            if !self
                .board
                .read(|state| state.wants_shutdown(&extension.name))
            {
                extension.kill();
            }
        }
        for extension in &extensions {
            // It is killed next in either case.
            let _ = timeout_at(limit, extension.exited()).await;
            extension.kill();
            extension.exited().await;
        }
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns milliseconds since the epoch, the unit of deadlines.
pub(super) fn epoch_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
