//! Checks that an error names a missing tool and the command that installs it.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail the test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Runs `cargo layer` with a Rust that has the standard library of one target only, and returns its
/// error.
fn with_one_target(target: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let rustc = folder.path().join("rustc");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n*'target-libdir --target {target}') echo /;;\n*) echo \
         /nowhere;;\nesac\n"
    );
    fs::write(&rustc, script).unwrap();
    fs::set_permissions(&rustc, Permissions::from_mode(0o755)).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_layer-build"))
        .env("PATH", folder.path())
        .output()
        .unwrap();
    assert!(!done.status.success());
    String::from_utf8(done.stderr).unwrap()
}

#[test]
fn error_names_the_missing_target_and_the_command_that_installs_it() {
    let [x86, arm] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
    for (installed, missing) in [(x86, arm), (arm, x86)] {
        let error = with_one_target(installed);
        let command = format!("\n  rustup target add {missing}\n");
        assert!(error.contains(&command), "{error}");
        assert!(error.contains("has no standard library for"), "{error}");
        assert!(error.contains("https://rustup.rs"), "{error}");
    }
    let error = with_one_target("neither");
    let command = format!("\n  rustup target add {x86} {arm}\n");
    assert!(error.contains(&command), "{error}");
}

#[test]
fn error_on_an_unknown_argument_lists_the_known_ones() {
    let done = Command::new(env!("CARGO_BIN_EXE_layer-build"))
        .arg("everything")
        .output()
        .unwrap();
    assert!(!done.status.success());
    let error = String::from_utf8(done.stderr).unwrap();
    for known in ["--strict", "tools", "validate", "--full", "notes"] {
        assert!(error.contains(known), "{error}");
    }
}
