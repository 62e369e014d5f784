//! A second build in another folder, to check that the bytes do not depend on the place.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::compile::{self, Elsewhere, Workspace};
use crate::package;

/// Returns the folder of the second build. It is kept, so that the next build is incremental.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/layer-again")
}

/// Returns the digest of the zip of `arch`, built from a copy of the sources, with another target
/// folder and another `CARGO_HOME`.
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

/// Fills a folder with links to everything in `home`, so that the same crates have other paths.
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

/// Copies files whose content differs, except build output and hidden files. An equal file keeps its
/// time of modification, so cargo does not rebuild it.
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
        let kind = entry.file_type().context("read the type of a file")?;
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
