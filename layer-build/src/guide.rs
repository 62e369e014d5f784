//! Runs the commands that docs/deploy.md lists for the example stack.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tools::run;

/// Runs the guide's commands from the clone to the built template, without the last ones, which need
/// an AWS account.
///
/// # Errors
///
/// If a command fails, or the guide cannot be read.
pub(crate) fn follow(root: &Path) -> Result<()> {
    let path = root.join("docs/deploy.md");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let commands = commands(&text).with_context(|| path.display().to_string())?;
    run(Command::new("sh")
        .args(["-e", "-x", "-c", &commands.join("\n")])
        .envs(QUICK)
        .env("SAM_CLI_TELEMETRY", "0")
        // sam expects the binaries in the workspace's target folder.
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root))
}

/// Settings for a fast build of the functions: for this machine, without zig, optimisation and debug
/// information.
const QUICK: [(&str, &str); 4] = [
    ("SAM_BUILD_MODE", "debug"),
    ("CARGO_LAMBDA_COMPILER", "cargo"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_INCREMENTAL", "0"),
];

/// Returns the lines of the first block of commands, up to the deployment.
fn commands(guide: &str) -> Result<Vec<&str>> {
    let block = guide
        .split_once("\n```sh\n")
        .and_then(|(_, rest)| rest.split_once("\n```"));
    let (block, _) = block.context("no block of commands")?;
    let commands: Vec<_> = block
        .lines()
        .take_while(|line| !line.starts_with("sam deploy"))
        .collect();
    for wanted in ["cargo layer", "sam validate", "sam build"] {
        ensure!(
            commands.iter().any(|line| line.starts_with(wanted)),
            "the first block of commands lacks {wanted}"
        );
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_end_before_the_deployment() {
        let guide = "# A\n```sh\ncargo layer\nsam validate\nsam build   # x\nsam deploy\n```\n";
        assert_eq!(
            commands(guide).unwrap(),
            ["cargo layer", "sam validate", "sam build   # x"]
        );
        let error = commands("# A\n```sh\ncargo layer\n```\n").unwrap_err();
        assert!(error.to_string().contains("lacks sam validate"), "{error}");
        assert!(commands("# A\n").is_err());
    }
}
