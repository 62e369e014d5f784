//! The validators of the templates: installed under `target/tools`, versions pinned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::compile::Workspace;
use crate::say;

/// What pip installs.
const REQUIREMENTS: &str = include_str!("../tools.txt");

/// Installs the tools, unless these versions are there. Gives the folder of their programs.
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
        "sam, cfn-lint and cargo-lambda are here:\n  export PATH={}:$PATH",
        programs.display()
    ))?;
    Ok(programs)
}

/// Lets each validator look at what is deployed.
pub(crate) fn validate(workspace: &Workspace) -> Result<()> {
    let programs = install(workspace)?;
    let root = workspace.root();
    run(Command::new(programs.join("cfn-lint"))
        .arg("template.yaml")
        .current_dir(root))?;
    run(Command::new(programs.join("sam"))
        .args(["validate", "--lint", "--region", "us-east-1"])
        .env("SAM_CLI_TELEMETRY", "0")
        .current_dir(root))?;
    synthesize(&root.join("cdk"), &programs)
}

/// Makes a template of the CDK stack and checks that too.
fn synthesize(cdk: &Path, programs: &Path) -> Result<()> {
    run(Command::new("npm")
        .args(["ci", "--silent", "--no-audit", "--no-fund"])
        .current_dir(cdk))
    .context("Node.js 20 or later with npm is needed")?;
    run(Command::new("npm")
        .args(["run", "--silent", "check"])
        .current_dir(cdk))?;
    // W3005: CDK writes out dependencies that it need not.
    run(Command::new(programs.join("cfn-lint"))
        .args([
            "--ignore-checks",
            "W3005",
            "--",
            "cdk.out/Orders.template.json",
        ])
        .current_dir(cdk))
}

fn run(command: &mut Command) -> Result<()> {
    let line = format!("{command:?}");
    say(format_args!("+ {line}"))?;
    let status = command.status().with_context(|| format!("start {line}"))?;
    if !status.success() {
        bail!("{line} ended with {status}");
    }
    Ok(())
}
