//! The settings of a function.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use crate::account::{ACCOUNT, REGION};

/// Limit of the init phase on demand (Lambda developer guide, "Execution environment lifecycle").
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// Limit of the init phase on Managed Instances (same guide, "Managed instances execution
/// environment").
const MANAGED_INIT_LIMIT: Duration = Duration::from_secs(15 * 60);

/// The function's tracing setting (`TracingConfig.Mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tracing {
    /// Lambda makes the segments of service and function, and passes the function's segment to
    /// the runtime as `Parent`. A request without a sampling decision gets one.
    Active,
    /// The runtime gets the caller's header unchanged, or none. Lambda's default.
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
    /// Creates a function called `name` whose runtime is `program`. A relative path starts at the
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
            account: ACCOUNT.into(),
            region: REGION.into(),
            handler: "bootstrap".into(),
            max_concurrency: None,
            freeze: true,
            outlive_extensions: false,
            echo: false,
        }
    }

    /// Adds an external extension, which has its own process. It must register under its file
    /// name.
    #[must_use]
    pub fn extension(mut self, program: impl Into<PathBuf>) -> Self {
        self.extensions.push(program.into());
        self
    }

    /// Sets an environment variable in the runtime and in extensions. It overrides a value of the
    /// emulator, except for `AWS_LAMBDA_RUNTIME_API`.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// Sets how long an invocation may take, extensions included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long the init phase may take; the default is 10 seconds, on Managed Instances
    /// 15 minutes.
    #[must_use]
    pub fn init_limit(mut self, limit: Duration) -> Self {
        self.init_limit = Some(limit);
        self
    }

    /// Sets the memory size that the function reads from its environment. It is not enforced.
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

    /// Sets whether [`Tracing::Active`] records a request for which the caller decided nothing;
    /// the default is to record it. Lambda records the first request of each second and 5 % of
    /// the rest.
    #[must_use]
    pub fn sample_undecided(mut self, sample: bool) -> Self {
        self.sample_undecided = sample;
        self
    }

    /// Sets the X-Ray daemon: the runtime gets its address (`AWS_XRAY_DAEMON_ADDRESS`), and the
    /// two segments that Lambda makes are sent to it.
    #[must_use]
    pub fn xray_daemon(mut self, address: SocketAddr) -> Self {
        self.daemon = Some(address);
        self
    }

    /// Sets the account in the function's ARN, 12 digits.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = account.into();
        self
    }

    /// Sets the region in the function's ARN and in `AWS_REGION`.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Sets the handler's name, `_HANDLER`.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = handler.into();
        self
    }

    /// Runs the function as Lambda Managed Instances do: up to `max_concurrency` concurrent
    /// invocations (at least 1), no freeze, extensions may register for SHUTDOWN only, and an
    /// invocation that takes too long fails alone while its environment lives on.
    #[must_use]
    pub fn managed_instances(mut self, max_concurrency: usize) -> Self {
        self.max_concurrency = Some(max_concurrency.max(1));
        self
    }

    /// Sets whether the processes are stopped between invocations; by default they are. Without
    /// the freeze, a process that a test stops remains stopped until the shutdown phase.
    #[must_use]
    pub fn freeze(mut self, freeze: bool) -> Self {
        self.freeze = freeze;
        self
    }

    /// Sets whether the environment goes on when an extension's process ends, in the init phase
    /// too. By default it ends, as on Lambda. [`Environment::start_extensions`] starts ended
    /// extensions again.
    ///
    /// [`Environment::start_extensions`]: super::Environment::start_extensions
    #[must_use]
    pub fn outlive_extensions(mut self, outlive: bool) -> Self {
        self.outlive_extensions = outlive;
        self
    }

    /// Sets whether the output of the processes is also written to standard error at once.
    #[must_use]
    pub fn echo(mut self, echo: bool) -> Self {
        self.echo = echo;
        self
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
