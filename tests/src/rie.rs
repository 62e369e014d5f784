//! Runs a function, with or without the extension, under AWS's Runtime Interface Emulator.
//!
//! Each emulator has its own mount and process namespaces, because it looks for extensions only in
//! `/opt/extensions`. `/tmp` is private, too, as on Lambda. All share the machine's network, with
//! servers on free loopback ports. This does not need root where user namespaces are allowed.
//!
//! Unlike Lambda, the emulator starts function and extension at the first invocation.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ::http::{HeaderValue, Request};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::invocation::{Answer, Invocation, RuntimeHeader};
use crate::shim::Shim;
use crate::{binaries, http, tools, wait};

const SANDBOX: &str = include_str!("sandbox.sh");

/// Attempts to start the emulator: another process may take a port before the emulator binds it.
const ATTEMPTS: u32 = 5;

/// A function to run, and its settings.
#[derive(Debug, Clone)]
pub struct Function {
    binary: PathBuf,
    name: String,
    extension: Option<PathBuf>,
    environment: BTreeMap<String, String>,
    runtime_environment: BTreeMap<String, String>,
    timeout: Duration,
}

impl Function {
    /// Creates a function whose executable is `binary`, with [`wait::PATIENCE`] as its timeout.
    pub fn new(name: &str, binary: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            name: name.to_owned(),
            extension: None,
            environment: BTreeMap::new(),
            runtime_environment: BTreeMap::new(),
            timeout: wait::PATIENCE,
        }
    }

    /// Adds the extension under the name `tracestitch`, as the layer does.
    #[must_use]
    pub fn extension(mut self, binary: &Path) -> Self {
        self.extension = Some(binary.to_owned());
        self
    }

    /// Removes the extension.
    #[must_use]
    pub fn without_extension(mut self) -> Self {
        self.extension = None;
        self
    }

    /// Sets a variable for function and extension, as a function's configuration does.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a variable that Lambda gives to the function only, not to extensions.
    #[must_use]
    pub fn runtime_env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.runtime_environment
            .insert(name.to_owned(), value.into());
        self
    }

    /// Sets the function's timeout, in whole seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the emulator and waits until it listens.
    ///
    /// # Panics
    /// When it does not start; the message has its output.
    pub async fn start(self) -> Rie {
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            match self.attempt().await {
                Ok(rie) => return rie,
                Err(error) => problem = error.to_string(),
            }
        }
        panic!(
            "The Runtime Interface Emulator does not start: {problem}\nIt runs in its own namespaces \
             (`unshare`, from util-linux), which needs root or a kernel that allows unprivileged \
             user namespaces."
        )
    }

    async fn attempt(&self) -> io::Result<Rie> {
        let [gateway, runtime_api] = free_addresses()?;
        let shim = Shim::start(runtime_api).await?;
        let directory = self.lay_out(shim.address())?;
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let child = command
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", SANDBOX, "sandbox"])
            .arg(directory.path())
            .arg("/opt/rie")
            .args(["--runtime-interface-emulator-address", &gateway.to_string()])
            .args(["--runtime-api-address", &runtime_api.to_string()])
            .arg("/opt/task/bootstrap")
            .env_clear()
            .envs(self.complete_environment())
            .stdin(Stdio::null())
            .stdout(fs::File::create(directory.path().join("stdout"))?)
            .stderr(fs::File::create(directory.path().join("stderr"))?)
            .kill_on_drop(true)
            .spawn()?;
        let mut rie = Rie {
            child,
            shim,
            gateway,
            directory,
            invoking: tokio::sync::Mutex::new(()),
        };
        rie.wait_until_up().await?;
        Ok(rie)
    }

    fn complete_environment(&self) -> BTreeMap<OsString, OsString> {
        let given = self
            .environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        let fixed = [
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.clone()),
            (
                "AWS_LAMBDA_FUNCTION_TIMEOUT",
                self.timeout.as_secs().to_string(),
            ),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256".to_owned()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_DEFAULT_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        let path = std::env::var_os("PATH").map(|path| ("PATH".into(), path));
        let fixed = fixed
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        fixed.chain(path).chain(given).collect()
    }

    /// Creates `opt/` with the emulator, the function and the extension, and an empty `tmp/`.
    fn lay_out(&self, shim: SocketAddr) -> io::Result<TempDir> {
        // In the target directory programs can be linked instead of copied.
        let parent = binaries::target_dir().join("tmp");
        fs::create_dir_all(&parent)?;
        let directory = tempfile::Builder::new().prefix("rie-").tempdir_in(parent)?;
        let opt = directory.path().join("opt");
        fs::create_dir_all(opt.join("task"))?;
        fs::create_dir_all(opt.join("extensions"))?;
        fs::create_dir(directory.path().join("tmp"))?;
        link(tools::rie(), &opt.join("rie"))?;
        link(&self.binary, &opt.join("task/function"))?;
        if let Some(extension) = &self.extension {
            link(extension, &opt.join("extensions/tracestitch"))?;
        }
        let bootstrap = opt.join("task/bootstrap");
        fs::write(&bootstrap, self.bootstrap(shim))?;
        fs::set_permissions(&bootstrap, fs::Permissions::from_mode(0o755))?;
        Ok(directory)
    }

    fn bootstrap(&self, shim: SocketAddr) -> String {
        let mut script = format!("#!/bin/sh\nexport AWS_LAMBDA_RUNTIME_API={shim}\n");
        for (name, value) in &self.runtime_environment {
            let quoted = value.replace('\'', r"'\''");
            script.push_str(&format!("export {name}='{quoted}'\n"));
        }
        script.push_str(
            "read -r pid _ < /proc/self/stat\necho \"$pid\" > /tmp/function.pid\n\
             exec /opt/task/function >> /tmp/function.stdout 2>> /tmp/function.stderr\n",
        );
        script
    }
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", from.display()));
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(drop))
        .map_err(named)
}

/// Returns two free ports on a random loopback address. The emulator binds the second one only at
/// the first invocation; on 127.0.0.1 another test or connection could take that port before.
fn free_addresses() -> io::Result<[SocketAddr; 2]> {
    let own = Ipv4Addr::new(
        127,
        fastrand::u8(1..),
        fastrand::u8(..),
        fastrand::u8(1..=254),
    );
    // Both are bound before either is released, so that they differ.
    let (first, second) = (TcpListener::bind((own, 0))?, TcpListener::bind((own, 0))?);
    Ok([first.local_addr()?, second.local_addr()?])
}

/// A running emulator. Dropping it kills all its processes.
#[derive(Debug)]
pub struct Rie {
    child: Child,
    shim: Shim,
    gateway: SocketAddr,
    directory: TempDir,
    /// Serialises invocations: two at once crash the emulator.
    invoking: tokio::sync::Mutex<()>,
}

impl Rie {
    async fn wait_until_up(&mut self) -> io::Result<()> {
        let deadline = tokio::time::Instant::now() + wait::PATIENCE;
        while TcpStream::connect(self.gateway).await.is_err() {
            let ended = self.child.try_wait()?.is_some();
            if ended || tokio::time::Instant::now() > deadline {
                return Err(io::Error::other(self.logs()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Invokes the function and waits for the answer.
    ///
    /// # Panics
    /// When the emulator does not answer.
    pub async fn invoke(&self, invocation: Invocation) -> Answer {
        let _one_at_a_time = self.invoking.lock().await;
        let request_id = request_id();
        let mut request = Request::post("/2015-03-31/functions/function/invocations")
            .header("host", self.gateway.to_string())
            .header("x-amzn-requestid", &request_id);
        if let Some(upstream) = invocation.upstream {
            request = request.header("x-amzn-trace-id", upstream);
        }
        let request = request
            .body(invocation.payload)
            .expect("all parts are valid");
        let (value, trace_header) = match invocation.runtime {
            RuntimeHeader::Absent => (None, None),
            RuntimeHeader::Verbatim(value) => {
                let header = value.to_str().ok().and_then(|text| text.parse().ok());
                (Some(value), header)
            }
            RuntimeHeader::Rebuilt(header) => (
                HeaderValue::from_str(&header.to_string()).ok(),
                Some(header),
            ),
        };
        if let Some(value) = value {
            self.shim.set_header(&request_id, value);
        }
        let reply = http::send(self.gateway, request)
            .await
            .unwrap_or_else(|error| {
                panic!("the emulator did not answer: {error}\n{}", self.logs())
            });
        let status = reply.status().as_u16();
        Answer {
            status,
            body: reply.into_body(),
            request_id,
            trace_header,
        }
    }

    /// Returns the id of the function's current or last process.
    ///
    /// # Panics
    /// When the function was never started.
    pub fn function_pid(&self) -> i32 {
        self.pid("function.pid")
            .expect("the bootstrap has written its process id")
    }

    /// Kills the function (SIGKILL), as the kernel does when memory runs out.
    ///
    /// # Panics
    /// When the function is not running.
    pub fn kill_function(&self) {
        kill(Pid::from_raw(self.function_pid()), Signal::SIGKILL).expect("the function is running");
    }

    /// Returns the function's standard error.
    pub fn function_stderr(&self) -> String {
        self.read("tmp/function.stderr")
    }

    /// Returns the function's standard output.
    pub fn function_stdout(&self) -> String {
        self.read("tmp/function.stdout")
    }

    /// Returns the output of function, extension and emulator, for messages of failed tests.
    pub fn logs(&self) -> String {
        [
            "tmp/function.stdout",
            "tmp/function.stderr",
            "stdout",
            "stderr",
        ]
        .map(|file| format!("--- {file}\n{}", self.read(file)))
        .concat()
    }

    /// Returns the directory that holds the sandbox's `opt/` and `tmp/`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Shuts the environment down (SIGTERM; extensions get SHUTDOWN), waits until it has ended and
    /// returns the time that took.
    ///
    /// First waits until the function asks for its next invocation: Lambda ends idle environments,
    /// but this emulator answers the caller a moment before the function is idle.
    ///
    /// # Panics
    /// When it does not become idle, or does not end.
    pub async fn stop(&mut self) -> Duration {
        wait::until(
            "the function to end or to ask for another invocation",
            || (self.shim.is_idle() || !self.function_runs()).then_some(()),
        )
        .await;
        self.stop_at_once().await
    }

    /// Shuts down as [`Rie::stop`], but also in the middle of an invocation.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop_at_once(&mut self) -> Duration {
        let started = tokio::time::Instant::now();
        let pid = self
            .pid("rie.pid")
            .expect("the sandbox has written its process id");
        // It may have ended already.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        if tokio::time::timeout(wait::PATIENCE, self.child.wait())
            .await
            .is_err()
        {
            panic!("the emulator does not end\n{}", self.logs());
        }
        started.elapsed()
    }

    fn function_runs(&self) -> bool {
        let process = self
            .pid("function.pid")
            .map(|pid| format!("/proc/{pid}/exe"));
        // The link cannot be read when the process has ended but was not waited for.
        process.is_some_and(|process| fs::read_link(process).is_ok())
    }

    fn pid(&self, file: &str) -> Option<i32> {
        self.read(&format!("tmp/{file}")).trim().parse().ok()
    }

    fn read(&self, file: &str) -> String {
        let bytes = fs::read(self.directory.path().join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Returns a request id in the form of a UUID, which the emulator demands.
fn request_id() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}
