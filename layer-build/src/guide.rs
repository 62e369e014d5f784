//! Runs the commands that docs/deploy.md lists.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tools::run;

/// A block of commands in the guide.
pub(crate) struct Block {
    /// Heading of the section, whose first block it is.
    heading: &'static str,
    /// Beginning of the first command that needs an AWS account or Docker.
    until: &'static str,
    /// Beginnings of commands that the block must have before that.
    wanted: &'static [&'static str],
    /// Settings for a fast build.
    settings: &'static [(&'static str, &'static str)],
}

/// From a clone to the built template.
pub(crate) const EXAMPLE: Block = Block {
    heading: "## The example stack",
    until: "sam deploy",
    wanted: &["cargo layer", "sam validate", "sam build"],
    settings: &[
        ("SAM_BUILD_MODE", "debug"),
        ("CARGO_PROFILE_DEV_DEBUG", "0"),
    ],
};

/// From the layers to the template that CDK makes.
pub(crate) const CDK: Block = Block {
    heading: "### CDK",
    until: "npx cdk bootstrap",
    wanted: &["cargo lambda build", "cd cdk", "npm ci", "npx cdk synth"],
    settings: FAST_RELEASE,
};

/// The function for the container image.
pub(crate) const IMAGE: Block = Block {
    heading: "## Container images",
    until: "docker ",
    wanted: &["cargo lambda build"],
    settings: FAST_RELEASE,
};

/// A release build without optimisation.
const FAST_RELEASE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// Settings of all blocks: for this machine, without zig, without reports to vendors.
const SETTINGS: [(&str, &str); 4] = [
    ("CARGO_LAMBDA_COMPILER", "cargo"),
    ("CARGO_INCREMENTAL", "0"),
    ("SAM_CLI_TELEMETRY", "0"),
    ("CDK_DISABLE_CLI_TELEMETRY", "true"),
];

/// Runs the commands of a block, with the programs in the folder `programs`, if any, before others.
///
/// # Errors
///
/// If a command fails, or the guide cannot be read.
pub(crate) fn follow(root: &Path, block: &Block, programs: Option<&Path>) -> Result<()> {
    let guide = read(root)?;
    let commands = block.commands(&guide)?;
    let mut path = programs.map_or_else(Default::default, |programs| {
        let mut path = programs.as_os_str().to_owned();
        path.push(":");
        path
    });
    path.push(std::env::var_os("PATH").unwrap_or_default());
    run(Command::new("sh")
        .args(["-e", "-x", "-c", &commands.join("\n")])
        .env("PATH", path)
        .envs(SETTINGS)
        .envs(block.settings.iter().copied())
        // sam and CDK expect the binaries in the workspace's target folder.
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(root))
}

/// Returns the words of each `docker buildx build` in the guide.
///
/// # Errors
///
/// If the guide cannot be read.
pub(crate) fn image_builds(root: &Path) -> Result<Vec<Vec<String>>> {
    Ok(image_builds_in(&read(root)?))
}

fn image_builds_in(guide: &str) -> Vec<Vec<String>> {
    guide
        .replace("\\\n", " ")
        .lines()
        .filter(|line| line.starts_with("docker buildx build "))
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn read(root: &Path) -> Result<String> {
    let path = root.join("docs/deploy.md");
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

impl Block {
    /// Returns the lines before the first command that cannot run here.
    fn commands<'a>(&self, guide: &'a str) -> Result<Vec<&'a str>> {
        let block = guide
            .split_once(&format!("\n{}\n", self.heading))
            .and_then(|(_, section)| section.split_once("```sh\n"))
            .and_then(|(_, rest)| rest.split_once("\n```"));
        let (block, _) = block
            .with_context(|| format!("docs/deploy.md: no commands after {:?}", self.heading))?;
        let commands: Vec<_> = block
            .lines()
            .take_while(|line| !line.starts_with(self.until))
            .collect();
        for wanted in self.wanted {
            ensure!(
                commands.iter().any(|line| line.starts_with(wanted)),
                "docs/deploy.md: the commands after {:?} lack {wanted}",
                self.heading
            );
        }
        Ok(commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_end_before_the_deployment() {
        let guide = "# A\n## The example stack\ntext\n```sh\ncargo layer\nsam validate\n\
                     sam build   # x\nsam deploy\n```\n";
        assert_eq!(
            EXAMPLE.commands(guide).unwrap(),
            ["cargo layer", "sam validate", "sam build   # x"]
        );
        let error = EXAMPLE
            .commands("\n## The example stack\n```sh\ncargo layer\n```\n")
            .unwrap_err();
        assert!(error.to_string().contains("lack sam validate"), "{error}");
        assert!(EXAMPLE.commands("# A\n").is_err());
    }

    #[test]
    fn guide_has_all_blocks() {
        let guide = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
        for block in [EXAMPLE, CDK, IMAGE] {
            block.commands(&guide).unwrap();
        }
    }

    /// Docker would wrap the image in an index with its provenance, which Lambda refuses, and build
    /// for the processor of the machine.
    #[test]
    fn images_are_built_for_one_processor_without_an_index() {
        let guide = read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))).unwrap();
        let builds = image_builds_in(&guide);
        assert_eq!(builds.len(), 2, "{builds:?}");
        for (build, platform, arch) in [
            (&builds[0], "linux/amd64", "ARCH=x86_64"),
            (&builds[1], "linux/arm64", "ARCH=arm64"),
        ] {
            let has = |words: &[&str]| build.windows(words.len()).any(|found| found == words);
            assert!(has(&["--provenance=false"]), "{build:?}");
            assert!(has(&["--platform", platform]), "{build:?}");
            assert!(has(&["--build-arg", arch]), "{build:?}");
        }
        let other = guide.matches("docker build").count() - guide.matches("docker buildx").count();
        assert_eq!(other, 0, "a build without these options");
    }
}
