//! The workflows prepare what the checks need, and check all that they should.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn ci_installs_what_ci_run_would() {
    let workflow = read(".github/workflows/ci.yml");
    let script = read(".ci/run");
    let mut packages = 0;
    for rest in script.split("packages+=(").skip(1) {
        for package in rest.split(')').next().unwrap().split_whitespace() {
            assert!(workflow.contains(package), "ci.yml lacks {package}");
            packages += 1;
        }
    }
    assert!(packages >= 3);
    assert!(workflow.contains(" .ci/run\n"));
    for tool in [
        "setup-node",
        "setup-python",
        "rustup toolchain install",
        "- run: terraform validate\n",
    ] {
        assert!(workflow.contains(tool), "ci.yml lacks {tool}");
    }
}

#[test]
fn a_release_is_checked_in_full() {
    let workflow = read(".github/workflows/release.yml");
    for command in [
        "cargo layer --strict",
        "cargo layer validate --full",
        "cargo publish --workspace --dry-run",
        "terraform validate",
        "cargo-deny-action",
        "target/layer/SHA256SUMS",
        "target/layer/tracestitch.cdx.json",
    ] {
        assert!(workflow.contains(command), "release.yml lacks {command}");
    }
    assert!(workflow.contains("needs: [layer, templates, crates]"));
}

#[test]
fn workflows_are_yaml_with_jobs() {
    for name in ["ci", "release"] {
        let text = read(&format!(".github/workflows/{name}.yml"));
        let workflow: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).unwrap();
        for (job, steps) in workflow["jobs"].as_mapping().unwrap() {
            assert!(steps["runs-on"].is_string(), "{name}: {job:?}");
            assert!(steps["steps"].is_sequence(), "{name}: {job:?}");
        }
    }
}
