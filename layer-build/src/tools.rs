//! Validators of the templates, with pinned versions, installed in `target/tools`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::compile::Workspace;
use crate::output::say;

/// Packages for pip. cargo-lambda links for Amazon Linux with zig.
const REQUIREMENTS: &str = include_str!("../tools.txt");

/// Installs the tools unless these versions are installed, and returns the folder of their programs.
pub(crate) fn install(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.root().join("target/tools");
    let programs = folder.join("bin");
    let installed = folder.join("installed.txt");
    if !fs::read_to_string(&installed).is_ok_and(|text| text == REQUIREMENTS) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            .context("make a Python environment (Debian: apt-get install python3-venv)")?;
        run(Command::new(programs.join("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(REQUIREMENTS.split_whitespace()))?;
        fs::write(&installed, REQUIREMENTS)
            .with_context(|| format!("write {}", installed.display()))?;
    }
    say(format_args!(
        "sam, cfn-lint and cargo-lambda are installed:\n  export PATH={}:$PATH",
        programs.display()
    ))?;
    Ok(programs)
}

/// Prints a command and runs it.
///
/// # Errors
///
/// If it cannot be started or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    say(format_args!("+ {line}"))?;
    let status = command.status().with_context(|| format!("start {line}"))?;
    if !status.success() {
        bail!("{line} ended with {status}");
    }
    Ok(())
}

/// Returns true if [`run`] failed because the program is not installed.
pub(crate) fn is_missing(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
