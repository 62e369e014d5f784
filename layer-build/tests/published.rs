//! Checks the crates as crates.io would receive them. `cargo publish --workspace --dry-run` checks
//! that they can be packed.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Lists the packages of the workspace that may be published.
fn published() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let mut metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array_mut().unwrap();
    packages.retain(|package| package["publish"].is_null());
    std::mem::take(packages)
}

#[test]
fn published_crates_have_one_version_and_all_fields() {
    let packages = published();
    let mut names: Vec<_> = packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "tracestitch",
            "tracestitch-extension",
            "tracestitch-local",
            "tracestitch-ring",
            "tracestitch-traces",
            "tracestitch-wire"
        ]
    );
    let version = packages[0]["version"].as_str().unwrap();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        for field in [
            "description",
            "license",
            "repository",
            "readme",
            "rust_version",
        ] {
            assert!(package[field].is_string(), "{name} has no {field}");
        }
        assert!(
            !package["keywords"].as_array().unwrap().is_empty(),
            "{name}"
        );
        assert_eq!(package["version"], version, "{name}");
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            // Dev-dependencies have a path alone, and publishing removes them.
            if names.contains(&other) && dependency["kind"] != "dev" {
                assert_eq!(
                    dependency["req"],
                    format!("^{version}"),
                    "{name} depends on another version of {other}; Cargo.toml has the version twice"
                );
            }
        }
    }
    let wrapper = packages
        .iter()
        .find(|package| package["name"] == "tracestitch");
    let docs = &wrapper.unwrap()["metadata"]["docs"]["rs"];
    assert_eq!(
        docs["all-features"], true,
        "docs.rs must show optional items"
    );
    let marks_features = json!(["--cfg", "docsrs"]);
    assert_eq!(
        docs["rustdoc-args"], marks_features,
        "docs.rs must show their features"
    );
}

#[test]
fn each_crate_contains_its_licences_and_a_readme() {
    for package in published() {
        let name = package["name"].as_str().unwrap();
        let files = cargo(&[
            "package",
            "--list",
            "--allow-dirty",
            "--offline",
            "-p",
            name,
        ]);
        for wanted in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs"] {
            assert!(
                files.lines().any(|file| file == wanted),
                "{name} lacks {wanted}"
            );
        }
        for file in files.lines() {
            assert!(
                !file.starts_with("target/") && !file.starts_with("fuzz/"),
                "{name} has {file}"
            );
        }
    }
}
