//! What a machine lacks is named, with the command that helps.

#![allow(
    clippy::unwrap_used,
    reason = "what fails here fails the test, also in helpers outside of a test function"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// What `cargo layer` says with a Rust that has the standard library of one target only.
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
fn the_target_that_is_not_installed_is_named_with_the_command_that_installs_it() {
    let [x86, arm] = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"];
    for (installed, missing) in [(x86, arm), (arm, x86)] {
        let said = with_one_target(installed);
        let command = format!("\n  rustup target add {missing}\n");
        assert!(said.contains(&command), "{said}");
        assert!(said.contains("has no standard library for"), "{said}");
        assert!(said.contains("https://rustup.rs"), "{said}");
    }
    let said = with_one_target("neither");
    let command = format!("\n  rustup target add {x86} {arm}\n");
    assert!(said.contains(&command), "{said}");
}

#[test]
fn an_unknown_word_is_answered_with_the_known_ones() {
    let done = Command::new(env!("CARGO_BIN_EXE_layer-build"))
        .arg("everything")
        .output()
        .unwrap();
    assert!(!done.status.success());
    let said = String::from_utf8(done.stderr).unwrap();
    for known in ["--strict", "tools", "validate", "--full"] {
        assert!(said.contains(known), "{said}");
    }
}
