//! Builds the container image from an empty base instead of Lambda's, and checks that all files are
//! in the folders that Lambda reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::guide;
use crate::output::say;
use crate::package;
use crate::tools::{is_missing, run};

/// Builds the image of one function for each processor, with the arguments that the guide has for
/// Docker.
///
/// # Errors
///
/// If buildah is missing, the build fails, or a file is missing or differs.
pub(crate) fn check(root: &Path) -> Result<()> {
    let builds = guide::image_builds(root)?;
    for arch in Arch::ALL {
        let processor = format!("ARCH={}", arch.name());
        let build = builds
            .iter()
            .find(|build| build.contains(&processor))
            .with_context(|| format!("docs/deploy.md has no docker command with {processor}"))?;
        let folder = tempfile::tempdir().context("make a folder")?;
        let files = folder.path().join("files");
        let mut buildah = Command::new("buildah");
        buildah
            .args(["--storage-driver", "vfs", "--root"])
            .arg(folder.path().join("store"))
            .arg("--runroot")
            .arg(folder.path().join("run"))
            .args(["build", "--quiet", "--isolation", "chroot"])
            .args(["--build-arg", "BASE=scratch"])
            .arg("--output")
            .arg(format!("type=local,dest={}", files.display()))
            // Without the words `docker buildx build`; buildah makes no index with provenance.
            .args(
                build[3..]
                    .iter()
                    .filter(|word| *word != "--provenance=false"),
            )
            .current_dir(root);
        run(&mut buildah).map_err(|error| match is_missing(&error) {
            true => error.context(
                "buildah, which builds the container image, is not installed: \
                 apt-get install --no-install-recommends buildah",
            ),
            false => error,
        })?;
        same(
            &files.join("opt").join(package::ENTRY),
            &root
                .join("target/layer")
                .join(arch.name())
                .join(package::ENTRY),
        )?;
        same(
            &files.join("var/runtime/bootstrap"),
            &root.join("target/lambda/order-api/bootstrap"),
        )?;
    }
    say("container/Dockerfile: extension and function are in the folders that Lambda reads")
}

/// Checks that a file in the image equals the one that was built, and is executable.
fn same(copied: &Path, built: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    ensure!(
        read(copied)? == read(built)?,
        "{} differs from {}",
        copied.display(),
        built.display()
    );
    let mode = fs::metadata(copied)
        .context("read the mode of a file")?
        .permissions();
    ensure!(
        mode.mode() & 0o111 == 0o111,
        "{} is not executable",
        copied.display()
    );
    Ok(())
}
