//! The oldest Rust that the crates promise is the same everywhere, and no dependency wants a newer
//! one.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of `rust-version` in the workspace's manifest.
fn promised() -> String {
    let manifest = read("Cargo.toml");
    let rest = manifest.split_once("\nrust-version = \"").unwrap().1;
    rest.split_once('"').unwrap().0.to_owned()
}

/// Packages of the workspace and all their dependencies, of every feature and platform.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

/// `1.88` as `[1, 88, 0]`.
fn parsed(version: &str) -> [u32; 3] {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap());
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}

#[test]
fn documents_name_the_version_of_the_manifest() {
    let promised = promised();
    let mut found = 0;
    for path in ["README.md", "CONTRIBUTING.md", "docs/deploy.md"] {
        for rest in read(path).split("Rust 1.").skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
            let version = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            assert_eq!(format!("1.{version}"), promised, "{path}");
            found += 1;
        }
    }
    assert!(found > 0);
    // CI reads it from the manifest.
    assert!(read(".ci/run").contains("sed -n 's/^rust-version = "));
}

#[test]
fn members_inherit_the_version_of_the_workspace() {
    let promised = promised();
    let packages = packages();
    let own: Vec<_> = packages
        .iter()
        .filter(|it| it["source"].is_null())
        .collect();
    assert!(own.len() > 8);
    for package in own {
        assert_eq!(package["rust_version"], *promised, "{}", package["name"]);
    }
}

#[test]
fn no_dependency_wants_a_newer_version() {
    let promised = parsed(&promised());
    for package in packages() {
        if let Some(wanted) = package["rust_version"].as_str() {
            assert!(
                parsed(wanted) <= promised,
                "{} wants {wanted}",
                package["name"]
            );
        }
    }
}
