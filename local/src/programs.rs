//! The example functions and the extension, as cargo builds them.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::error::Result;

/// Paths of executables.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) order_api: PathBuf,
    pub(crate) order_worker: PathBuf,
    pub(crate) order_notifier: PathBuf,
    pub(crate) extension: PathBuf,
}

/// Builds all of them in the workspace of the current directory.
pub(crate) async fn build() -> Result<Programs> {
    let artifacts = cargo_build(&[
        "order-api",
        "order-worker",
        "order-notifier",
        "tracestitch-extension",
    ])
    .await?;
    Ok(Programs {
        order_api: find(&artifacts, "order-api")?,
        order_worker: find(&artifacts, "order-worker")?,
        order_notifier: find(&artifacts, "order-notifier")?,
        extension: find(&artifacts, "tracestitch-extension")?,
    })
}

/// Returns the program of this process, which is the extension when it is started as one.
pub(crate) fn extension() -> Result<PathBuf> {
    let program = env::current_exe();
    program.map_err(|error| format!("the path of this program: {error}").into())
}

/// Makes a folder like the layer's. Returns it with the path of a link to the extension: an
/// extension registers under its file name, which is `tracestitch` in the layer.
pub(crate) fn layer(extension: &Path) -> Result<(TempDir, PathBuf)> {
    let program = fs::canonicalize(extension)
        .map_err(|error| format!("cannot run {} as extension: {error}", extension.display()))?;
    let layer = tempfile::Builder::new().prefix("layer-").tempdir()?;
    let folder = layer.path().join("extensions");
    let link = folder.join("tracestitch");
    fs::create_dir(&folder)?;
    symlink(program, &link)?;
    Ok((layer, link))
}

type Artifacts = Vec<(String, PathBuf)>;

fn find(artifacts: &Artifacts, name: &str) -> Result<PathBuf> {
    let found = artifacts.iter().find(|(built, _)| built == name);
    found
        .map(|(_, path)| path.clone())
        .ok_or_else(|| format!("cargo built no binary {name}").into())
}

/// Builds the binaries of packages.
async fn cargo_build(packages: &[&str]) -> Result<Artifacts> {
    // `cargo run` sets it, so that the same cargo is used again.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages: Vec<_> = packages.iter().flat_map(|name| ["-p", name]).collect();
    let built = Command::new(&cargo)
        .args([
            "build",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .args(&packages)
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| format!("cannot run {}: {error}", cargo.display()))?;
    if !built.status.success() {
        return Err(format!("cargo build {}: {}", packages.join(" "), built.status).into());
    }
    Ok(artifacts(&built.stdout))
}

/// Returns name and path of each executable in cargo's messages, which are lines of JSON.
fn artifacts(messages: &[u8]) -> Artifacts {
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        executable: PathBuf,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    // Other messages lack one of the two members.
    messages
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Message>(line).ok())
        .map(|message| (message.target.name, message.executable))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_among_messages() {
        let messages = br#"{"reason":"compiler-artifact","target":{"name":"lib"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"order-api"},"executable":"/t/order-api"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(
            artifacts(messages),
            [("order-api".to_owned(), PathBuf::from("/t/order-api"))]
        );
    }
}
