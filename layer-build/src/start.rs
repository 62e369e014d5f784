//! Starts the binary as Lambda does: it registers, requests an event, receives SHUTDOWN, ends.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::compile::Workspace;

/// Time limit for each step, generous because the machine may be busy and the program emulated. Lambda
/// allows ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The result of a start-up check.
#[derive(Debug)]
pub(crate) enum Started {
    /// The binary passed, and registered after this time.
    Yes(Duration),
    /// This machine cannot run the binary. The text names the missing package.
    NoEmulator(String),
}

/// Starts `binary` and leads it through registration, one event and shutdown.
///
/// # Errors
///
/// If it calls something else, is too slow, or ends with an error.
pub(crate) fn check(arch: Arch, binary: &Path) -> Result<Started> {
    let folder = tempfile::tempdir().context("make a folder")?;
    // An extension registers with its file name.
    let program = folder.path().join("tracestitch");
    fs::copy(binary, &program).context("copy the binary")?;
    let mut command = match emulator(arch) {
        Ok(None) => Command::new(&program),
        Ok(Some(emulator)) => {
            let mut command = Command::new(emulator);
            command.arg(&program);
            command
        }
        Err(advice) => return Ok(Started::NoEmulator(advice)),
    };
    let listener = TcpListener::bind("127.0.0.1:0").context("listen on 127.0.0.1")?;
    let address = listener.local_addr().context("read the address")?;
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("TRACESTITCH_SOCKET", folder.path().join("s"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let begun = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    let life = serve(listener, begun).and_then(|registered| {
        wait(&mut child)?;
        Ok(Started::Yes(registered))
    });
    if life.is_err() {
        // Either fails if the process has already ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    life.with_context(|| format!("start-up check of {}", binary.display()))
}

/// Runs the tests of the extension, alone and together with the wrapper, on `binary`.
///
/// # Errors
///
/// If a test fails, or this machine cannot run the binary.
pub(crate) fn pass_tests(workspace: &Workspace, arch: Arch, binary: &Path) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let program = match emulator(arch) {
        Ok(None) => binary.to_owned(),
        Ok(Some(emulator)) => {
            let script = folder.path().join("tracestitch");
            let line = format!("#!/bin/sh\nexec {emulator} '{}' \"$@\"\n", binary.display());
            fs::write(&script, line)
                .and_then(|()| fs::set_permissions(&script, Permissions::from_mode(0o755)))
                .context("write a script")?;
            script
        }
        Err(advice) => bail!("{advice}"),
    };
    let done = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace.root())
        .args(["test", "--locked", "--quiet"])
        .args(["--package", "tracestitch-extension", "--test", "process"])
        .args(["--package", "together", "--test", "together"])
        .env("TRACESTITCH_TEST_EXTENSION", program)
        .output()
        .context("start cargo test")?;
    ensure!(
        done.status.success(),
        "the tests fail with {}:\n{}{}",
        binary.display(),
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    Ok(())
}

/// Returns the program that runs binaries of `arch`, if one is needed.
fn emulator(arch: Arch) -> Result<Option<String>, String> {
    if arch.is_here() {
        return Ok(None);
    }
    let names = ["-static", ""].map(|kind| format!("qemu-{}{kind}", arch.machine()));
    let found = names.into_iter().find(|name| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    found.map(Some).ok_or_else(|| {
        format!(
            "qemu-{}-static is not installed: apt-get install --no-install-recommends \
             qemu-user-static",
            arch.machine()
        )
    })
}

/// Answers the extension's two calls and returns the time after which it registered. A separate thread
/// answers, so that a program that makes no calls cannot block this one.
fn serve(listener: TcpListener, begun: Instant) -> Result<Duration> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Fails if the receiver has stopped waiting.
        let _ = sender.send(answer(&listener, begun));
    });
    receiver
        .recv_timeout(PATIENCE)
        .context("the extension did not call the Extensions API in time")?
}

fn answer(listener: &TcpListener, begun: Instant) -> Result<Duration> {
    let mut registered = None;
    loop {
        let (stream, _) = listener.accept().context("accept")?;
        let mut stream = BufReader::new(stream);
        // Both calls may share a connection.
        while let Some(request) = request(&mut stream)? {
            if request.starts_with("POST /2020-01-01/extension/register ") {
                ensure!(
                    request
                        .to_ascii_lowercase()
                        .contains("lambda-extension-name: tracestitch\r\n"),
                    "expected registration with the file name `tracestitch`, found: {request}"
                );
                registered = Some(begun.elapsed());
                let function =
                    r#"{"functionName":"f","functionVersion":"$LATEST","handler":"bootstrap"}"#;
                reply(&mut stream, "Lambda-Extension-Identifier: 1\r\n", function)?;
            } else if request.starts_with("GET /2020-01-01/extension/event/next ") {
                let event =
                    r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":0}"#;
                reply(&mut stream, "", event)?;
                return registered.context("requested an event before registration");
            } else {
                bail!("unexpected call: {request}");
            }
        }
    }
}

/// Reads the next request and returns its head, or `None` at the end of the connection.
fn request(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut head = String::new();
    loop {
        if stream.read_line(&mut head).context("read a request")? == 0 {
            return Ok(None);
        }
        if head.ends_with("\r\n\r\n") {
            break;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let wanted = name.eq_ignore_ascii_case("content-length");
        value.trim().parse::<u64>().ok().filter(|_| wanted)
    });
    let mut body = Vec::new();
    stream
        .take(length.unwrap_or(0))
        .read_to_end(&mut body)
        .context("read a body")?;
    Ok(Some(head))
}

fn reply(stream: &mut BufReader<TcpStream>, headers: &str, body: &str) -> Result<()> {
    let length = body.len();
    write!(
        stream.get_mut(),
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{headers}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .context("answer")
}

/// Waits until the process ends, which it must do with success after SHUTDOWN.
fn wait(child: &mut Child) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().context("wait for the extension")? {
            ensure!(status.success(), "ended with {status} after SHUTDOWN");
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "did not end within 30 s after SHUTDOWN"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
