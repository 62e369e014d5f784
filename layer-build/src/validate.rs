//! Lets each validator look at what is deployed, and builds the template.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::compile::{self, Workspace};
use crate::tools::{self, is_missing, run};
use crate::{elf, facts, image, say};

/// Functions of template.yaml, by their names there.
const FUNCTIONS: [&str; 3] = ["OrderApi", "OrderWorker", "OrderNotifier"];

/// How the functions are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// For this machine and without optimisation: does what SAM calls work?
    Quick,
    /// As for a deployment, for both processors.
    Full,
}

/// Everything, in the order in which it fails soonest.
///
/// # Errors
///
/// When a validator is not content, or one that is needed is missing.
pub(crate) fn all(workspace: &Workspace, how: Build) -> Result<()> {
    for arch in Arch::ALL {
        let zip = workspace.output().join(arch.zip_name());
        ensure!(
            zip.is_file(),
            "{} is not there: run cargo layer first",
            zip.display()
        );
    }
    let root = workspace.root();
    facts::compare_terraform(root)?;
    say("terraform/main.tf deploys what template.yaml does")?;
    terraform(&root.join("terraform"))?;

    let programs = tools::install(workspace)?;
    run(Command::new(programs.join("cfn-lint"))
        .arg("template.yaml")
        .current_dir(root))?;
    run(Command::new(programs.join("sam"))
        .args(["validate", "--lint", "--region", "us-east-1"])
        .env("SAM_CLI_TELEMETRY", "0")
        .current_dir(root))?;
    match how {
        Build::Quick => {
            let mut sam = sam_build(root, &programs, "quick")?;
            // The compiler and the profile that need least time. Without debug information.
            sam.env("SAM_BUILD_MODE", "debug")
                .env("CARGO_LAMBDA_COMPILER", "cargo")
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env("CARGO_INCREMENTAL", "0");
            run(&mut sam)?;
            built(root, "quick")?;
        }
        Build::Full => {
            compile::require_targets(&Arch::ALL.map(Arch::function_target))?;
            for arch in Arch::ALL {
                let mut sam = sam_build(root, &programs, arch.name())?;
                sam.arg("--parameter-overrides")
                    .arg(format!("Architecture={}", arch.name()));
                run(&mut sam)?;
                for binary in built(root, arch.name())? {
                    let facts = elf::Facts::of(&binary, arch, elf::AMAZON_LINUX_2023)?;
                    say(format_args!("{}: {facts}", binary.display()))?;
                }
            }
        }
    }
    image::check(root)?;
    synthesize(root, &programs)
}

/// `sam build` into a folder of this name.
fn sam_build(root: &Path, programs: &Path, folder: &str) -> Result<Command> {
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut sam = Command::new(programs.join("sam"));
    sam.args(["build", "--build-dir"])
        .arg(root.join("target/sam").join(folder))
        .env("PATH", path)
        .env("SAM_CLI_TELEMETRY", "0")
        // sam looks for the binaries in the workspace's own target folder.
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root);
    Ok(sam)
}

/// What `sam build` left in a folder of this name.
fn built(root: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let folder = root.join("target/sam").join(folder);
    FUNCTIONS
        .into_iter()
        .map(|function| {
            let bootstrap = folder.join(function).join("bootstrap");
            ensure!(
                bootstrap.is_file(),
                "sam build left no {}",
                bootstrap.display()
            );
            Ok(bootstrap)
        })
        .collect()
}

/// Terraform's own check needs the AWS provider, which only its registry has; the form can be
/// checked without.
fn terraform(folder: &Path) -> Result<()> {
    let mut format = Command::new("terraform");
    format.args(["fmt", "-check", "-diff"]).current_dir(folder);
    match run(&mut format) {
        Err(error) if is_missing(&error) => {
            say("  terraform is not installed: its form was not checked")
        }
        outcome => outcome,
    }
}

/// Makes a template of the CDK stack for each processor and checks that too.
fn synthesize(root: &Path, programs: &Path) -> Result<()> {
    let cdk = root.join("cdk");
    run(Command::new("npm")
        .args(["ci", "--silent", "--no-audit", "--no-fund"])
        .current_dir(&cdk))
    .context("Node.js 20 or later with npm is needed")?;
    run(Command::new("npm")
        .args(["run", "--silent", "compile"])
        .current_dir(&cdk))?;
    for arch in Arch::ALL {
        let context = format!(r#"{{"architecture":"{}"}}"#, arch.name());
        run(Command::new("npm")
            .args(["run", "--silent", "synth"])
            .env("CDK_CONTEXT_JSON", context)
            .current_dir(&cdk))?;
        // W3005: CDK writes out dependencies that it need not.
        run(Command::new(programs.join("cfn-lint"))
            .args(["--ignore-checks", "W3005", "--"])
            .arg("cdk.out/Orders.template.json")
            .current_dir(&cdk))?;
        facts::compare_cdk(root, arch)?;
        say(format_args!(
            "cdk/app.ts deploys what template.yaml does, on {}",
            arch.name()
        ))?;
    }
    Ok(())
}
