//! The programs of the demonstration, built by cargo and found where cargo says they are.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;

use serde::Deserialize;
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
    // Set by `cargo run`: the same cargo, whatever is first in PATH.
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages = [
        "-p",
        "order-api",
        "-p",
        "order-worker",
        "-p",
        "order-notifier",
        "-p",
        "tracestitch-extension",
    ];
    let built = Command::new(&cargo)
        .args([
            "build",
            "--bins",
            "--message-format=json-render-diagnostics",
        ])
        .args(packages)
        .stderr(Stdio::inherit())
        .output()
        .await
        .map_err(|error| format!("cannot run {}: {error}", cargo.display()))?;
    if !built.status.success() {
        return Err(format!("cargo build {}: {}", packages.join(" "), built.status).into());
    }
    let artifacts = artifacts(&built.stdout);
    let find = |name: &str| {
        let found = artifacts.iter().find(|(built, _)| built == name);
        found
            .map(|(_, path)| path.clone())
            .ok_or_else(|| format!("cargo built no binary {name}"))
    };
    Ok(Programs {
        order_api: find("order-api")?,
        order_worker: find("order-worker")?,
        order_notifier: find("order-notifier")?,
        extension: find("tracestitch-extension")?,
    })
}

/// Name and path of each executable in cargo's messages, one message a line.
fn artifacts(messages: &[u8]) -> Vec<(String, PathBuf)> {
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
