//! The programs of the demonstration, built by cargo and found where cargo says they are.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::Result;

/// Paths of executables.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) order_api: PathBuf,
    pub(super) order_worker: PathBuf,
    pub(super) order_notifier: PathBuf,
    pub(super) extension: PathBuf,
}

/// Builds them in the workspace of the current directory.
pub(super) async fn build() -> Result<Programs> {
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

/// Builds the extension alone.
pub(crate) async fn extension() -> Result<PathBuf> {
    let name = "tracestitch-extension";
    find(&cargo_build(&[name]).await?, name)
}

/// A folder like the layer's, and a link to the extension in it. An extension registers under the
/// name of its file; the layer calls it so.
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

/// Builds the binaries of these packages.
async fn cargo_build(packages: &[&str]) -> Result<Artifacts> {
    // Set by `cargo run`: the same cargo, whatever is first in PATH.
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

/// Name and path of each executable in cargo's messages, one message a line.
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
    // Messages of other kinds lack one of the two members.
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
    fn finds_executables_among_the_messages() {
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
