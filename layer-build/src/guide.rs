//! The commands that docs/deploy.md gives to a newcomer, as they stand there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tools::run;

/// Goes from the clone to the built template by the guide's commands, all but those that need an
/// AWS account.
///
/// # Errors
///
/// When one fails, or the guide cannot be read.
pub(crate) fn follow(root: &Path) -> Result<()> {
    let path = root.join("docs/deploy.md");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let commands = commands(&text).with_context(|| path.display().to_string())?;
    run(Command::new("sh")
        .args(["-e", "-x", "-c", &commands.join("\n")])
        .envs(QUICK)
        .env("SAM_CLI_TELEMETRY", "0")
        // sam looks for the binaries in the workspace's own target folder.
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root))
}

/// Whether the functions build is the question, not how fast they are: for this machine, without
/// zig, optimisation and debug information, the answer comes in a fraction of the time.
const QUICK: [(&str, &str); 4] = [
    ("SAM_BUILD_MODE", "debug"),
    ("CARGO_LAMBDA_COMPILER", "cargo"),
    ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ("CARGO_INCREMENTAL", "0"),
];

/// The lines of the first block of commands, up to the deployment.
fn commands(guide: &str) -> Result<Vec<&str>> {
    let block = guide
        .split_once("\n```sh\n")
        .and_then(|(_, rest)| rest.split_once("\n```"));
    let (block, _) = block.context("it has no block of commands")?;
    let commands: Vec<_> = block
        .lines()
        .take_while(|line| !line.starts_with("sam deploy"))
        .collect();
    for wanted in ["cargo layer", "sam validate", "sam build"] {
        ensure!(
            commands.iter().any(|line| line.starts_with(wanted)),
            "its first block of commands lacks {wanted}"
        );
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_ends_where_an_account_is_needed() {
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
