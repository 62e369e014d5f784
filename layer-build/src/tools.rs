//! Validators of the templates, with pinned versions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::compile::Workspace;
use crate::output::say;

/// Packages for pip. cargo-lambda links for Amazon Linux with zig.
const TOOLS: &str = include_str!("../tools.txt");
/// Packages for pip that only this project's own checks need. They are installed apart, because
/// checkov requires older versions of packages that sam requires, too.
const CHECKERS: &str = include_str!("../checkers.txt");

/// Installs the guide's tools in `target/tools`, and returns the folder of their programs.
pub(crate) fn install(workspace: &Workspace) -> Result<PathBuf> {
    let programs = packages(workspace, "target/tools", TOOLS)?;
    say(format_args!(
        "sam, cfn-lint and cargo-lambda are installed:\n  export PATH={}:$PATH",
        programs.display()
    ))?;
    Ok(programs)
}

/// Installs the checkers in `target/checkers`, and returns the folder of their programs.
pub(crate) fn install_checkers(workspace: &Workspace) -> Result<PathBuf> {
    packages(workspace, "target/checkers", CHECKERS)
}

/// Installs packages in a Python environment unless these versions are installed.
fn packages(workspace: &Workspace, folder: &str, requirements: &str) -> Result<PathBuf> {
    let folder = workspace.root().join(folder);
    let programs = folder.join("bin");
    let installed = folder.join("installed.txt");
    if !fs::read_to_string(&installed).is_ok_and(|text| text == requirements) {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
            .context("make a Python environment (Debian: apt-get install python3-venv)")?;
        run(Command::new(programs.join("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(requirements.split_whitespace()))?;
        fs::write(&installed, requirements)
            .with_context(|| format!("write {}", installed.display()))?;
    }
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
