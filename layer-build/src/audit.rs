//! Checks the stacks and the workflows with tools that know the platform: moto creates the stacks,
//! checkov and zizmor search for weak settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::compile::Workspace;
use crate::output::say;
use crate::tools::{self, run};

/// Creates a stack in moto.
const CREATE_STACK: &str = "layer-build/src/create_stack.py";
/// Rules of checkov that do not apply, with the reasons.
const EXCEPTIONS: &str = "layer-build/checkov.yaml";

/// Sets of parameters with which template.yaml is created: the defaults, and the other branch of
/// each condition.
const PARAMETERS: [&[&str]; 2] = [
    &[],
    &[
        "Architecture=arm64",
        "VendorUrl=https://vendor.example",
        "AlarmTopicArn=arn:aws:sns:us-east-1:123456789012:alarms",
        "TopicPolicy=false",
        "AccessLogs=true",
    ],
];

/// The installed checkers.
pub(crate) struct Audit<'a> {
    root: &'a Path,
    programs: PathBuf,
}

impl<'a> Audit<'a> {
    /// Installs the checkers.
    pub(crate) fn install(workspace: &'a Workspace) -> Result<Self> {
        Ok(Self {
            root: workspace.root(),
            programs: tools::install_checkers(workspace)?,
        })
    }

    /// Audits the workflows. There are no exceptions.
    pub(crate) fn workflows(&self) -> Result<()> {
        run(self
            .program("zizmor")
            .args(["--offline", "--no-progress", ".github/workflows"]))?;
        say("zizmor has no finding in .github/workflows")
    }

    /// Creates template.yaml, as SAM translates it, and checks the translation.
    pub(crate) fn sam(&self) -> Result<()> {
        let translated = self.root.join("target/sam/template.json");
        std::fs::create_dir_all(self.root.join("target/sam")).context("make target/sam")?;
        for parameters in PARAMETERS {
            let mut create = self.create(Path::new("template.yaml"));
            create.arg("--write").arg(&translated);
            for parameter in parameters {
                create.args(["--parameter", parameter]);
            }
            run(&mut create)?;
        }
        self.checkov("cloudformation", &translated)
    }

    /// Creates and checks a template without SAM's transform.
    pub(crate) fn cloudformation(&self, template: &Path) -> Result<()> {
        run(&mut self.create(template))?;
        self.checkov("cloudformation", template)
    }

    /// Checks a file for weak settings.
    pub(crate) fn checkov(&self, framework: &str, file: &Path) -> Result<()> {
        run(self
            .program("checkov")
            .args(["--config-file", EXCEPTIONS, "--framework", framework])
            .arg("--file")
            .arg(file))
    }

    fn create(&self, template: &Path) -> Command {
        let mut command = self.program("python");
        command.arg(CREATE_STACK).arg(template);
        command
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.root);
        command
    }
}
