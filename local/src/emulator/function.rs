//! What to run, and how.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Environment;

/// Most extensions that one function may have (Lambda developer guide, "Extensions").
const MAX_EXTENSIONS: usize = 10;

/// Init phase on demand (Lambda developer guide, "Execution environment lifecycle").
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// Init phase on Managed Instances (same guide, "Managed instances execution environment").
const MANAGED_INIT_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The function's tracing setting (`TracingConfig.Mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tracing {
    /// Lambda makes the segments of service and function, and gives the function's segment to
    /// the runtime as `Parent`. A request without a decision gets one.
    Active,
    /// The runtime gets the caller's header as it came, or none. Lambda's default.
    #[default]
    PassThrough,
}

/// A function to run: a program, its extensions and its settings.
///
/// Defaults are Lambda's: 3 seconds of timeout, 128 MB, [`Tracing::PassThrough`].
#[derive(Debug, Clone)]
pub struct Function {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) extensions: Vec<PathBuf>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) timeout: Duration,
    pub(super) init_limit: Option<Duration>,
    pub(super) memory_mb: u32,
    pub(super) tracing: Tracing,
    pub(super) sample_undecided: bool,
    pub(super) daemon: Option<SocketAddr>,
    pub(super) account: String,
    pub(super) region: String,
    pub(super) handler: String,
    pub(super) max_concurrency: Option<usize>,
    pub(super) freeze: bool,
    pub(super) outlive_extensions: bool,
    pub(super) echo: bool,
}

impl Function {
    /// A function called `name` whose runtime is `program`. A relative path is taken from the
    /// current directory; the program runs in its own directory, `LAMBDA_TASK_ROOT`.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            extensions: Vec::new(),
            variables: BTreeMap::new(),
            timeout: Duration::from_secs(3),
            init_limit: None,
            memory_mb: 128,
            tracing: Tracing::default(),
            sample_undecided: true,
            daemon: None,
            account: "123456789012".into(),
            region: "us-east-1".into(),
            handler: "bootstrap".into(),
            max_concurrency: None,
            freeze: true,
            outlive_extensions: false,
            echo: false,
        }
    }

    /// Adds an external extension, a process of its own. Its file name is the name under which it
    /// must register.
    #[must_use]
    pub fn extension(mut self, program: impl Into<PathBuf>) -> Self {
        self.extensions.push(program.into());
        self
    }

    /// Sets an environment variable of the function, in the runtime and in extensions. It wins
    /// over a value of the emulator, except for `AWS_LAMBDA_RUNTIME_API`.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Time an invocation may take, extensions included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Time the init phase may take; by default 10 seconds, on Managed Instances 15 minutes.
    #[must_use]
    pub fn init_limit(mut self, limit: Duration) -> Self {
        self.init_limit = Some(limit);
        self
    }

    /// Memory size as the function reads it. Not enforced.
    #[must_use]
    pub fn memory_mb(mut self, memory: u32) -> Self {
        self.memory_mb = memory;
        self
    }

    /// Sets the tracing mode.
    #[must_use]
    pub fn tracing(mut self, tracing: Tracing) -> Self {
        self.tracing = tracing;
        self
    }

    /// What [`Tracing::Active`] decides where the caller decided nothing: record (the default) or
    /// not. Lambda records the first request of each second and 5% of the rest.
    #[must_use]
    pub fn sample_undecided(mut self, sample: bool) -> Self {
        self.sample_undecided = sample;
        self
    }

    /// The X-Ray daemon: its address for the runtime (`AWS_XRAY_DAEMON_ADDRESS`), and where the
    /// two segments that Lambda makes are sent.
    #[must_use]
    pub fn xray_daemon(mut self, address: SocketAddr) -> Self {
        self.daemon = Some(address);
        self
    }

    /// Account in the function's ARN, 12 digits.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = account.into();
        self
    }

    /// Region in the function's ARN and in `AWS_REGION`.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// The handler's name, `_HANDLER`.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = handler.into();
        self
    }

    /// Runs the function as Lambda Managed Instances do: up to `max_concurrency` invocations at
    /// once (at least 1), no freeze, extensions may register for SHUTDOWN only, and an invocation
    /// that takes too long fails alone, with its environment left alive.
    #[must_use]
    pub fn managed_instances(mut self, max_concurrency: usize) -> Self {
        self.max_concurrency = Some(max_concurrency.max(1));
        self
    }

    /// Whether the processes are stopped between invocations; by default they are. Without it,
    /// a process that somebody else stops stays so until the shutdown phase.
    #[must_use]
    pub fn freeze(mut self, freeze: bool) -> Self {
        self.freeze = freeze;
        self
    }

    /// Whether the environment goes on when an extension's process ends, in the init phase too.
    /// By default it ends then, as on Lambda. [`Environment::start_extensions`] starts those again
    /// that have ended.
    #[must_use]
    pub fn outlive_extensions(mut self, outlive: bool) -> Self {
        self.outlive_extensions = outlive;
        self
    }

    /// Whether the output of the processes is also written to standard error, as it comes.
    #[must_use]
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
    }

    /// Makes the execution environment. No process starts before the first invocation, as on
    /// Lambda without provisioned concurrency. Call it within a tokio runtime.
    ///
    /// # Errors
    ///
    /// A program is missing or not executable; there are more than 10 extensions, or two with
    /// the same file name; the directory for sockets cannot be made.
    pub async fn start(mut self) -> Result<Environment, StartError> {
        self.program = executable("function", &self.program).await?;
        for program in &mut self.extensions {
            *program = executable("extension", program).await?;
        }
        let mut names: Vec<_> = self.extensions.iter().map(|path| file_name(path)).collect();
        if names.len() > MAX_EXTENSIONS {
            return Err(StartError(format!(
                "{} has {} extensions; Lambda allows {MAX_EXTENSIONS}",
                self.name,
                names.len()
            )));
        }
        names.sort();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(StartError(format!(
                "{} has two extensions with the file name {:?}; names must differ",
                self.name, pair[0]
            )));
        }
        Environment::new(self)
    }

    pub(super) fn arn(&self) -> String {
        format!(
            "arn:aws:lambda:{}:{}:function:{}",
            self.region, self.account, self.name
        )
    }

    pub(super) fn is_managed(&self) -> bool {
        self.max_concurrency.is_some()
    }

    pub(super) fn init_time(&self) -> Duration {
        let default = if self.is_managed() {
            MANAGED_INIT_LIMIT
        } else {
            INIT_LIMIT
        };
        self.init_limit.unwrap_or(default)
    }
}

/// Last part of a path, as the name that an extension registers with.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .map(OsStr::to_string_lossy)
        .unwrap_or_default()
        .into_owned()
}

/// The absolute path, its links not followed: an extension's name is that of the link.
async fn executable(role: &str, path: &Path) -> Result<PathBuf, StartError> {
    let refused = |problem: &dyn fmt::Display| {
        StartError(format!(
            "cannot run {} as {role}: {problem}",
            path.display()
        ))
    };
    let path = std::path::absolute(path).map_err(|error| refused(&error))?;
    let metadata = tokio::fs::metadata(&path)
        .await
        .map_err(|error| refused(&error))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(refused(&"not an executable file"));
    }
    Ok(path)
}

/// Why an environment cannot be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(pub(super) String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}
