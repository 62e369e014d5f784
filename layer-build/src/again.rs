//! The same build from another folder.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::compile::{self, Elsewhere, Workspace};
use crate::package;

/// Where the second build takes place. Kept: the next time only what has changed is built.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/layer-again")
}

/// Digest of the zip of `arch`, built from a copy of the sources in another folder, with other
/// folders for what is built and for the crates.
pub(crate) fn sha256(workspace: &Workspace, arch: Arch) -> Result<String> {
    let folder = folder(workspace);
    let sources = folder.join("sources");
    copy(workspace.root(), &sources).context("copy the sources")?;
    let home = folder.join("home");
    borrow(&workspace.cargo_home()?, &home).context("lay out another CARGO_HOME")?;
    let target = folder.join("target");
    let copied = Workspace::at(sources, Elsewhere { target, home });
    let built = compile::extension(&copied, arch)?;
    Ok(package::layer(&copied, arch, &built.binary)?.sha256)
}

/// A folder with links to everything in `home`: the same crates under other names.
fn borrow(home: &Path, links: &Path) -> Result<()> {
    fs::create_dir_all(links).with_context(|| format!("make {}", links.display()))?;
    for entry in fs::read_dir(home).with_context(|| format!("list {}", home.display()))? {
        let entry = entry.with_context(|| format!("list {}", home.display()))?;
        match symlink(entry.path(), links.join(entry.file_name())) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context("make a link");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Copies what has changed, except what was built and what is hidden: times of files that are the
/// same stay, so that cargo does not build them again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let name = entry.file_name();
        let built = ["target", "node_modules", "cdk.out"]
            .iter()
            .any(|it| name == *it);
        if built || name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(&name));
        let kind = entry.file_type().context("look at a file")?;
        if kind.is_dir() {
            self::copy(&source, &copy)?;
        } else if kind.is_file() {
            let bytes = fs::read(&source).with_context(|| format!("read {}", source.display()))?;
            if !fs::read(&copy).is_ok_and(|old| old == bytes) {
                fs::write(&copy, bytes).with_context(|| format!("write {}", copy.display()))?;
            }
        }
    }
    Ok(())
}
