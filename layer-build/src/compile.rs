//! Builds the extension so that its bytes depend only on the sources and on the version of Rust.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;

const PACKAGE: &str = "tracestitch-extension";
const PROFILE: &str = "layer";
/// Linker script that omits the unwinder and its tables. Relative to the root, as the map is.
const LINKER_SCRIPT: &str = "layer-build/no-unwinding.ld";
/// Writes the addresses to be relocated as a bit map. A list of them would be read at each start, and
/// stay in memory.
const PACKED_RELOCATIONS: &str = "link-arg=--pack-dyn-relocs=relr";

/// A copy of the sources, with the folders for results.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    /// Cargo's target folder and home; `None` for cargo's defaults.
    elsewhere: Option<Elsewhere>,
}

/// Folders other than the defaults, to check that they do not change the bytes.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) target: PathBuf,
    pub(crate) home: PathBuf,
}

/// The output of a build.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) binary: PathBuf,
    /// The linker's map of the binary.
    pub(crate) map: PathBuf,
}

impl Workspace {
    /// The workspace of this program.
    pub(crate) fn here() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self {
            root: package.parent().unwrap_or(package).to_owned(),
            elsewhere: None,
        }
    }

    pub(crate) const fn at(root: PathBuf, elsewhere: Elsewhere) -> Self {
        Self {
            root,
            elsewhere: Some(elsewhere),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's home, which holds the sources of crates.
    pub(crate) fn cargo_home(&self) -> Result<PathBuf> {
        if let Some(elsewhere) = &self.elsewhere {
            return Ok(elsewhere.home.clone());
        }
        std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
            .context("neither CARGO_HOME nor HOME is set")
    }

    /// The folder of the zips.
    pub(crate) fn output(&self) -> PathBuf {
        self.root.join("target/layer")
    }
}

/// Checks that this Rust can build for `targets`.
///
/// # Errors
///
/// If it cannot; the message contains the command that installs the missing targets.
pub(crate) fn require_targets(targets: &[&str]) -> Result<()> {
    let mut missing = Vec::new();
    for target in targets {
        let folder = rustc(&["--print", "target-libdir", "--target", target])?;
        if !Path::new(&folder).is_dir() {
            missing.push(*target);
        }
    }
    ensure!(
        missing.is_empty(),
        "this Rust has no standard library for {}. Run:\n  rustup target add {}\n\
         (if Rust was not installed with rustup, install rustup as well: https://rustup.rs)",
        missing.join(" and "),
        missing.join(" ")
    );
    Ok(())
}

/// Builds the extension for `arch`.
pub(crate) fn extension(workspace: &Workspace, arch: Arch) -> Result<Built> {
    let output = workspace.output();
    std::fs::create_dir_all(&output).with_context(|| format!("make {}", output.display()))?;
    // Relative to the root, where cargo starts rustc: an absolute path would be an input of the
    // build and change the bytes.
    let map = format!("target/layer/{}.map", arch.name());
    let linker = format!(
        "CARGO_TARGET_{}_LINKER",
        arch.target().to_uppercase().replace('-', "_")
    );
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&workspace.root)
        .args(["rustc", "--locked", "--package", PACKAGE, "--bin", PACKAGE])
        .args(["--profile", PROFILE, "--target", arch.target()])
        .args(["--message-format", "json-render-diagnostics"])
        .args(["--", "-C"])
        .arg(format!("link-arg=-Map={map}"))
        .arg("-C")
        .arg(format!("link-arg=-T{LINKER_SCRIPT}"))
        .args(["-C", PACKED_RELOCATIONS])
        .env(linker, "rust-lld")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&workspace.cargo_home()?)?)
        .env_remove("RUSTFLAGS")
        .stderr(Stdio::inherit());
    if let Some(Elsewhere { target, home }) = &workspace.elsewhere {
        cargo
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_HOME", home);
    }
    let done = cargo.output().context("start cargo")?;
    if !done.status.success() {
        bail!("cargo could not build {PACKAGE} for {}", arch.target());
    }
    let messages = String::from_utf8(done.stdout).context("cargo's messages are not UTF-8")?;
    let binary = executable(&messages).context("cargo names no executable")?;
    Ok(Built {
        binary: binary.into(),
        map: workspace.root.join(map),
    })
}

/// Returns the executable that cargo's messages name. Only one is built, so its path is the only
/// string with this key.
fn executable(messages: &str) -> Option<&str> {
    let key = r#""executable":""#;
    messages.lines().find_map(|line| {
        let path = &line[line.find(key)? + key.len()..];
        Some(&path[..path.find('"')?])
    })
}

/// Returns compiler flags in the form of `CARGO_ENCODED_RUSTFLAGS`. They replace the paths of this
/// machine, because panic messages contain paths of sources.
fn flags(home: &Path) -> Result<OsString> {
    let sysroot = rustc(&["--print", "sysroot"])?;
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(home);
    flags.push("=/cargo\x1f--remap-path-prefix=");
    flags.push(sysroot);
    flags.push("=/rust");
    Ok(flags)
}

/// Returns the version of the compiler, on which every byte depends.
pub(crate) fn compiler() -> Result<String> {
    rustc(&["--version"])
}

/// Returns the version of the compiler with its commit, host and LLVM, as lines.
pub(crate) fn compiler_in_full() -> Result<String> {
    Ok(rustc(&["--version", "--verbose"])? + "\n")
}

fn rustc(arguments: &[&str]) -> Result<String> {
    let done = Command::new("rustc")
        .args(arguments)
        .output()
        .context("start rustc")?;
    if !done.status.success() {
        bail!(
            "rustc {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&done.stderr).trim()
        );
    }
    let text = String::from_utf8(done.stdout).context("rustc's output is not UTF-8")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","executable":"/t/x","fresh":true}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some("/t/x"));
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }
}
