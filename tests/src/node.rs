//! Installs the X-Ray SDK for Node.js and runs scripts with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::packages::{installed, run};

/// The package, with its pinned version.
const PACKAGE: &str = "aws-xray-sdk-core@3.12.0";

/// Returns a command that runs `script` with the SDK; arguments may follow.
///
/// # Panics
/// When the SDK is missing and cannot be installed; the message names what is needed.
#[must_use]
pub fn script(script: &str) -> Command {
    let mut command = Command::new("node");
    command.current_dir(folder()).args(["-e", script, "--"]);
    command
}

fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let install = |folder: &Path| {
            let install = ["install", "--no-audit", "--no-fund", "--prefix"];
            run(Command::new("npm").args(install).arg(folder).arg(PACKAGE))
        };
        installed("node-clients", PACKAGE, install).unwrap_or_else(|problem| {
            panic!(
                "The X-Ray SDK for Node.js is missing: {problem}\n\
                 The tests install {PACKAGE}. This needs node, npm and access to a package index."
            )
        })
    })
}
