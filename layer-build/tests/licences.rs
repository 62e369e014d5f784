//! Checks that every dependency, of every feature and platform, has a licence that `deny.toml` allows.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use spdx::{Expression, LicenseReq, ParseMode};

/// Returns the licences between `allow = [` and `]`.
fn allowed(settings: &str) -> Vec<LicenseReq> {
    let list = settings.split_once("\nallow = [").unwrap().1;
    let list = list.split_once(']').unwrap().0;
    let quoted = list.split('"').skip(1).step_by(2);
    quoted
        .map(|text| {
            let expression = Expression::parse(text).unwrap();
            let requirement = expression.requirements().next().unwrap();
            requirement.req.clone()
        })
        .collect()
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let allowed = allowed(&fs::read_to_string(root.join("deny.toml")).unwrap());
    assert!(allowed.len() > 5);
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--all-features",
        ])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    for package in packages {
        let name = &package["name"];
        let text = package["license"].as_str();
        let text = text.unwrap_or_else(|| panic!("{name} has no licence"));
        let expression = Expression::parse_mode(text, ParseMode::LAX).unwrap();
        assert!(
            expression.evaluate(|requirement| allowed.contains(requirement)),
            "{name}: {text} is not allowed by deny.toml"
        );
    }
}
