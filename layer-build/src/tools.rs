//! The validators of the templates: installed under `target/tools`, versions pinned.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::arch::Arch;
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
    for arch in Arch::ALL {
        let zip = workspace.output().join(arch.zip_name());
        if !zip.is_file() {
            bail!("{} is not there: run cargo layer first", zip.display());
        }
    }
    let programs = install(workspace)?;
    let root = workspace.root();
    run(Command::new(programs.join("cfn-lint"))
        .arg("template.yaml")
        .current_dir(root))?;
    run(Command::new(programs.join("sam"))
        .args(["validate", "--lint", "--region", "us-east-1"])
        .env("SAM_CLI_TELEMETRY", "0")
        .current_dir(root))?;
    build(root, &programs)?;
    format_check(root)?;
    synthesize(&root.join("cdk"), &programs)
}

/// Builds the template's functions. Whether they build is the question, not how fast they are:
/// without link-time optimisation the answer comes in a fraction of the time.
fn build(root: &Path, programs: &Path) -> Result<()> {
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let folder = root.join("target/sam/build");
    run(Command::new(programs.join("sam"))
        .arg("build")
        .arg("--build-dir")
        .arg(&folder)
        .env("PATH", path)
        .env("SAM_CLI_TELEMETRY", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        // sam looks for the binaries in the workspace's own target folder.
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root))?;
    for function in ["OrderApi", "OrderWorker"] {
        let bootstrap = folder.join(function).join("bootstrap");
        if !bootstrap.is_file() {
            bail!("sam build left no {}", bootstrap.display());
        }
    }
    Ok(())
}

/// Terraform's own check needs the AWS provider, which only its registry has; the form can be
/// checked without.
fn format_check(root: &Path) -> Result<()> {
    let mut terraform = Command::new("terraform");
    terraform
        .args(["fmt", "-check", "-diff"])
        .current_dir(root.join("terraform"));
    match run(&mut terraform) {
        Err(error) if not_found(&error) => {
            say("  terraform is not installed: its form was not checked")
        }
        outcome => outcome,
    }
}

fn not_found(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
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
