//! The programs under test: built by cargo, which also reports their paths.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde::Deserialize;

/// Returns the path of the function that takes orders.
///
/// # Panics
/// When cargo cannot build the workspace.
pub fn order_api() -> &'static Path {
    binary("order-api")
}

/// Returns the path of the function that processes the orders in the queue.
///
/// # Panics
/// When cargo cannot build the workspace.
pub fn order_worker() -> &'static Path {
    binary("order-worker")
}

/// Returns the path of the extension.
///
/// # Panics
/// When cargo cannot build the workspace.
pub fn extension() -> &'static Path {
    binary("tracestitch-extension")
}

/// Returns the path of the function that does what its event demands.
///
/// # Panics
/// When cargo cannot build the workspace.
pub fn probe() -> &'static Path {
    binary("probe")
}

/// Returns the path of the function that keeps a journal and ends as its event demands.
///
/// # Panics
/// When cargo cannot build the workspace.
pub fn victim() -> &'static Path {
    binary("victim")
}

/// Returns the path of the function whose panics abort.
///
/// # Panics
/// When cargo cannot build it.
pub fn aborting() -> &'static Path {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| {
        let one = ["--package", "aborting", "--profile", "abort"];
        let binary = build(&one)?.remove("aborting");
        binary.ok_or_else(|| "the package has no binary named aborting".to_owned())
    });
    built.as_ref().unwrap_or_else(|problem| panic!("{problem}"))
}

/// Returns the path of the program that calls the tracing API without being a function.
///
/// # Panics
/// When cargo cannot build the workspace.
pub fn outside() -> &'static Path {
    binary("outside")
}

/// Returns the directory into which cargo builds.
///
/// # Panics
/// When cargo does not report it.
pub fn target_dir() -> &'static Path {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let answer = cargo(&["metadata", "--no-deps", "--format-version", "1"])
            .unwrap_or_else(|problem| panic!("{problem}"));
        let metadata: Metadata = serde_json::from_slice(&answer)
            .expect("`cargo metadata` prints JSON with a target_directory");
        metadata.target_directory
    })
}

fn binary(name: &str) -> &'static Path {
    // A failure is kept, too: the next test would fail in the same way.
    static BINARIES: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    // Builds the whole workspace: for a selection of packages cargo would choose other features and
    // compile the AWS SDK a second time.
    match BINARIES.get_or_init(|| build(&["--workspace", "--bins"])) {
        Ok(binaries) => binaries
            .get(name)
            .unwrap_or_else(|| panic!("the workspace has no binary named {name}")),
        Err(problem) => panic!("{problem}"),
    }
}

/// Runs `cargo build` with these arguments and returns the paths of the binaries by name.
fn build(what: &[&str]) -> Result<BTreeMap<String, PathBuf>, String> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Option<Target>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let answer = cargo(&[&["build", "--message-format=json-render-diagnostics"], what].concat())?;
    Ok(serde_json::Deserializer::from_slice(&answer)
        .into_iter::<Message>()
        .map(|message| message.expect("`cargo build` prints JSON"))
        .filter_map(|message| Some((message.target?.name, message.executable?)))
        .collect())
}

/// Runs the cargo that started this test and returns its standard output.
fn cargo(arguments: &[&str]) -> Result<Vec<u8>, String> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(&cargo)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{} does not start: {error}", cargo.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!(
        "`cargo {}` failed; its output has the reason",
        arguments.join(" ")
    ))
}
