//! Runs each validator on the stacks, and builds the template.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::audit::Audit;
use crate::compile::{self, Workspace};
use crate::output::say;
use crate::tools::{self, is_missing, run};
use crate::{elf, facts, guide, image};

/// Logical names of the functions in template.yaml.
const FUNCTIONS: [&str; 3] = ["OrderApi", "OrderWorker", "OrderNotifier"];

/// Kind of build of the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// With the guide's commands, for this machine and without optimisation.
    Quick,
    /// First `Quick`, then as for a deployment, for both processors.
    Full,
}

/// Runs all validators, the fastest first.
///
/// # Errors
///
/// If a validator reports an error, or a required one is missing.
pub(crate) fn all(workspace: &Workspace, how: Build) -> Result<()> {
    let root = workspace.root();
    facts::compare_terraform(root)?;
    say("terraform/main.tf agrees with template.yaml")?;
    terraform(&root.join("terraform"))?;
    let audit = Audit::install(workspace)?;
    audit.workflows()?;
    audit.checkov("terraform", Path::new("terraform/main.tf"))?;
    audit.checkov("dockerfile", Path::new("container/Dockerfile"))?;
    audit.sam()?;
    guide::follow(root, &guide::EXAMPLE, None)?;
    built(&root.join(".aws-sam/build"))?;
    say("the commands of docs/deploy.md build the template")?;
    let programs = tools::install(workspace)?;
    if how == Build::Full {
        compile::require_targets(&Arch::ALL.map(Arch::function_target))?;
        for arch in Arch::ALL {
            build_for(root, &programs, arch)?;
        }
    }
    guide::follow(root, &guide::IMAGE, Some(&programs))?;
    image::check(root)?;
    guide::follow(root, &guide::CDK, Some(&programs))
        .context("this step needs Node.js 20 or later with npm")?;
    cdk(root, &programs, &audit)
}

/// Builds the template as for a deployment.
fn build_for(root: &Path, programs: &Path, arch: Arch) -> Result<()> {
    let mut path = programs.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let folder = root.join("target/sam").join(arch.name());
    run(Command::new(programs.join("sam"))
        .args(["build", "--build-dir"])
        .arg(&folder)
        .arg("--parameter-overrides")
        .arg(format!("Architecture={}", arch.name()))
        .env("PATH", path)
        .env("SAM_CLI_TELEMETRY", "0")
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root))?;
    for binary in built(&folder)? {
        let facts = elf::Facts::of(&binary, arch, elf::AMAZON_LINUX_2023)?;
        say(format_args!("{}: {facts}", binary.display()))?;
    }
    Ok(())
}

/// Returns the binaries that `sam build` put into `folder`.
fn built(folder: &Path) -> Result<Vec<PathBuf>> {
    FUNCTIONS
        .into_iter()
        .map(|function| {
            let bootstrap = folder.join(function).join("bootstrap");
            ensure!(
                bootstrap.is_file(),
                "sam build did not make {}",
                bootstrap.display()
            );
            Ok(bootstrap)
        })
        .collect()
}

/// Checks the format of the Terraform configuration. `terraform validate` would need the AWS provider,
/// which only Terraform's registry has.
fn terraform(folder: &Path) -> Result<()> {
    let mut format = Command::new("terraform");
    format.args(["fmt", "-check", "-diff"]).current_dir(folder);
    match run(&mut format) {
        Err(error) if is_missing(&error) => {
            say("  terraform is not installed: the format was not checked")
        }
        outcome => outcome,
    }
}

/// Makes a template of the CDK stack for each processor and checks it.
fn cdk(root: &Path, programs: &Path, audit: &Audit<'_>) -> Result<()> {
    let folder = root.join("cdk");
    for arch in Arch::ALL {
        // CDK keeps a copy of every asset of earlier runs.
        match fs::remove_dir_all(folder.join("cdk.out")) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context("remove cdk.out");
            }
            _ => {}
        }
        run(Command::new("npx")
            .args(["cdk", "synth", "--quiet", "--context"])
            .arg(format!("architecture={}", arch.name()))
            .env("CDK_DISABLE_CLI_TELEMETRY", "true")
            .current_dir(&folder))?;
        // W3005: CDK writes dependencies that are implied.
        run(Command::new(programs.join("cfn-lint"))
            .args(["--ignore-checks", "W3005", "--"])
            .arg("cdk.out/Orders.template.json")
            .current_dir(&folder))?;
        facts::compare_cdk(root, arch)?;
        say(format_args!(
            "cdk/app.ts agrees with template.yaml on {}",
            arch.name()
        ))?;
        audit.cloudformation(Path::new("cdk/cdk.out/Orders.template.json"))?;
    }
    Ok(())
}
