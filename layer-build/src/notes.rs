//! Notes of a release: the changes, the digests, and the Rust that reproduces them.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::compile::{self, Workspace};

/// File with the output of `rustc --version --verbose`, beside the zips.
pub(crate) const COMPILER: &str = "rustc.txt";

/// Returns the notes of the release with `tag`, in Markdown.
///
/// # Errors
///
/// If the tag is not the workspace's version, CHANGELOG.md lacks that version, or the layers are
/// not built.
pub(crate) fn of(workspace: &Workspace, tag: &str) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    ensure!(
        tag == format!("v{version}"),
        "the tag is {tag}, but the version in Cargo.toml is {version}: expected the tag v{version}"
    );
    let path = workspace.root().join("CHANGELOG.md");
    let changelog =
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let built = |name: &str| {
        let path = workspace.output().join(name);
        fs::read_to_string(&path)
            .with_context(|| format!("read {}, which `cargo layer` writes", path.display()))
    };
    Ok(format!(
        "{changes}\n\n## Digests\n\n`cargo layer` with this Rust makes the same bytes:\n\n\
         ```\n{sums}{rustc}```\n",
        changes = changes(&changelog, version)?,
        sums = built("SHA256SUMS")?,
        rustc = built(COMPILER)?,
    ))
}

/// Writes [`COMPILER`].
pub(crate) fn write_compiler(workspace: &Workspace) -> Result<()> {
    let path = workspace.output().join(COMPILER);
    fs::write(&path, compile::compiler_in_full()?)
        .with_context(|| format!("write {}", path.display()))
}

/// Returns the section of `version`, without its heading. A heading is the version, with or without
/// a date after it.
fn changes<'a>(changelog: &'a str, version: &str) -> Result<&'a str> {
    let section = changelog
        .split("\n## ")
        .skip(1)
        .find_map(|section| {
            let (heading, text) = section.split_once('\n')?;
            (heading.split_whitespace().next() == Some(version)).then_some(text.trim())
        })
        .with_context(|| {
            format!("CHANGELOG.md has no section \"## {version}\": move \"Unreleased\" under it")
        })?;
    ensure!(!section.is_empty(), "the section of {version} is empty");
    Ok(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_must_be_the_version() {
        let workspace = Workspace::here();
        for tag in ["v99.0.0", env!("CARGO_PKG_VERSION"), "main", ""] {
            let error = of(&workspace, tag).unwrap_err().to_string();
            assert!(error.contains("expected the tag v"), "{error}");
        }
    }

    #[test]
    fn changes_are_the_section_of_the_version() {
        let text = "# Changelog\n\n## Unreleased\n\n- c\n\n## 1.2.0 (2026-01-02)\n\n- b\n- b2\n\n\
                    ## 1.1.0\n\n- a\n";
        assert_eq!(changes(text, "1.2.0").unwrap(), "- b\n- b2");
        assert_eq!(changes(text, "1.1.0").unwrap(), "- a");
        for missing in ["1.2", "2.0.0"] {
            let error = changes(text, missing).unwrap_err().to_string();
            assert!(error.contains("CHANGELOG.md has no section"), "{error}");
        }
        assert!(changes("\n## 1.0.0\n\n## 0.9.0\n- x", "1.0.0").is_err());
    }
}
